#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# large.sh - inputs too large for `make check`: `make limits`, a few minutes.  Memory is bounded by
# ulimit -v, libraries and threads' stacks included.
# shellcheck source=tests/lib.sh
. tests/lib.sh

within() { # within MIB COMMAND...: with no more memory than that
    local mib=$1
    shift
    (ulimit -v $((mib * 1024)) && exec "$@")
}
letters() { # letters N: N times A
    head -c "$1" /dev/zero | tr '\0' A
}
mixed() { # mixed N: N letters, four kinds
    yes ACGTTGCAAGTCCTAGGCATTTACG | tr -d '\n' | head -c "$1"
}
vocabulary() {
    random_fasta 30 1 >small.fa
    dnas-tokenize -q --train 100 small.fa -o tokenizer.json
}
row() { # row FILE COLUMNS: these of its last row
    dnas-view "$1" | tail -n 1 | cut -f "$2"
}

test_a_gigabyte_of_a() {
    expect_ok within 400 dnas-embed -q -m tnf -t 2 -o tnf.dnas < <(printf '>a\n' && letters 1000000000)
    row tnf.dnas 1,258 >got
    expect_text got $'a\t1000000000'
    expect_ok within 400 dnas-embed -q -t 2 -o kmer.dnas < <(printf '>a\n' && letters 1000000000)
    row kmer.dnas 1,66 >got
    expect_text got $'a\t1000000000'
    vocabulary
    expect_ok within 600 dnas-tokenize -q -T tokenizer.json --window 10000 -t 2 -o tokens.dnas \
        < <(printf '>a\n' && letters 1000000000)
    expect_ok dnas-view -c tokens.dnas
    expect_text "$TMP/out" 100000
}

test_a_chromosome_on_one_line() {
    (printf '>chr\n' && mixed 300000000 && echo) >chr.fa
    expect_ok within 400 dnas-embed -q -t 1 -o 1.dnas chr.fa
    expect_ok within 400 dnas-embed -q -t 8 -o 8.dnas chr.fa
    expect_same 1.dnas 8.dnas
    vocabulary
    expect_ok within 600 dnas-tokenize -q -T tokenizer.json --window 10000 -t 2 -o tokens.dnas chr.fa
    expect_ok dnas-view -c tokens.dnas
    expect_text "$TMP/out" 30000
    expect_ok within 600 dnas-pairs -q -n 1000 --length 2000 -o pairs.dnas chr.fa
    expect_ok dnas-view -c pairs.dnas
    expect_text "$TMP/out" 1000
}

test_a_million_records_of_one_base() {
    awk 'BEGIN { for (i = 1; i <= 1000000; i++) print ">r" i "\n" substr("ACGT", i % 4 + 1, 1) }' >many.fa
    expect_ok within 500 dnas-embed -q -m tnf --reduce 4 -t 2 -o out.dnas many.fa
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 1000000
    vocabulary
    expect_ok within 500 dnas-tokenize -q -T tokenizer.json -t 2 -o tokens.dnas many.fa
    expect_ok dnas-view -c tokens.dnas
    expect_text "$TMP/out" 1000000
    expect_ok dnas-kmeans -q -k 1 -o clusters.dnas out.dnas
    expect_ok dnas-view -c clusters.dnas
    expect_text "$TMP/out" 1000000
}

# What a few kilobytes unpack to costs time and no memory.
test_compressed_bombs() {
    command -v zstd >/dev/null || { skip "there is no zstd(1)"; return; }
    (printf '>a\n' && letters 4000000000) | zstd -q -19 >bomb.zst
    expect_ok within 500 dnas-embed -q -m tnf -t 2 -o out.dnas bomb.zst
    row out.dnas 1,258 >got
    expect_text got $'a\t4000000000'
    (printf '>a\n' && letters 1000000000) | gzip >bomb.gz
    expect_ok within 400 dnas-embed -q -m tnf -t 2 -o out.dnas bomb.gz
    # A header line, a line of a table and a tokenizer.json without end.
    { printf '>' && letters 1000000000; } | zstd -q >line.zst
    expect_sentence 1 'longer than 1 MiB' within 400 dnas-embed -q -m tnf line.zst
    letters 4000000000 | zstd -q >table.zst
    expect_sentence 1 'out of memory|longer than 2 GiB|table.zst: ' within 1000 dnas-view --from-tsv table.zst
    (printf '{"a": "' && letters 200000000) >large.json
    vocabulary
    expect_sentence 1 'large.json: ' within 1000 dnas-tokenize -T large.json small.fa
    # One row of a stream.
    (printf 'id\tseq_a\tseq_b\na\t' && letters 500000000 && printf '\tACGT\n') >row.tsv
    expect_ok dnas-view --zstd -o row.dnas --from-tsv row.tsv
    [ "$(stat -c %s row.dnas)" -lt 1000000 ] || fail "the row is not small: $(stat -c %s row.dnas)"
    expect_ok within 1400 dnas-view -c row.dnas
    expect_sentence 1 'out of memory: asked for' within 600 dnas-view -c row.dnas
}

run_tests
