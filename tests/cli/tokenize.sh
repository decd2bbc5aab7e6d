#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tokenize.sh - dnas-tokenize: rows of tokens, windows, pairs, vocabularies.
# shellcheck source=tests/lib.sh
. tests/lib.sh

rows() { # rows COLUMNS ARGUMENTS...: those columns of the TOKENS, without their names
    expect_ok dnas-tokenize -q "${@:2}"
    cp "$TMP/out" rows.dnas
    dnas-view rows.dnas | tail -n +2 | cut -f "$1"
}

# A vocabulary of twelve: the letters 5 to 8, then AC 9, GT 10, ACGT 11.
vocabulary() {
    printf '>a\nACGTACGTACGTNACGT\n>b\nGATTACAGATTACA\n' >s.fa
    expect_ok dnas-tokenize --train 12 s.fa -o v.json
}

test_train() {
    vocabulary
    sed -n '/"vocab"/,$p' v.json | tr -d ' \n' >model # "A C" becomes "AC"
    [ "$(cat model)" = '"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"[PAD]":3,"[MASK]":4,"A":5,"C":6,"G":7,"T":8,"AC":9,"GT":10,"ACGT":11},"merges":["AC","GT","ACGT"]}}' ] ||
        fail "the model is $(cat model)"
    expect_ok dnas-tokenize --train 12 s.fa
    expect_same v.json "$TMP/out"
    expect_ok dnas-tokenize --train 12 -t 2 <s.fa
    expect_same v.json "$TMP/out"
    # Letters that run out, and none at all.
    expect_ok dnas-tokenize --train 300 s.fa -o all.json
    grep -q 'warning: only [0-9]* tokens: no pair of tokens is left to merge' "$TMP/err" ||
        fail "says $(cat "$TMP/err")"
    printf '>n\nNNNN\n' >n.fa
    expect_sentence 1 'no letters A, C, G, T to train on' dnas-tokenize --train 20 n.fa -o n.json
    [ ! -e n.json ] || fail "n.json is there"
    expect_sentence 1 "record 1 \('a'\) is empty" dnas-tokenize --train 20 -o n.json <<<'>a'
    # From many sequences, and back.
    expect_ok dnas-tokenize --train 300 "$ROOT/examples/tiny.fa" -o tiny.json
    expect_ok dnas-tokenize -T tiny.json "$ROOT/examples/tiny.fa" -o tiny.dnas
    expect_ok dnas-view -c tiny.dnas
    expect_text "$TMP/out" "$(grep -c '>' "$ROOT/examples/tiny.fa")"
}

test_rows() {
    vocabulary
    rows 1- -T v.json s.fa >got
    expect_text got $'a\t1 11 11 11 0 11 2\t0\t1\t17\t\nb\t1 7 5 8 8 9 5 7 5 8 8 9 5 2\t0\t1\t14\t'
    expect_ok dnas-tokenize -T v.json s.fa -o out.dnas
    expect_text "$TMP/err" $'dnas-tokenize: 1 unknown letters became [UNK]\ndnas-tokenize: 1 letters outside A, C, G, T'
    dnas-view -H out.dnas | tr -d ' \n' | grep -q '"tokens":{"tokenizer":"[0-9a-f]\{32\}","max_tokens":0,"window_bp":10000,"truncate_bp":0,"keep_case":false}' ||
        fail "the header says $(dnas-view -H out.dnas | tr -d ' \n')"
    printf '>a label=x\nACGT\n>b\nGT\n' >l.fa
    rows 1,6 -T v.json l.fa >got
    expect_text got $'a\tx\nb\t'
}

test_letters() {
    vocabulary
    printf '>lower\nacgt\n>rna\nGU\n>odd\nANNC-*\n' >l.fa
    rows 1,2 -T v.json l.fa >got
    expect_text got $'lower\t1 11 2\nrna\t1 10 2\nodd\t1 5 0 0 6 0 0 2'
    rows 1,2 -T v.json --keep-case l.fa >got
    expect_text got $'lower\t1 0 0 0 0 2\nrna\t1 7 0 2\nodd\t1 5 0 0 6 0 0 2'
}

test_max_tokens() {
    vocabulary
    rows 1,2 -T v.json --max-tokens 4 s.fa >got
    expect_text got $'a\t1 11 11 2\nb\t1 7 5 2'
    rows 2 -T v.json --max-tokens 2 s.fa >got
    expect_text got $'1 2\n1 2'
    expect_ok dnas-tokenize -T v.json --max-tokens 13 s.fa
    grep -q '^dnas-tokenize: 1 rows were cut to 13 tokens$' "$TMP/err" || fail "says $(cat "$TMP/err")"
    expect_ok dnas-tokenize -T v.json --max-tokens 14 s.fa
    grep -q 'were cut' "$TMP/err" && fail "says $(cat "$TMP/err")"
    expect_sentence 2 '--max-tokens 1 leaves no room for the 2 special tokens' dnas-tokenize -T v.json --max-tokens 1 s.fa
}

windows() { # windows LETTERS OPTIONS...: part/parts:length of each row
    { echo '>s' && head -c "$1" /dev/zero | tr '\0' A && echo; } >w.fa
    rows 3,4,5 -T v.json "${@:2}" w.fa | awk '{ printf "%s/%s:%s ", $1, $2, $3 }'
}
expect_windows() { # expect_windows WANT LETTERS OPTIONS...
    local got
    got=$(windows "${@:2}")
    [ "$got" = "$1 " ] || fail "${*:2} gives $got, not $1"
}
test_windows() {
    vocabulary
    expect_windows 0/1:1 1
    expect_windows 0/1:9999 9999
    expect_windows 0/1:10000 10000
    expect_windows 0/1:10999 10999
    expect_windows '0/2:10000 1/2:1000' 11000
    expect_windows '0/2:10000 1/2:9999' 19999
    expect_windows '0/2:10000 1/2:10999' 20999
    expect_windows '0/3:10000 1/3:10000 2/3:1000' 21000
    expect_windows 0/1:50000 50000 --window 0
    expect_windows '0/3:5 1/3:5 2/3:2' 12 --window 5
    expect_windows '0/2:100 1/2:109' 209 --window 100
    expect_windows '0/3:100 1/3:100 2/3:10' 210 --window 100
    expect_windows 0/1:30 50000 --truncate 30
    expect_windows 0/1:20000 50000 --truncate 20000
    expect_sentence 2 '--truncate and --window exclude each other' dnas-tokenize -T v.json --truncate 3 --window 3 s.fa
    expect_ok dnas-tokenize -T v.json --truncate 3 --window 0 s.fa
}

# The windows of a sequence are its pieces, in order and whole.
test_windows_hold_all_letters() {
    vocabulary
    zcat "$ROOT/examples/genomes.fa.gz" | awk '/>/ { if (n++ == 30) exit } { print }' >g.fa
    expect_ok dnas-tokenize -q -T v.json --window 700 g.fa -o w.dnas
    dnas-view w.dnas | awk -F '\t' 'BEGIN { split("A C G T AC GT ACGT", name, " ") }
        NR > 1 { if ($3 == 0) printf "%s>%s\n", (NR > 2 ? "\n" : ""), $1
            n = split($2, t, " ")
            for (i = 2; i < n; i++) printf "%s", t[i] == 0 ? "N" : name[t[i] - 4] } END { print "" }' >got.fa
    awk '/^>/ { printf "%s%s\n", (NR > 1 ? "\n" : ""), $1; next } { s = toupper($0); gsub(/[^ACGT]/, "N", s); printf "%s", s }
        END { print "" }' g.fa >want.fa
    expect_same want.fa got.fa
    [ "$(wc -l <want.fa)" = 60 ] || fail "the test looks at $(wc -l <want.fa) lines"
}

# More tokens than are held in memory until the number of windows is known: the
# rows are those of the windows as sequences of their own.
test_spilled_windows() {
    vocabulary
    awk 'BEGIN { x = 5; for (k = 0; k < 9973; k++) { x = (x * 16807) % 2147483647; printf "%s", substr("ACGT", int(x / 16) % 4 + 1, 1) } }' >period
    yes "$(cat period)" | tr -d '\n' | head -c 12000000 >letters
    { echo '>long' && cat letters && printf '\n>b\nACGT\n'; } >long.fa
    { fold -w 10000 letters && echo; } | awk '{ print ">w" NR "\n" $0 }' >pieces.fa
    mkdir nowhere
    TMPDIR=$PWD/nowhere dnas-tokenize -q -T v.json long.fa -o long.dnas || fail "fails"
    [ -z "$(ls nowhere)" ] || fail "a temporary file is left"
    TMPDIR=$PWD/missing expect_sentence 1 "the temporary file in '.*/missing' failed: No such file" \
        dnas-tokenize -q -T v.json long.fa -o none.dnas
    dnas-tokenize -q -T v.json pieces.fa -o pieces.dnas
    dnas-view long.dnas | cut -f 2-5 >got
    dnas-view pieces.dnas | awk -F '\t' 'NR > 1 { print $2 "\t" NR - 2 "\t1200\t" $5 }' >want
    sed -n 2,1201p got >windows
    expect_same want windows
    sed -n '1202,$p' got >rest
    expect_text rest $'1 11 2\t0\t1\t4'
    [ "$(dnas-view long.dnas | tail -n +2 | cut -f 2 | wc -w)" -gt 5000000 ] || fail "nothing was spilled: the test is void"
}

test_pairs_of_csv() {
    vocabulary
    printf 'ACGT,GATTACA\nACGN,acgt\r\nA,C' >p.csv
    rows 1- -T v.json p.csv >got
    expect_text got $'1\t1 11 2\t1 7 5 8 8 9 5 2\t0\t\n2\t1 9 7 0 2\t1 11 2\t0\t\n3\t1 5 2\t1 6 2\t0\t'
    rows 1,2,3 -T v.json --max-tokens 3 --truncate 3 - <p.csv >got
    expect_text got $'1\t1 9 2\t1 7 2\n2\t1 9 2\t1 9 2\n3\t1 5 2\t1 6 2'
    gzip -nc p.csv >p.gz
    rows 1 -T v.json p.csv p.gz >got
    expect_text got $'1\n2\n3\n4\n5\n6'
    printf 'A,C,G\n' >three.csv
    expect_sentence 1 "^dnas-tokenize: three.csv: record 1 \('1'\) has a third column" dnas-tokenize -T v.json three.csv
    printf 'A,C\nA,\n' >half.csv
    expect_sentence 1 "^dnas-tokenize: half.csv: record 2 \('2'\) is empty" dnas-tokenize -T v.json half.csv
    printf 'A,C\nA\n' >one.csv
    expect_sentence 1 "^dnas-tokenize: one.csv: record 2 \('2'\) has no second column" dnas-tokenize -T v.json one.csv
    printf 'A,C\nA' >cut.csv
    expect_sentence 1 "^dnas-tokenize: cut.csv: record 2 \('2'\) has no second column" dnas-tokenize -T v.json cut.csv
    expect_sentence 1 'files of pairs \(CSV\) and of sequences cannot be mixed' dnas-tokenize -T v.json p.csv s.fa
    expect_sentence 1 'files of pairs \(CSV\) and of sequences cannot be mixed' dnas-tokenize -T v.json s.fa p.csv
}

test_pairs_of_a_stream() {
    vocabulary
    printf 'id\tseq_a\tother\tseq_b\tsplit\tlabel\np\tACGT\tkept\tGATTACA\t1\tx\nq\tacgu\t\tN\t0\t\n' >p.tsv
    expect_ok dnas-view --from-tsv p.tsv -o p.dnas
    rows 1- -T v.json p.dnas >got
    expect_text got $'p\t1 11 2\tkept\t1 7 5 8 8 9 5 2\t1\tx\nq\t1 11 2\t\t1 0 2\t0\t'
    dnas-view rows.dnas | head -n 1 >names
    expect_text names $'id\ttokens_a\tother\ttokens_b\tsplit\tlabel'
    rows 2,4 -T v.json --keep-case --truncate 3 --max-tokens 4 p.dnas >got
    expect_text got $'1 9 7 2\t1 7 5 2\n1 0 0 2\t1 0 2'
    expect_sentence 1 "rows.dnas: has no column 'seq_a' of sequences: is it tokenized already" dnas-tokenize -T v.json rows.dnas
    expect_sentence 1 'p.dnas: is a dnas stream; it is read alone' dnas-tokenize -T v.json p.dnas p.dnas
    expect_sentence 1 'p.dnas: is a dnas stream; it is read alone' dnas-tokenize --train 20 p.dnas
    expect_ok dnas-tokenize -q -T v.json s.fa -o t.dnas
    expect_sentence 1 't.dnas: holds TOKENS where PAIRS are needed' dnas-tokenize -T v.json t.dnas
}

test_shards() {
    vocabulary
    random_fasta 30 8 >many.fa
    dnas-tokenize -T v.json many.fa --window 500 -o whole.dnas
    for i in 1 2 3; do dnas-tokenize -T v.json --shard $i/3 --window 500 many.fa -o $i.dnas; done
    cat 1.dnas 2.dnas 3.dnas >joined.dnas
    dnas-view whole.dnas >want
    expect_ok dnas-view joined.dnas
    expect_same want "$TMP/out"
}

test_vocabularies_out_of_proportion() {
    vocabulary
    (printf '{"a": ' && head -c 100000 /dev/zero | tr '\0' '[') >deep.json
    expect_sentence 1 '^dnas-tokenize: deep.json: .*not JSON' dnas-tokenize -T deep.json s.fa
    (printf '{"a": "' && head -c 100000000 /dev/zero | tr '\0' x && printf '"}') >large.json
    expect_sentence 1 '^dnas-tokenize: large.json: is larger than the 64 MiB allowed' \
        dnas-tokenize -T large.json s.fa
}
test_vocabularies_that_are_none() {
    vocabulary
    expect_sentence 1 '^dnas-tokenize: s.fa: line 1: not JSON' dnas-tokenize -T s.fa s.fa
    expect_sentence 1 '^dnas-tokenize: missing.json: .*No such file' dnas-tokenize -T missing.json s.fa
    : >empty.json
    expect_sentence 1 '^dnas-tokenize: empty.json: ' dnas-tokenize -T empty.json s.fa
    head -c 500 v.json >cut.json
    expect_sentence 1 '^dnas-tokenize: cut.json: ' dnas-tokenize -T cut.json s.fa
    expect_sentence 2 'give either -T with a tokenizer or --train with a size' dnas-tokenize s.fa
    expect_sentence 2 'give either -T with a tokenizer or --train with a size' dnas-tokenize -T v.json --train 20 s.fa
}

# The vocab.txt of Nucleotide Transformer v2.
nt_vocabulary() {
    printf '%s\n' '<unk>' '<pad>' '<mask>' '<cls>' '<eos>' '<bos>' \
        {A,T,C,G}{A,T,C,G}{A,T,C,G}{A,T,C,G}{A,T,C,G}{A,T,C,G} A T C G
    printf N
}

test_six_mers() {
    printf '>a\nATTCCGATTCCGATTCCG\n>b\nACGTACNacguacRRYA\n' >n.fa
    rows 1,2 -T nt n.fa >got
    expect_text got $'a\t3 369 369 369\nb\t3 728 4106 728 0 4102'
    rows 1,2 -T nt --max-tokens 3 n.fa >got
    expect_text got $'a\t3 369 369\nb\t3 728 4106'
    mkdir model
    nt_vocabulary >model/vocab.txt
    # As published with the weights.
    [ "$(sha256sum <model/vocab.txt | head -c 8)" = c00e0ad1 ] || fail "vocab.txt is another"
    expect_ok dnas-tokenize --no-pg -T nt n.fa -o nt.dnas
    expect_text "$TMP/err" $'dnas-tokenize: 3 unknown letters became <unk>\ndnas-tokenize: 4 letters outside A, C, G, T'
    for t in model model/vocab.txt; do
        expect_ok dnas-tokenize --no-pg -T $t n.fa -o got.dnas
        expect_same nt.dnas got.dnas
    done
    sed -i 7d model/vocab.txt
    expect_sentence 1 '^dnas-tokenize: model/vocab.txt: has not all words of 6 letters' dnas-tokenize -T model n.fa
}

test_single_letters() {
    printf '>a\nACGTN\n>b\nacguR-\n' >n.fa
    rows 1,2 -T hyena n.fa >got
    expect_text got $'a\t7 8 9 10 11 1\nb\t7 8 9 10 6 6 1'
    rows 2 -T hyena --max-tokens 3 n.fa >got
    expect_text got $'7 8 1\n7 8 1'
    mkdir model
    expect_sentence 1 '^dnas-tokenize: model: is a folder without tokenizer.json, vocab.txt' dnas-tokenize -T model n.fa
    echo '{"tokenizer_class": "HyenaDNATokenizer"}' >model/tokenizer_config.json
    for t in hyena model model/tokenizer_config.json; do
        expect_ok dnas-tokenize --no-pg -q -T $t n.fa -o got.dnas
        [ $t = hyena ] && cp got.dnas want.dnas
        expect_same want.dnas got.dnas
    done
}

# Ids of the Hugging Face tokenizers library for DNABERT-2's and DNABERT-S's vocabularies.
test_golden() {
    local t=${DNAS_TEST_DATA:-}/tokenizer
    [ -f "$t/tokenize.tsv" ] || { skip "needs DNAS_TEST_DATA"; return; }
    for j in dnabert2 dnaberts; do
        rows 1,2 -T "$t/${j}_tokenizer.json" --keep-case --window 0 "$t/tokenize.fa" >got
        expect_same "$t/tokenize.tsv" got
    done
}

run_tests
