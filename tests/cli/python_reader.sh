#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# python_reader.sh - a reader that shares no code with ours, examples/read_stream.py,
# sees in streams what dnas-view prints.
# shellcheck source=tests/lib.sh
. tests/lib.sh

PYTHON=/usr/bin/python3
READER=$ROOT/examples/read_stream.py

has() { # has MODULE: whether Python has it; else the test is skipped
    "$PYTHON" -c "import $1" 2>/dev/null && return
    [[ ,${DNAS_REQUIRE:-}, == *,python,* ]] && fail "$PYTHON has no module $1"
    skip "$PYTHON has no module $1"
    return 1
}

# Prints a stream as dnas-view does: the same names, the same nine digits.
cat_stream() { # cat_stream FILE: a table, from the Python reader
    "$PYTHON" - "$READER" "$1" <<'END'
import importlib.util, sys
import numpy as np

spec = importlib.util.spec_from_file_location("read_stream", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def text(x):
    return "%.9g" % x if isinstance(x, np.floating) else str(x)


stream = module.read_stream(sys.argv[2])
names = []
for c in next(stream)["columns"]:
    is_vector = c["shape"] not in ([], [None])
    names += [f"{c['name']}_{i}" for i in range(c["shape"][0])] if is_vector else [c["name"]]
print(*names, sep="\t")
for block in stream:
    for row in zip(*block.values()):
        fields = []
        for cell in row:
            if isinstance(cell, np.ndarray) and cell.dtype.kind == "f":
                fields += [text(x) for x in cell]
            elif isinstance(cell, np.ndarray):
                fields.append(" ".join(text(x) for x in cell))
            else:
                fields.append(text(cell))
        print(*fields, sep="\t")
END
}

agrees() { # agrees FILE: the reader's table is dnas-view's
    expect_ok dnas-view "$1"
    mv "$TMP/out" "$1.view"
    expect_ok cat_stream "$1"
    expect_same "$TMP/out" "$1.view"
}

sequences() { # sequences N: records of 40 to 240 letters
    awk -v n="$1" 'BEGIN {
        srand(1)
        for (i = 1; i <= n; i++) {
            s = ""
            for (j = 40 + i % 201; j > 0; j--) s = s substr("ACGTN", 1 + int(rand() * 4.02), 1)
            print ">s" i " label=\303\251" i % 3 "\n" s
        }
    }'
}

make_streams() { # of each kind and column type, one with several blocks
    sequences 600 >in.fa
    dnas-tokenize --train 40 -q -o vocabulary.json in.fa || fail "no vocabulary"
    expect_ok dnas-tokenize -q -T vocabulary.json --window 100 "$@" -o tokens.dnas in.fa
    expect_ok dnas-embed -q -m tnf "$@" -o emb.dnas in.fa
    expect_ok dnas-embed -q -m tnf --output-type bf16 "$@" -o bf16.dnas in.fa
    expect_ok dnas-kmeans -q -k 5 "$@" -o labels.dnas emb.dnas
    printf 'id\tseq_a\tseq_b\tsplit\tlabel\tnote\n1\tACGT\t\t1\tx\ta b\n' >pairs.tsv
    expect_ok dnas-view --from-tsv pairs.tsv "$@" -o pairs.dnas
    expect_ok dnas-embed -q -m tnf "$@" -o empty.dnas /dev/null
    cat emb.dnas empty.dnas emb.dnas >joined.dnas
}

test_plain_streams() {
    has numpy || return
    local f
    make_streams
    for f in tokens emb bf16 labels pairs empty joined; do agrees "$f.dnas"; done
}

test_compressed_streams() {
    { has numpy && has zstandard; } || return
    local f
    make_streams --zstd
    for f in tokens emb bf16 labels pairs empty joined; do agrees "$f.dnas"; done
}

test_the_matrix_is_that_of_npy() {
    has numpy || return
    sequences 300 >in.fa
    expect_ok dnas-embed -q -m tnf-canonical -o emb.dnas in.fa
    expect_ok dnas-view --npy emb.npy emb.dnas
    expect_ok "$PYTHON" - "$(dirname "$READER")" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import numpy as np
from read_stream import read_stream
stream = read_stream("emb.dnas")
next(stream)
x = np.concatenate([block["embedding"] for block in stream])
y = np.load("emb.npy")
assert x.dtype == y.dtype == np.float32 and x.shape == y.shape == (300, 136)
assert x.tobytes() == y.tobytes()
END
}

test_the_program_prints_shapes() {
    has numpy || return
    sequences 300 >in.fa
    expect_ok dnas-embed -q -m tnf-canonical -o emb.dnas in.fa
    expect_ok "$PYTHON" "$READER" emb.dnas
    expect_text "$TMP/out" "EMBEDDINGS
id 256 embedding (256, 136) length_bp (256,) label 256
id 44 embedding (44, 136) length_bp (44,) label 44"
}

# A cut at any block, and within one, is an error for this reader too.
test_cut_streams_are_refused() {
    has numpy || return
    sequences 300 >in.fa
    expect_ok dnas-embed -q -m tnf-canonical -o emb.dnas in.fa
    local n size
    size=$(wc -c <emb.dnas)
    for n in 0 15 100 $((size - 64)) $((size - 1)) $((size / 2)); do
        head -c "$n" emb.dnas >cut.dnas
        "$PYTHON" "$READER" cut.dnas >out 2>err && fail "a stream cut to $n of $size bytes is read"
        grep -qE 'truncated|not a dnas stream' err || fail "cut to $n bytes: $(tail -n 1 err)"
    done
}

test_damage_is_seen_by_hashes() {
    { has numpy && has xxhash; } || return
    sequences 300 >in.fa
    expect_ok dnas-embed -q -m tnf-canonical -o emb.dnas in.fa
    local at
    for at in 40 1100 50000; do
        cp emb.dnas bad.dnas
        printf '\377' | dd of=bad.dnas bs=1 seek=$at conv=notrunc 2>/dev/null
        "$PYTHON" "$READER" bad.dnas >out 2>err && fail "a stream damaged at $at is read"
        grep -q damaged err || fail "damaged at $at: $(tail -n 1 err)"
    done
}

run_tests
