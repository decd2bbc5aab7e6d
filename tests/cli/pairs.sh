#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# pairs.sh - dnas-pairs: species, pipes, what is said and what is refused.
# shellcheck source=tests/lib.sh
. tests/lib.sh

letters() { # letters N SEED: bases in one line
    awk -v n="$1" -v x="$2" 'BEGIN {
        for (i = 0; i < n; i++) {
            x = (x * 16807) % 2147483647
            printf "%s", substr("ACGT", int(x / 16) % 4 + 1, 1)
        }
        print ""
    }'
}
genomes() { # a folder of three species, one of them in two files, one too small
    mkdir g
    (echo '>c1' && letters 900 1) >g/Alpha.fa
    (echo '>c1 first' && letters 500 2 && echo '>c2' && letters 300 3) | gzip -c >g/Beta.fna.gz
    mkdir g/more
    (echo '>c3' && letters 400 4) >g/more/Alpha.fasta
    (echo '>v1' && letters 150 5) >g/Virus.fa
}
labels() { # labels FILE: species and how many pairs of them
    dnas-view "$1" | tail -n +2 | cut -f 5 | sort | uniq -c | awk '{ print $2 ":" $1 }' | paste -sd ' ' -
}

# The window of a pair is in the file that its id names.
window() { # window FILE ID MEMBER: the letters that the id tells of
    local place range flip=cat
    place=$(cut -d / -f $((1 + $3)) <<<"$2")
    range=${place##*:}
    [[ $range != *- ]] || flip='rev | tr ACGT TGCA'
    awk -v id=">${place%:*}" '/^>/ { on = $1 == id; next } on' "$1" | tr -d '\n' |
        cut -c "${range%?}" | eval "$flip"
}

test_species_from_file_names() {
    genomes
    expect_ok dnas-pairs -n 100 --length 100 -o p.dnas g/*.* g/more/*
    expect_text "$TMP/err" 'dnas-pairs: warning: 1 of 3 species skipped, with fewer than two windows that do not overlap: Virus'
    [ "$(labels p.dnas)" = 'Alpha:50 Beta:50' ] || fail "labels are $(labels p.dnas)"
    dnas-view p.dnas | grep Alpha | cut -f 1 | grep -q c3: || fail "the second file of Alpha is not used"
    # The index does not depend on how the files are called, or on their order.
    (cd g && expect_ok dnas-pairs --no-pg -q -n 100 --length 100 ./more/Alpha.fasta Virus.fa ./Beta.fna.gz ./Alpha.fa)
    cp "$TMP/out" other.dnas
    dnas-pairs --no-pg -q -n 100 --length 100 -o p.dnas g/*.* g/more/*
    expect_same p.dnas other.dnas
}

test_ids_tell_where_windows_are() {
    genomes
    zcat g/Beta.fna.gz >Beta.fa
    expect_ok dnas-pairs -n 20 --length 30-60 Beta.fa
    cp "$TMP/out" p.dnas
    dnas-view p.dnas | tail -n +2 >rows
    [ "$(wc -l <rows)" = 20 ] || fail "$(wc -l <rows) rows"
    cut -f 1 rows | cut -d / -f 1 | paste -sd ' ' - >numbers
    expect_text numbers "$(seq 20 | paste -sd ' ' -)"
    while IFS=$'\t' read -r id a b _; do
        [ "$(window Beta.fa "$id" 1)" = "$a" ] || fail "$id is not $a"
        [ "$(window Beta.fa "$id" 2)" = "$b" ] || fail "$id is not $b"
    done <rows
}

test_species_from_tags_and_tables() {
    (echo '>a label=X y' && letters 300 1 && echo '>b species=Y' && letters 300 2 &&
        echo '>c' && letters 300 3) >f.fa
    dnas-pairs -n 6 --length 100 f.fa -o p.dnas
    [ "$(labels p.dnas)" = 'X:2 Y:2 f:2' ] || fail "labels are $(labels p.dnas)"
    printf 'id\tlabel\na\tone species\nc\tone species\n' >species.tsv
    expect_ok dnas-pairs -n 6 --length 100 --species species.tsv f.fa -o p.dnas
    expect_text "$TMP/err" "dnas-pairs: warning: 1 sequences are not in species.tsv and are left out, 'b' first"
    dnas-view p.dnas | tail -n +2 | cut -f 5 | sort -u >got
    expect_text got 'one species'
    expect_sentence 1 "^dnas-pairs: none.tsv: .*No such file" dnas-pairs --species none.tsv f.fa
    printf 'z\tZ\n' >z.tsv
    expect_sentence 1 "^dnas-pairs: z.tsv: names the species of no sequence that is long enough, 'a' for one" \
        dnas-pairs --length 100 --species z.tsv f.fa
    # A table of sequence and label.
    (printf 'sequence\tlabel\n' && printf '%s\tT\n' "$(letters 300 4)") >t.tsv
    dnas-pairs -n 1 --length 100 t.tsv -o p.dnas
    [ "$(labels p.dnas)" = 'T:1' ] || fail "labels are $(labels p.dnas)"
}

# What comes through pipes is drawn from as if it were a file.
test_pipes() {
    (echo '>a label=X' && letters 3000 1 && echo '>short label=X' && letters 20 9 &&
        echo '>b label=Y' && letters 900 2) >f.fa
    dnas-pairs --no-pg -n 50 --length 100-200 f.fa -o want.dnas 2>err
    for t in 1 2; do
        expect_ok dnas-pairs --no-pg -t $t -n 50 --length 100-200 <f.fa
        expect_same want.dnas "$TMP/out"
        expect_ok dnas-pairs --no-pg -t $t -n 50 --length 100-200 - < <(gzip -c f.fa)
        expect_same want.dnas "$TMP/out"
    done
    expect_text "$TMP/err" 'dnas-pairs: 1 of 3 sequences are shorter than 100 letters and not used'
    dnas-pairs --no-pg -q -n 50 --length 100-200 <(head -n 2 f.fa) <(tail -n +3 f.fa) -o got.dnas
    expect_same want.dnas got.dnas
    expect_sentence 1 "^dnas-pairs: standard input: record 1 \('a'\) has no species: a pipe's name tells none; use --species FILE, or label= in the header" \
        dnas-pairs --length 100 <<<$'>a\n'"$(letters 300 1)"
}

test_temporary_folder() {
    (echo '>a label=X' && letters 300 1) >f.fa
    expect_sentence 1 "^dnas-pairs: the temporary file in '/no/such' failed: No such file or directory \(TMPDIR names another folder\)" \
        env TMPDIR=/no/such dnas-pairs -n 1 --length 100 -o p.dnas - <f.fa
    [ ! -e p.dnas ] || fail "p.dnas is there"
    mkdir tmp
    TMPDIR=$PWD/tmp expect_ok dnas-pairs -n 1 --length 100 -o p.dnas - <f.fa
    [ -z "$(ls tmp)" ] || fail "left in TMPDIR: $(ls tmp)"
}

# More than 64 MiB are drawn: they lie in a file meanwhile, and memory stays small.
test_memory() {
    local i kib
    letters 100000 1 | fold -w 100000 >line
    for i in $(seq 10); do
        echo ">s$i"
        for _ in 1 2 3 4 5 6 7 8 9 10; do cat line; done
    done >big.fa
    mkdir many tmp
    for i in 1 2 3 4 5 6 7 8 9 10; do
        ln -s ../big.fa many/$i.fa
    done
    [ -z "$SANITIZED" ] || { skip "sanitizers have memory of their own"; return; }
    TMPDIR=$PWD/tmp expect_ok dnas-pairs -v -t 2 -n 800 --length 100000 -o p.dnas many/*.fa
    kib=$(sed -n 's/.*peak memory \([0-9]*\)\(\.[0-9]*\)\{0,1\} MiB$/\1/p' "$TMP/err")
    [ "${kib:-999}" -lt 40 ] || fail "peak memory: $(cat "$TMP/err")"
    expect_ok dnas-view -c p.dnas
    expect_text "$TMP/out" 800
}

test_what_is_refused() {
    local r
    (echo '>a label=X' && letters 300 1) >f.fa
    for r in 0 x 5- -5 6-5 1-2-3 '' 10000001 1e3; do
        expect_sentence 2 "--length takes a number of letters from 1 to 10000000, or two as in 2000-20000, not '$r'" dnas-pairs "--length=$r" f.fa
    done
    expect_sentence 2 "--benchmark takes a number of sequences from 1 to 100000000, or two as in 10-800, not '0'" dnas-pairs --benchmark 0 f.fa
    for r in '-n 5' '--positives strand' '--balance size' '--validation 0.1' '--compat dnabert-s'; do
        # shellcheck disable=SC2086
        expect_sentence 2 '--benchmark makes no pairs: no --pairs' dnas-pairs --benchmark 5 $r f.fa
    done
    expect_sentence 2 '--benchmark writes FASTA: pipe it through zstd' dnas-pairs --benchmark 5 --zstd f.fa
    expect_sentence 2 '--rate and --profile are for --positives mutation' dnas-pairs --rate 0.1 f.fa
    expect_sentence 2 '--rate and --profile are for --positives mutation' dnas-pairs --profile even --positives strand f.fa
    expect_sentence 2 '--validate-by needs --validation' dnas-pairs --validate-by pair f.fa
    expect_sentence 2 '--rate takes a number from 0 to 0.9, not 0.95' dnas-pairs --positives mutation --rate 0.95 f.fa
    expect_sentence 2 '--validation takes a number from 0 to 1, not 1.5' dnas-pairs --validation 1.5 f.fa
    expect_sentence 2 '--pairs takes a number from 1 to 4294967295, not 0' dnas-pairs -n 0 f.fa
    expect_sentence 1 'none of 1 sequences has 301 letters; try a shorter --length' dnas-pairs --length 301 f.fa
    expect_sentence 1 'none of 1 species has two windows of 151 letters that do not overlap; try a shorter --length' dnas-pairs --length 151 f.fa
    expect_ok dnas-pairs -n 1 --length 150 f.fa
    expect_sentence 1 'none of 1 species has room for 4 sequences of 90 letters or more; try fewer, or a shorter --length' dnas-pairs --benchmark 4 --length 90 f.fa
    expect_sentence 1 'one species cannot be split: use --validate-by pair' dnas-pairs --length 100 --validation 0.5 --validate-by species f.fa
    : >empty
    expect_sentence 1 '^dnas-pairs: empty: holds no sequence, and nor do the 1 files after it' dnas-pairs empty empty
    expect_sentence 1 '^dnas-pairs: standard input: holds no sequence' dnas-pairs <empty
    expect_ok dnas-pairs -n 1 --length 100 empty f.fa
    printf 'ACGTACGT,ACGTACGT\n' >p.csv
    expect_sentence 1 "^dnas-pairs: p.csv: record 1 \('1'\): is a table of pairs, not of genomes: give it to dnas-tokenize" dnas-pairs p.csv
    cat f.fa f.fa >twice.fa
    expect_sentence 1 "twice.fa: record 2 \('a'\) has the name of an earlier record: rename one, or use --allow-duplicate-ids" dnas-pairs --length 100 twice.fa
    expect_ok dnas-pairs -n 5 --length 100 --allow-duplicate-ids twice.fa
}

test_compat() {
    (echo '>a label=X' && letters 300 1) >f.fa
    dnas-pairs -n 20 --length 50 --positives strand --compat dnabert-s f.fa -o p.dnas
    dnas-view p.dnas | tail -n +2 >rows
    [ "$(cut -f 2 rows | tr ACGT TGCA)" = "$(cut -f 3 rows)" ] || fail "the second member is not the plain complement"
    cut -f 1 rows | grep -vqE '(\+/.*c|-/.*r)$' && fail "ids are $(cut -f 1 rows | head -n 3)"
    dnas-pairs -n 20 --length 100 --positives mutation --compat dnabert-s f.fa -o p.dnas
    dnas-view p.dnas | tail -n +2 | awk -F '\t' '{ n += length($3); if (length($3) > 100) exit 1 }
        END { exit !(n > 1800 && n < 2000) }' || fail "there are not just deletions"
    dnas-pairs --no-pg -n 20 --length 100 --positives mutation --profile deletion --strand both f.fa -o d.dnas
    dnas-pairs --no-pg -n 20 --length 100 --positives mutation --compat dnabert-s f.fa -o c.dnas
    expect_same d.dnas c.dnas
}

test_windows_of_n() {
    (echo '>a label=X' && letters 1000 1 | sed 's/./N/201;s/./N/202;s/./N/203' &&
        head -c 1000 /dev/zero | tr '\0' 'n' && echo && letters 1000 2) >n.fa
    dnas-pairs -n 3000 --length 100 n.fa -o p.dnas
    dnas-view p.dnas | tail -n +2 | cut -f 2,3 | tr '\t' '\n' | awk '{ n = gsub(/N/, ""); if (n > 5) bad++; if (n == 5) most++; if (n == 3) some++ }
        END { exit bad || !most || !some }' || fail "windows have too many N, or none has the most"
    (echo '>a label=X' && head -c 5000 /dev/zero | tr '\0' N && echo && letters 120 2) >none.fa
    expect_sentence 1 'none of 1 species has two windows of 100 letters' dnas-pairs --length 100 none.fa
}

test_many_skipped() {
    local i
    for i in $(seq 300); do printf '>s%s label=A_long_name_of_a_species_%s\nACGTACGTAC\n' "$i" "$i"; done >s.fa
    (echo '>a label=X' && letters 300 1) >>s.fa
    expect_ok dnas-pairs -n 1 --length 10 s.fa
    [ "$(wc -l <"$TMP/err")" = 1 ] || fail "more than one line"
    grep -qE '300 of 301 species skipped, .*A_long_name_of_a_species_1, A_long_name_of_a_species_10, .* and [0-9]+ more$' "$TMP/err" ||
        fail "says $(cat "$TMP/err")"
    expect_ok dnas-pairs -q -n 1 --length 10 s.fa
    [ ! -s "$TMP/err" ] || fail "-q says $(cat "$TMP/err")"
}

test_benchmark() {
    genomes
    expect_ok dnas-pairs --benchmark 3 --length 100 g/*.* g/more/*
    expect_text "$TMP/err" 'dnas-pairs: warning: 1 of 3 species skipped, without room for that many sequences: Virus'
    cp "$TMP/out" b.fa
    grep '>' b.fa | sed 's/.*label=\([^ ]*\) .*/\1/' | sort | uniq -c | awk '{ print $2 ":" $1 }' >got
    expect_text got $'Alpha:3\nBeta:3'
    grep '>' b.fa | grep -vqE '^>seq00000[1-6] label=[A-Za-z]+ source=c[123]:[0-9]+-[0-9]+[+-]$' && fail "headers are $(grep '>' b.fa)"
    expect_ok dnas-embed -q -m tnf b.fa
    printf 'c1\tA b\nc2\tA_b\n' >clash.tsv
    zcat g/Beta.fna.gz >Beta.fa
    expect_sentence 1 "two species would both be called 'A_b': rename one" dnas-pairs --benchmark 1 --length 100 --species clash.tsv Beta.fa
    printf 'c1\tA b\nc2\tA b\n' >one.tsv
    expect_ok dnas-pairs --benchmark 1 --length 100 --species one.tsv Beta.fa
    grep -q ' label=A_b source=' "$TMP/out" || fail "the label is $(head -n 1 "$TMP/out")"
}

test_pipeline() {
    dnas-tokenize --train 300 "$ROOT/examples/genomes.fa.gz" -o v.json
    dnas-pairs -n 40 --length 2000 --validation 0.25 "$ROOT/examples/genomes.fa.gz" 2>err |
        dnas-tokenize -T v.json --max-tokens 200 -o t.dnas 2>>err || fail "fails: $(cat err)"
    expect_ok dnas-view t.dnas
    head -n 1 "$TMP/out" >names
    expect_text names $'id\ttokens_a\ttokens_b\tsplit\tlabel'
    [ "$(tail -n +2 "$TMP/out" | cut -f 4 | grep -c 1)" = 10 ] || fail "not a quarter is for validation"
}

SANITIZED=${SANITIZE:-}
run_tests
