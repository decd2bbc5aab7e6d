# SPDX-License-Identifier: MIT
#
# lib-gpu.sh - what tests of dnas-embed on a GPU share: the emulated one of
# tests/cli/embed-cuda.sh and the real one of tests/gpu.
# shellcheck shell=bash
# shellcheck source=tests/lib.sh
. tests/lib.sh

tiny_network() { # model/, and s.fa of 12 sequences
    random_fasta "${1:-12}" 3 | awk -v n="${2:-4}" '/^>/ { k = 0 } k++ <= n' >s.fa
    random_fasta 12 3 | dnas-tokenize --train 100 -o tokenizer.json
    mkdir -p model
    cp tokenizer.json "$DATA"/golden/dnabert2_tiny/{config.json,model.safetensors} model
}
vectors() { # vectors STREAM: the numbers of each embedding, a line a row
    dnas-view "$1" | awk -F '\t' '
        NR == 1 { for (i = 1; i <= NF; i++) is[i] = $i ~ /^embedding_/; next }
        { line = ""; for (i = 1; i <= NF; i++) if (is[i]) line = line " " $i; print line }'
}
compare() { # compare WANT GOT: the largest |difference| over the largest number; the least cosine
    paste <(vectors "$1") <(vectors "$2") | awk '
        BEGIN { cosine = 1 }
        { n = NF / 2; ab = aa = bb = 0
          for (i = 1; i <= n; i++) {
              a = $i; b = $(i + n); d = a > b ? a - b : b - a; s = a < 0 ? -a : a
              if (!(d <= worst)) worst = d
              if (s > size) size = s
              ab += a * b; aa += a * a; bb += b * b
          }
          c = ab / sqrt(aa * bb); if (!(c >= cosine)) cosine = c; rows++ }
        END { if (!rows || !size) print "nan nan"; else print worst / size, cosine }'
}
expect_near() { # expect_near WANT GOT LIMIT: of the largest difference
    local got
    got=$(compare "$1" "$2")
    awk -v got="${got% *}" -v limit="$3" 'BEGIN { exit !(got ~ /^[0-9.e-]+$/ && got <= limit + 0) }' ||
        fail "$2 differs from $1 by ${got% *}, more than $3"
}
expect_alike() { # expect_alike WANT GOT COSINE: of the least cosine
    local got
    got=$(compare "$1" "$2")
    awk -v got="${got#* }" -v limit="$3" 'BEGIN { exit !(got ~ /^[0-9.e-]+$/ && got >= limit + 0) }' ||
        fail "a cosine between $1 and $2 is ${got#* }, below $3"
}
header_says() { # header_says STREAM MEMBER VALUE: of the embedding object
    dnas-view -H "$1" | grep -q "\"$2\": \"$3\"" ||
        fail "the header of $1 does not say that $2 is $3: $(dnas-view -H "$1" | grep "\"$2\"")"
}
