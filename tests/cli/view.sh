#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# view.sh - dnas-view: every mode, and that text and .npy are ways there and back.
# shellcheck source=tests/lib.sh
. tests/lib.sh

small() { # e.tsv and e.dnas: EMBEDDINGS of four rows
    printf 'id\tembedding_0\tembedding_1\tlength_bp\tlabel\textra\na\t1\t-0.5\t5\tx\tone\nb\t3.00000011e-07\t0\t6\tx\t\nc\t0\t2\t7\ty "q" \\\\\tthree\nd\t0\t1234567.5\t4294967295\t\tä\n' >e.tsv
    expect_ok dnas-view --from-tsv e.tsv -o e.dnas
}

test_tsv() {
    small
    expect_ok dnas-view e.dnas
    expect_same e.tsv "$TMP/out"
    expect_ok dnas-view <e.dnas
    expect_same e.tsv "$TMP/out"
    expect_ok dnas-view - <e.dnas
    expect_same e.tsv "$TMP/out"
}

test_json() {
    small
    expect_ok dnas-view --json e.dnas
    expect_text "$TMP/out" '{"id": "a", "embedding": [1,-0.5], "length_bp": 5, "label": "x", "extra": "one"}
{"id": "b", "embedding": [3.00000011e-07,0], "length_bp": 6, "label": "x", "extra": ""}
{"id": "c", "embedding": [0,2], "length_bp": 7, "label": "y \"q\" \\\\", "extra": "three"}
{"id": "d", "embedding": [0,1234567.5], "length_bp": 4294967295, "label": "", "extra": "ä"}'
}

test_header() {
    small
    expect_ok dnas-view -H e.dnas
    tr -d ' \n' <"$TMP/out" >header
    echo >>header
    grep -q '^{"kind":"EMBEDDINGS","columns":\[{"name":"id","type":"utf8","shape":\[\]},{"name":"embedding","type":"f32","shape":\[2\]},{"name":"length_bp","type":"u32","shape":\[\]},{"name":"label","type":"utf8","shape":\[\]},{"name":"extra","type":"utf8","shape":\[\]}\],"pg":\[{' header ||
        fail "the header is $(cat header)"
    expect_ok dnas-view --header e.dnas
    expect_ok dnas-view --from-tsv e.tsv --no-pg -o n.dnas
    expect_ok dnas-view -H n.dnas
    grep -q '"pg"' "$TMP/out" && fail "--no-pg adds a program line"
}

test_count_and_check() {
    small
    expect_ok dnas-view -c e.dnas
    expect_text "$TMP/out" 4
    expect_ok dnas-view --check e.dnas
    expect_text "$TMP/out" 'e.dnas: whole: EMBEDDINGS, 4 rows in 1 blocks'
    random_fasta 600 1 >s.fa
    dnas-embed -m tnf s.fa -o s.dnas
    dnas-embed -m tnf --zstd s.fa -o z.dnas
    for f in s.dnas z.dnas; do
        expect_ok dnas-view --check $f
        expect_text "$TMP/out" "$f: whole: EMBEDDINGS, 600 rows in 3 blocks"
    done
    expect_ok dnas-view --check <s.dnas
    expect_text "$TMP/out" 'standard input: whole: EMBEDDINGS, 600 rows in 3 blocks'
}

test_concatenations() {
    small
    cat e.dnas e.dnas e.dnas >eee.dnas
    expect_ok dnas-view -c eee.dnas
    expect_text "$TMP/out" 12
    (cat e.tsv && tail -n +2 e.tsv && tail -n +2 e.tsv) >want
    expect_ok dnas-view eee.dnas
    expect_same want "$TMP/out"
    dnas-view --from-tsv e.tsv --zstd -o z.dnas
    cat z.dnas z.dnas >zz.dnas
    expect_ok dnas-view -c zz.dnas
    expect_text "$TMP/out" 8
    cut -f 1-4 e.tsv >less.tsv
    dnas-view --from-tsv less.tsv -o less.dnas
    cat e.dnas less.dnas >mixed.dnas
    expect_sentence 1 '^dnas-view: mixed.dnas: the streams before and after row 4 differ in kind or columns' dnas-view -c mixed.dnas
    random_fasta 4 1 >s.fa
    dnas-embed -m tnf s.fa -o 1.dnas
    dnas-embed -m tnf --truncate 100 s.fa -o 2.dnas
    cat 1.dnas 2.dnas >settings.dnas
    expect_sentence 1 'settings.dnas: the streams before and after row 4 were made by different models or settings' dnas-view -c settings.dnas
}

test_rows() {
    small
    expect_rows() { # expect_rows RANGE ROWS: lines of e.tsv
        expect_ok dnas-view --rows "$1" e.dnas
        sed -n "1p$2" e.tsv >want
        expect_same want "$TMP/out"
    }
    expect_rows 2 ';3p'
    expect_rows 2-3 ';3,4p'
    expect_rows 3- ';4,5p'
    expect_rows 1-4 ';2,5p'
    expect_rows 4-9 ';5p'
    expect_rows 9 ''
    expect_ok dnas-view -r 2-3 --json e.dnas
    grep -o '"id": "."' "$TMP/out" >ids
    expect_text ids $'"id": "b"\n"id": "c"'
    expect_ok dnas-view -r 2-3 --salvage e.dnas
    cp "$TMP/out" part.dnas
    expect_ok dnas-view part.dnas
    sed -n '1p;3,4p' e.tsv >want
    expect_same want "$TMP/out"
    # Rows are counted through a concatenation.
    cat e.dnas e.dnas >ee.dnas
    expect_ok dnas-view --rows 4-5 ee.dnas
    sed -n '1p;5p' e.tsv >want && sed -n 2p e.tsv >>want
    expect_same want "$TMP/out"
    local bad
    for bad in 0 3-2 x - 2-x '' 1-2-3 -1; do
        expect_sentence 2 "--rows takes N, N-M or N- with 1 <= N <= M, not '$bad'" dnas-view "--rows=$bad" e.dnas
    done
    expect_sentence 2 '--rows goes with TSV, --json and --salvage' dnas-view --rows 1 -c e.dnas
    # What is cut behind the rows asked for is an error all the same.
    head -c -1 e.dnas >cut.dnas
    expect_status 1 dnas-view --rows 1 cut.dnas
}

test_salvage() {
    random_fasta 600 1 >s.fa
    dnas-embed -m tnf s.fa -o s.dnas
    dnas-view s.dnas | head -n 513 >want
    head -c -70000 s.dnas >cut.dnas # within the third block
    expect_ok dnas-view --salvage cut.dnas -o saved.dnas
    expect_text "$TMP/err" $'dnas-view: warning: cut.dnas: is truncated after row 512\ndnas-view: 512 rows saved'
    expect_ok dnas-view saved.dnas
    expect_same want "$TMP/out"
    head -c -10 s.dnas >endless.dnas
    expect_ok dnas-view -q --salvage endless.dnas -o saved.dnas
    expect_ok dnas-view -c saved.dnas
    expect_text "$TMP/out" 600
    expect_ok dnas-view -q --salvage --zstd <cut.dnas
    cp "$TMP/out" saved.dnas
    expect_ok dnas-view saved.dnas
    expect_same want "$TMP/out"
    head -c 100 s.dnas >header.dnas
    expect_sentence 1 'header.dnas: is truncated within its header' dnas-view --salvage header.dnas -o none.dnas
    [ ! -e none.dnas ] || fail "none.dnas is there"
}

# The TSV of each kind, and back; whatever the columns of text hold.
test_from_tsv() {
    there_and_back() {
        expect_ok dnas-view --from-tsv t.tsv -o t.dnas
        expect_ok dnas-view t.dnas
        expect_same t.tsv "$TMP/out"
        expect_ok dnas-view --check t.dnas
        grep -q ": whole: $1, " "$TMP/out" || fail "is $(cat "$TMP/out"), not $1"
    }
    printf 'id\ttokens\tpart\tparts\tlength_bp\tlabel\na\t1 65535 0 2\t0\t2\t10000\tx\na\t\t1\t2\t4\t\n' >t.tsv
    there_and_back TOKENS
    printf 'id\tcluster\tscore\tlength_bp\nr\t-1\t0\t4294967295\ns\t2147483647\t0.123456791\t0\n' >t.tsv
    there_and_back LABELS
    printf 'id\tseq_a\tseq_b\tsplit\tlabel\np\tACGT\tGG\t0\tx y\n\t\t\t255\t\n' >t.tsv
    there_and_back PAIRS
    printf 'id\ttokens_a\ttokens_b\tsplit\tnote\np\t1 5 2\t1 2\t0\tä€😀\n' >t.tsv
    there_and_back PAIRS
    printf 'label\tembedding_0\tembedding_1\tembedding_2\tid\tother_0\tother_1\tname_7\nx\t1\t2\t3\tr\t0.5\t-1.00000002e+20\t7\n' >t.tsv
    there_and_back EMBEDDINGS
    # Embeddings as the tools write them, f32 to the last bit.
    random_fasta 300 1 >s.fa
    dnas-embed --no-pg -m tnf-k s.fa -o s.dnas
    dnas-view s.dnas >t.tsv
    there_and_back EMBEDDINGS
    dnas-view --npy a.npy s.dnas && dnas-view --npy b.npy t.dnas
    expect_same a.npy b.npy
    # Lines of DOS, empty lines, no final newline, gzip, standard input.
    printf 'id\tcluster\nr\t1\n' >want
    for text in 'id\tcluster\r\nr\t1\r\n' 'id\tcluster\n\nr\t1\n\n' 'id\tcluster\nr\t1'; do
        # shellcheck disable=SC2059
        printf "$text" | gzip -nc >t.gz
        dnas-view --from-tsv t.gz -o t.dnas
        expect_ok dnas-view t.dnas
        expect_same want "$TMP/out"
    done
    expect_ok dnas-view --from-tsv - <want
    cp "$TMP/out" t.dnas
    expect_ok dnas-view t.dnas
    expect_same want "$TMP/out"
}

test_from_tsv_refuses() {
    refuses() { # refuses TEXT PATTERN
        # shellcheck disable=SC2059
        printf "$1" >t.tsv
        expect_sentence 1 "^dnas-view: t.tsv: $2" dnas-view --from-tsv t.tsv -o t.dnas
        [ ! -e t.dnas ] || fail "t.dnas is there"
    }
    refuses '' 'is empty: neither a stream nor a TSV with a line of names'
    refuses 'name\tcluster\n' "line 1 names no column 'id'"
    refuses 'id\tnote\n' "line 1 names no column 'embedding_0', 'cluster', 'tokens' or 'seq_a'"
    refuses 'id\tid\tcluster\n' "line 1 has two columns 'id'"
    refuses 'id\t\tcluster\n' 'line 1 has a column without a name'
    refuses 'id\tcluster\na\tx\n' "line 2 has 'x' of column 'cluster' is no number of type i32"
    refuses 'id\tcluster\na\t\n' "line 2 has '' of column 'cluster' is no number of type i32"
    refuses 'id\tcluster\na\t1 2\n' "line 2 has '1.*' of column 'cluster' is no number of type i32"
    refuses 'id\tcluster\na\t2147483648\n' "line 2 has '2147483648' of column 'cluster'"
    refuses 'id\ttokens\na\t1 65536\n' "line 2 has .* of column 'tokens' is no number of type u16"
    refuses 'id\ttokens\na\t1  2\n' "line 2 has .* of column 'tokens' is no number of type u16"
    refuses 'id\tseq_a\tsplit\na\tA\t-1\n' "line 2 has '-1' of column 'split'"
    refuses 'id\tembedding_0\na\t1x\n' "line 2 has '1x' of column 'embedding_0' is no number"
    refuses 'id\tembedding_0\n\na\n' 'line 3 has fewer fields than line 1 has names'
    refuses 'id\tembedding_0\na\t1\t2\n' 'line 2 has more fields than line 1 has names'
    refuses 'id\tcluster\na\377\t1\n' 'line 2 is not UTF-8 text'
    refuses 'id\tcluster\na\0b\t1\n' 'line 2 is not UTF-8 text'
    refuses 'id\tcluster\tlabel\na\t1\tx\r\r\n' "line 2 has control characters in column 'label'"
    refuses 'i\0d\tcluster\n' 'is neither a dnas stream nor text'
    printf 'id\tembedding_0\na\tnan\n' >t.tsv
    expect_sentence 1 "t.dnas.part: row 1: column 'embedding' has a value that is not finite" dnas-view --from-tsv t.tsv -o t.dnas
    printf 'id\tembedding_0\na\tinf\n' >t.tsv
    expect_sentence 1 "t.dnas.part: row 1: column 'embedding' has a value that is not finite" dnas-view --from-tsv t.tsv -o t.dnas
}

test_npy() {
    small
    expect_ok dnas-view --npy e.npy e.dnas
    [ ! -s "$TMP/out" ] || fail "output beside the .npy"
    [ ! -e e.npy.part ] || fail "e.npy.part is left"
    # numpy's format 1.0: magic, length of the header, header, then f32.
    head -c 8 e.npy | od -An -tx1 >magic
    expect_text magic ' 93 4e 55 4d 50 59 01 00'
    head -c 128 e.npy | grep -aq "'descr': '<f4', 'fortran_order': False, 'shape': (4, 2)" || fail "header is $(head -c 128 e.npy | tr -d '\0')"
    [ $(($(stat -c %s e.npy) % 64)) = 32 ] || fail "the numbers do not begin at a multiple of 64 bytes"
    tail -c 32 e.npy | od -An -tf4 -w8 | awk '{ print $1, $2 }' >numbers
    expect_text numbers $'1 -0.5\n3e-07 0\n0 2\n0 1234567.5'
    printf 'id\tcluster\na\t-1\nb\t70000\n' >l.tsv
    dnas-view --from-tsv l.tsv -o l.dnas
    expect_ok dnas-view --npy l.npy l.dnas
    head -c 128 l.npy | grep -aq "'descr': '<i4', 'fortran_order': False, 'shape': (2,)" || fail "header is $(head -c 128 l.npy | tr -d '\0')"
    tail -c 8 l.npy | od -An -td4 | tr -s ' ' >numbers
    expect_text numbers ' -1 70000'
    # And back: the matrix, with ids and labels or without.
    expect_ok dnas-view --from-npy e.npy -o n.dnas
    dnas-view n.dnas >got
    expect_text got $'id\tembedding_0\tembedding_1\tlabel\n1\t1\t-0.5\t\n2\t3.00000011e-07\t0\t\n3\t0\t2\t\n4\t0\t1234567.5\t'
    cut -f 1 e.tsv | tail -n +2 >ids
    cut -f 1,5 e.tsv | tail -n +2 | head -n 3 >labels.tsv
    expect_ok dnas-view --from-npy e.npy --ids ids --labels labels.tsv -o n.dnas
    expect_text "$TMP/err" 'dnas-view: warning: 1 ids are not in the file of labels and get none'
    dnas-view n.dnas >got
    cut -f 1-3,5 e.tsv >want
    expect_same want got
    expect_ok dnas-view --npy again.npy n.dnas
    expect_same e.npy again.npy
}

test_npy_refuses() {
    small
    dnas-view --npy e.npy e.dnas
    printf 'a\nb\nc\n' >three
    expect_sentence 1 '^dnas-view: three: has 3 ids for 4 rows' dnas-view --from-npy e.npy --ids three -o n.dnas
    printf 'a\nb\nc\nd\ne\n' >five
    expect_sentence 1 '^dnas-view: five: has more ids than the 4 rows' dnas-view --from-npy e.npy --ids five -o n.dnas
    printf 'a\nb\na\nd\n' >twice
    expect_sentence 1 "^dnas-view: twice: line 3 has the id 'a' a second time" dnas-view --from-npy e.npy --ids twice -o n.dnas
    printf 'a\nb\tc\nc\nd\n' >tab
    expect_sentence 1 '^dnas-view: tab: line 2 is not one id' dnas-view --from-npy e.npy --ids tab -o n.dnas
    [ ! -e n.dnas ] || fail "n.dnas is there"
    head -c 100 e.npy >cut.npy
    expect_sentence 1 '^dnas-view: cut.npy: ' dnas-view --from-npy cut.npy -o n.dnas
    expect_sentence 1 '^dnas-view: e.tsv: .*npy' dnas-view --from-npy e.tsv -o n.dnas
    printf 'id\ttokens\tpart\tparts\na\t1\t0\t1\n' >t.tsv
    dnas-view --from-tsv t.tsv -o t.dnas
    expect_sentence 1 '^dnas-view: t.dnas: holds TOKENS; --npy takes EMBEDDINGS and LABELS' dnas-view --npy t.npy t.dnas
    head -c -1 e.dnas >cut.dnas
    echo precious >old.npy
    expect_status 1 dnas-view --npy old.npy cut.dnas
    expect_text old.npy precious
    [ ! -e old.npy.part ] || fail "old.npy.part is left"
    expect_sentence 1 'no/such/x.npy' dnas-view --npy no/such/x.npy e.dnas
}

test_modes_exclude_each_other() {
    small
    expect_sentence 2 'exclude each other' dnas-view -c -H e.dnas
    expect_sentence 2 'exclude each other' dnas-view --json --npy x.npy e.dnas
    expect_sentence 2 '--from-npy and --from-tsv take the place of FILE' dnas-view --from-tsv e.tsv e.dnas
    expect_sentence 2 '--ids and --labels go with --from-npy' dnas-view --ids x e.dnas
}

# Streams of the wrong sort say what they are.
test_what_it_is_not() {
    : >empty
    expect_sentence 1 '^dnas-view: empty: is empty, not a dnas stream \(did the command before it fail\?\)' dnas-view empty
    expect_sentence 1 '^dnas-view: standard input: is empty, not a dnas stream' dnas-view </dev/null
    printf '>a\nACGT\n' >a.fa
    expect_sentence 1 '^dnas-view: a.fa: is not a dnas stream' dnas-view a.fa
    small
    head -c -1 e.dnas | tail -c +2 >shifted
    expect_sentence 1 '^dnas-view: shifted: is not a dnas stream' dnas-view shifted
    (head -c 8 e.dnas && printf '\2' && tail -c +10 e.dnas) >v2
    expect_sentence 1 '^dnas-view: v2: has stream version 2, and this program reads 1' dnas-view v2
    (head -c 12 e.dnas && printf '\377\377\377\377' && tail -c +17 e.dnas) >long
    expect_sentence 1 '^dnas-view: long: claims a header of 4294967295 bytes, more than 16 MiB' dnas-view long
}

run_tests
