#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# graph-bin.sh - dnas-graph-bin: bins, their files, and what it refuses.
# shellcheck source=tests/lib.sh
. tests/lib.sh

examples() { # the examples, embedded by the model that ships
    zcat "$ROOT/examples/genomes.fa.gz" >g.fa
    dnas-embed -q g.fa -o e.dnas
}

test_bins() {
    examples
    expect_ok dnas-graph-bin -v e.dnas -o b.dnas
    grep -qE '^dnas-graph-bin: [0-9]+ bins hold [0-9]+ of 633 sequences$' "$TMP/err" || fail "says $(cat "$TMP/err")"
    grep -qE '^dnas-graph-bin: [0-9]+ merges; [0-9]+ bins had fewer than 1 sequences or 20000 bp$' "$TMP/err" ||
        fail "says $(cat "$TMP/err")"
    expect_ok dnas-ari b.dnas
    # rows, clustered, clusters, classes, ari
    awk -F '\t' 'NR == 2 && $2 > 0.95 && $3 >= 12 && $5 > 0.8 { good = 1 } END { exit !good }' "$TMP/out" ||
        fail "poor bins: $(cut -f 1-5 "$TMP/out")"
    expect_ok dnas-view b.dnas
    awk -F '\t' 'NR == 1 { if ($1 != "id" || $2 != "cluster" || $3 != "score") bad = 1; next }
        $2 >= 0 { bp[$2] += $4; n[$2]++; s[$2] += $3 } $2 < 0 && $3 != 0 { bad = 1 }
        END { for (i in bp) if (bp[i] < 20000 || (i > 0 && bp[i] > bp[i - 1]) || (n[i] > 1 && s[i] <= 0)) bad = 1; exit bad }' \
        "$TMP/out" || fail "bins are not in order of their letters, or are too small: $(head -n 3 "$TMP/out")"
    # The other search finds all of so few.
    expect_ok dnas-graph-bin -q --no-pg e.dnas -o b.dnas
    expect_ok dnas-graph-bin -q --no-pg --exact-rows 0 e.dnas -o c.dnas
    expect_same b.dnas c.dnas
    expect_ok dnas-graph-bin -q --no-pg --neighbours 1 e.dnas -o c.dnas
    cmp -s b.dnas c.dnas && fail "--neighbours 1 changes nothing"
}

test_smallest_bins() {
    examples
    expect_ok dnas-graph-bin -q --min-bin-bp 0 --format tsv e.dnas
    awk -F '\t' 'NR > 1 && $2 < 0 { bad = 1 } END { exit bad }' "$TMP/out" || fail "a sequence is in no bin"
    expect_ok dnas-graph-bin -q --min-bin-bp 300000 --min-bin-size 30 --format tsv e.dnas
    awk -F '\t' 'NR > 1 && $2 >= 0 { n[$2]++; bp[$2] += $4 } END { for (i in n) if (n[i] < 30 || bp[i] < 300000) bad = 1
        exit bad || !length(n) }' "$TMP/out" || fail "a bin is too small"
    expect_ok dnas-graph-bin --min-bin-size 1000 e.dnas -o b.dnas
    expect_text "$TMP/err" 'dnas-graph-bin: 0 bins hold 0 of 633 sequences'
}

test_files() {
    examples
    expect_ok dnas-graph-bin -q --contig2bin c2b.tsv --bioboxes b.binning --bin-table t.tsv --bins bins \
        --sequences g.fa --format tsv e.dnas -o l.tsv
    awk -F '\t' 'NR > 1 && $2 >= 0 { print $1 "\tbin." $2 }' l.tsv >want
    expect_same want c2b.tsv
    tail -n +4 b.binning >got
    expect_same want got
    [ "$(tail -n +2 t.tsv | wc -l)" = "$(cut -f 2 want | sort -u | wc -l)" ] || fail "the table has other bins"
    [ "$(grep -c '>' bins/bin.0.fa)" = "$(grep -c 'bin\.0$' want)" ] || fail "bin.0.fa has other sequences"
    [ "$(cat bins/*.fa | grep -c '>')" = 633 ] || fail "sequences are lost"
    awk -F '\t' 'NR > 1 && $5 == "NA" { exit 1 }' t.tsv || fail "no GC: $(head -n 2 t.tsv)"
}

test_another_model() {
    examples
    dnas-train -q -k 4 --dims 6 --windows 60 --length 1000-10000 -o m.safetensors g.fa
    dnas-embed -q -m m.safetensors g.fa -o m.dnas
    expect_ok dnas-graph-bin -q -m m.safetensors m.dnas -o b.dnas
    expect_ok dnas-ari b.dnas
    awk -F '\t' 'NR == 2 && $5 > 0.5 { good = 1 } END { exit !good }' "$TMP/out" || fail "poor bins: $(cut -f 1-5 "$TMP/out")"
    expect_sentence 1 '^dnas-graph-bin: m.dnas: the embeddings are not of the model that ships: name with -m' dnas-graph-bin m.dnas
    expect_sentence 1 '^dnas-graph-bin: e.dnas: the embeddings are not of m.safetensors: name with -m' \
        dnas-graph-bin -m m.safetensors e.dnas
    dnas-train -q -k 4 --ridge 0.01 --windows 20 -o few.safetensors g.fa 2>/dev/null # as many dimensions as there can be
    dnas-embed -q -m few.safetensors g.fa -o few.dnas
    expect_sentence 1 '^dnas-graph-bin: few.dnas: few.safetensors has no noise model: train it .*dnas-kmedoid-bin$' \
        dnas-graph-bin -m few.safetensors few.dnas
    expect_sentence 1 '^dnas-graph-bin: e.dnas: none: .*No such file' dnas-graph-bin -m none e.dnas
}

test_refused() {
    examples
    dnas-embed -q -m tnf g.fa -o tnf.dnas
    expect_sentence 1 '^dnas-graph-bin: tnf.dnas: the embeddings are not of a k-mer model.*dnas-kmedoid-bin$' dnas-graph-bin tnf.dnas
    dnas-view e.dnas >e.tsv && dnas-view --from-tsv e.tsv -o plain.dnas
    expect_sentence 1 '^dnas-graph-bin: standard input: the embeddings are not of a k-mer model' dnas-graph-bin <plain.dnas
    dnas-embed -q --adapt shrunk g.fa -o adapted.dnas
    expect_sentence 1 '^dnas-graph-bin: adapted.dnas: the embeddings are of a map that --adapt made' dnas-graph-bin adapted.dnas
    dnas-embed -q --reduce 8 g.fa -o reduced.dnas
    expect_sentence 1 '^dnas-graph-bin: reduced.dnas: the embeddings have 8 dimensions, and those of the model that ships 64' \
        dnas-graph-bin reduced.dnas
    printf 'id\tembedding_0\na\t1\n' >no.tsv && dnas-view --from-tsv no.tsv -o no.dnas
    expect_sentence 1 '^dnas-graph-bin: no.dnas: the embeddings have no column length_bp' dnas-graph-bin no.dnas
    expect_sentence 1 '^dnas-graph-bin: .*holds LABELS where EMBEDDINGS' bash -c 'dnas-graph-bin -q e.dnas -o l.dnas && dnas-graph-bin l.dnas'
    # Nothing is left of a failure.
    expect_sentence 1 'not of a k-mer model' dnas-graph-bin --contig2bin c.tsv --bins bins --sequences g.fa tnf.dnas -o l2.dnas
    [ -z "$(ls -d c.tsv* bins* l2.dnas* 2>/dev/null)" ] || fail "left: $(ls -d c.tsv* bins* l2.dnas*)"
    expect_sentence 2 '--neighbours takes a number from 1 to 1000' dnas-graph-bin --neighbours 0 e.dnas
    expect_sentence 2 '--min-bin-bp takes a number from 0' dnas-graph-bin --min-bin-bp -1 e.dnas
    expect_sentence 2 '--bins needs the sequences too' dnas-graph-bin --bins b e.dnas
}

test_odd_rows() {
    # Sequences without a k-mer; one row; none.
    { zcat "$ROOT/examples/genomes.fa.gz" | head -n 2000; printf '>none label=x\nNNNNNNNN\n>short label=x\nACG\n'; } >n.fa
    dnas-embed -q n.fa -o n.dnas
    expect_ok dnas-graph-bin --min-bin-bp 0 --format tsv n.dnas
    [ "$(awk -F '\t' '$1 == "none" || $1 == "short" { print $2, $3 }' "$TMP/out")" = $'-1 0\n-1 0' ] || fail "binned: $(tail -n 2 "$TMP/out")"
    grep -q 'warning: 2 rows are all zero: sequences without k-mers are in no bin' "$TMP/err" || fail "says $(cat "$TMP/err")"
    head -n 2 n.fa | dnas-embed -q -o one.dnas
    expect_ok dnas-graph-bin -q --min-bin-bp 0 --format tsv one.dnas
    [ "$(awk -F '\t' 'NR == 2 { print $2, $3 }' "$TMP/out")" = '0 0' ] || fail "one row: $(cat "$TMP/out")"
    : >empty.fa && dnas-embed -q empty.fa -o empty.dnas
    expect_ok dnas-graph-bin -q --contig2bin c.tsv --bin-table t.tsv empty.dnas
    [ -e c.tsv ] && [ ! -s c.tsv ] || fail "contig2bin of nothing: $(cat c.tsv)"
    expect_text t.tsv $'bin\tsequences\tbp\tn50\tgc\tmean_score'
}

depths() { # depths SAMPLES FASTA: made up, as reads of species of different abundance would give
    awk -v S="$1" '
        function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307 * rand()) }
        function end() {
            if (!id) return
            printf "%s\t%d\t0", id, n
            for (s = 1; s <= S; s++) {
                depth = exp(abundance[label, s] + 0.15 * normal())
                depth += sqrt(depth * 150 / n) * normal()
                depth = depth > 0 ? depth : 0
                printf "\t%.4f\t%.4f", depth, 1.2 * depth
            }
            print ""
        }
        BEGIN {
            srand(7)
            printf "contigName\tcontigLen\ttotalAvgDepth"
            for (s = 1; s <= S; s++) printf "\ts%d.bam\ts%d.bam-var", s, s
            print ""
        }
        /^>/ {
            end()
            id = substr($1, 2); n = 0; label = $2
            if (!(label in known)) { known[label] = 1; for (s = 1; s <= S; s++) abundance[label, s] = 2 + normal() }
            next
        }
        { n += length($0) }
        END { end() }' "$2"
}

test_depth() {
    examples
    dnas-graph-bin -q e.dnas | dnas-ari | awk 'NR == 2 { print $5 }' >without
    depths 3 g.fa >d.tsv
    expect_ok dnas-graph-bin -v --depth d.tsv e.dnas -o b.dnas
    grep -qE '^dnas-graph-bin: s2.bam: ln depth has variance [0-9.e-]+ between species, and along one a deviation of 0\.1[0-9]*$' \
        "$TMP/err" || fail "says $(cat "$TMP/err")"
    dnas-ari b.dnas | awk 'NR == 2 { print $5 }' >with
    awk 'NR == FNR { a = $1; next } { exit !($1 > a + 0.02) }' without with || fail "no better: $(cat without with)"
    # Any order of lines, lines about others, more digits or fewer, DOS lines, a pipe, any threads: the same.
    { head -n 1 d.tsv && printf 'other\t5\t0\t0\t0\t0\t0\t0\t0\n' && tail -n +2 d.tsv | sort -r |
        awk -F '\t' -v OFS='\t' '{ $2 = sprintf("%.5e", $2) } { print }'; } | sed 's/$/\r/' >e.tsv
    dnas-graph-bin -q --no-pg --depth d.tsv -t 1 e.dnas -o want.dnas
    dnas-graph-bin -q --no-pg --depth e.tsv -t 3 e.dnas -o got.dnas
    dnas-view want.dnas >want && dnas-view got.dnas >got
    expect_same want got
    # Longer reads are fewer, and say less.
    dnas-graph-bin -q --depth d.tsv --read-length 10000 --format tsv e.dnas >got
    ! cmp -s want got || fail "--read-length changes nothing"
    # One depth for all says nothing, and does no harm.
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = $6 = $8 = 10; $5 = $7 = $9 = 12 } { print }' d.tsv >flat.tsv
    dnas-graph-bin -q --depth flat.tsv e.dnas | dnas-ari | awk 'NR == 2 { print $5 }' >with
    awk 'NR == FNR { a = $1; next } { exit !($1 > a - 0.03) }' without with || fail "harm: $(cat without with)"
    awk '/^>/ && n++ { exit } { print }' g.fa | dnas-embed -q -o one.dnas
    expect_ok dnas-graph-bin -q --min-bin-bp 0 --depth d.tsv --format tsv one.dnas
    [ "$(awk -F '\t' 'NR == 2 { print $2, $3 }' "$TMP/out")" = '0 0' ] || fail "one row: $(cat "$TMP/out")"
}

test_depth_refused() {
    examples
    depths 2 g.fa >d.tsv
    local bad
    refused() { # refused SED PATTERN
        sed "$1" d.tsv >bad.tsv
        expect_sentence 1 "^dnas-graph-bin: e.dnas: $2" dnas-graph-bin --depth bad.tsv e.dnas
    }
    refused '/^seq0007\t/d' "bad.tsv: has no line of 'seq0007'$"
    refused '5s/\t[0-9]*\t/\t77\t/' "bad.tsv: line 5: 'seq0004' is 77 letters long there and [0-9]+ among the embeddings: map"
    refused '5s/\t[0-9]*\t/\tlong\t/' "bad.tsv: line 5: 'seq0004' is long letters long there"
    awk -F '\t' -v OFS='\t' 'NR == 5 { $2++ } { print }' d.tsv >bad.tsv
    expect_sentence 1 "bad.tsv: line 5: 'seq0004' is [0-9]+ letters long there" dnas-graph-bin --depth bad.tsv e.dnas
    for bad in x -1 '' nan inf 1e13 '1 ' ' 1' 0x; do
        refused "3s/[^\t]*$/$bad/" "bad.tsv: line 3 \('seq0002'\): '$bad' in column 's2.bam-var' is not a number from 0 to 1e12"
    done
    refused '3s/\t[^\t]*$//' 'bad.tsv: line 3 has 6 fields, and the first line 7'
    refused '4p' "bad.tsv: line 5 is the second of 'seq0003'"
    for bad in '1d' '1s/contigLen/length/' '1s/s2.bam-var/s2.var/' '1s/\ts2.bam-var//' '1s/\ts1.*//' 1,999d; do
        refused "$bad" 'bad.tsv: is no table of depths: its first line is not contigName, contigLen'
    done
    tr '\n' '\0' <d.tsv >bad.tsv
    expect_status 1 dnas-graph-bin --depth bad.tsv e.dnas
    expect_sentence 1 '^dnas-graph-bin: e.dnas: none.tsv: ' dnas-graph-bin --depth none.tsv e.dnas
    expect_sentence 2 '--read-length takes a number from 1' dnas-graph-bin --depth d.tsv --read-length 0 e.dnas
    cat e.dnas e.dnas >twice.dnas
    expect_sentence 1 "two rows are called 'seq0001', and depths go by name" dnas-graph-bin --depth d.tsv twice.dnas
}

run_tests
