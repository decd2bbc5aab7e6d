#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# embed.sh - dnas-embed: features, labels, shards and resumption.  How odd files
# are read is in sequences.sh.
# shellcheck source=tests/lib.sh
. tests/lib.sh

values() { # values FILE: "id column=value ..." of what is not zero; label and length too
    dnas-view "$1" | awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; next }
        { line = $1
          for (i = 2; i <= NF; i++)
              if ($i != "0" && $i != "") { sub(/^embedding_/, "", name[i]); line = line " " name[i] "=" $i }
          print line }'
}
expect_values() { # expect_values TEXT ARGUMENTS...
    expect_ok dnas-embed -q "${@:2}"
    cp "$TMP/out" out.dnas
    values out.dnas >out.values
    expect_text out.values "$1"
}

# tnf: letters A 0, T 1, C 2, G 3; ACGT is 0*64 + 2*16 + 3*4 + 1 = 45, CGTA 2*64 + 3*16 + 1*4 + 0.
test_tnf() {
    printf '>one\nACGT\n>two\nACGTA\n>three\nACGTACG\n>none\nACG\n>runs\nAAAAATTTTT\n' >a.fa
    expect_values 'one 45=1 length_bp=4
two 45=0.5 180=0.5 length_bp=5
three 45=0.25 75=0.25 180=0.25 210=0.25 length_bp=7
none length_bp=3
runs 0=0.285714298 1=0.142857149 5=0.142857149 21=0.142857149 85=0.285714298 length_bp=10' -m tnf a.fa
}

# tnf-canonical: A 0, C 1, G 2, T 3; the 136 smaller ones of 4-mer and reverse complement in order.
canonical() { # canonical SEQUENCE: the values of all 136 columns, in one line
    awk -v s="$1" 'BEGIN {
        split("A C G T", letter, " ")
        comp["A"] = "T"; comp["C"] = "G"; comp["G"] = "C"; comp["T"] = "A"
        for (a = 1; a <= 4; a++) for (b = 1; b <= 4; b++) for (c = 1; c <= 4; c++) for (d = 1; d <= 4; d++) {
            w = letter[a] letter[b] letter[c] letter[d]
            r = comp[letter[d]] comp[letter[c]] comp[letter[b]] comp[letter[a]]
            if (w <= r) { at[w] = at[r] = n++ }
        }
        for (i = 1; i + 3 <= length(s); i++) { count[at[substr(s, i, 4)]]++; total++ }
        for (k = 0; k < n; k++) printf "%.9g ", count[k] / total
        print ""
    }'
}
test_tnf_canonical() {
    local s
    printf '>a\nACGT\n>b\nAAAAA\n>c\nTTTTT\n>d\nGATTACAGATTACACC\n' >a.fa
    for s in ACGT AAAAA TTTTT GATTACAGATTACACC; do canonical $s; done >want
    [ "$(head -n 1 want | wc -w)" = 136 ] || fail "the test counts $(head -n 1 want | wc -w) columns"
    dnas-embed -q -m tnf-canonical a.fa >out.dnas || fail "fails"
    dnas-view out.dnas | tail -n +2 | cut -f 2-137 | paste - want | tr '\t' ' ' | awk '
        { for (i = 1; i <= 136; i++) { d = $i - $(i + 136); if (d > 1e-7 || d < -1e-7) exit 1 } }
        END { exit NR != 4 }' || fail "tnf-canonical is not what counting by hand gives"
}

# Records that are longer than any buffer, one after the other, come out as
# each of them alone; ten thousand letters counted by hand stand for all.
test_long_records() {
    local i
    for i in 1 2 3; do
        awk -v x=$i 'BEGIN { for (k = 0; k < 10000; k++) { x = (x * 16807) % 2147483647; printf "%s", substr("ACGT", int(x / 16) % 4 + 1, 1) } }' >period.$i
        { echo ">r$i" && yes "$(cat period.$i)" | tr -d '\n' | head -c $((700000 * i)) && echo; } >r$i.fa
        dnas-embed -q -m tnf r$i.fa -o r$i.dnas
    done
    echo '>short' >s.fa && cat period.1 >>s.fa && echo >>s.fa
    dnas-embed -q -m tnf -t 2 r1.fa s.fa r2.fa r3.fa -o all.dnas
    dnas-view all.dnas >got
    for i in 1 2 3; do dnas-view r$i.dnas | tail -n 1; done >want
    grep -v '^id\|^short' got >got.long
    expect_same want got.long
    # 4-mers of 70 periods and the seams between them: counted here.
    { cat period.1 period.1 | head -c 10003; } | awk '{ n = length($0) - 3
        for (k = 1; k <= n; k++) count[substr($0, k, 4)]++
        split("A T C G", l, " ")
        for (a = 1; a <= 4; a++) for (b = 1; b <= 4; b++) for (c = 1; c <= 4; c++) for (d = 1; d <= 4; d++)
            print count[l[a] l[b] l[c] l[d]] / n }' >by_hand
    head -n 2 got | tail -n 1 | cut -f 2-257 | tr '\t' '\n' | paste - by_hand | awk '
        { d = $1 - $2; if (d > 2e-5 || d < -2e-5) exit 1 } END { exit NR != 256 }' ||
        fail "counts of a long record are not those by hand"
}

test_strands() {
    printf '>a\nGATTACAGATTACACCGGTAC\n' >plus.fa
    printf '>a\nGTACCGGTGTAATCTGTAATC\n' >minus.fa
    for m in tnf-canonical tnf-k; do
        dnas-embed --no-pg -m $m plus.fa >plus.dnas
        dnas-embed --no-pg -m $m minus.fa >minus.dnas
        [ "$m" = tnf-k ] || expect_same plus.dnas minus.dnas
        dnas-view plus.dnas | tail -n 1 | tr '\t' '\n' >plus
        dnas-view minus.dnas | tail -n 1 | tr '\t' '\n' >minus
        paste plus minus | awk '{ d = $1 - $2; if (d > 1e-6 || d < -1e-6) exit 1 }' ||
            fail "$m: the strands embed differently"
    done
    [ "$(dnas-view plus.dnas | head -n 1 | tr '\t' '\n' | grep -c embedding_)" = 103 ] ||
        fail "tnf-k has not 103 dimensions"
    dnas-embed -m tnf-k --compat dnabert-s plus.fa >compat.dnas
    dnas-view compat.dnas | tail -n 1 >compat
    dnas-view plus.dnas | tail -n 1 >plus
    cmp -s compat plus && fail "--compat dnabert-s changes nothing"
    dnas-view -H compat.dnas | grep -q '"compat": "dnabert-s"' || fail "compat is not in the header"
}

# dna2vec: the mean of the rows of the 4-mers, here (i, 2 i, 1).
test_dna2vec() {
    awk 'BEGIN { print "id\tembedding_0\tembedding_1\tembedding_2"
        for (i = 0; i < 256; i++) print i "\t" i "\t" 2 * i "\t1" }' >m.tsv
    dnas-view --from-tsv m.tsv -o m.dnas && dnas-view --npy m.npy m.dnas
    printf '>one\nACGT\n>two\nACGTA\n>none\nAC\n' >a.fa
    expect_values 'one 0=45 1=90 2=1 length_bp=4
two 0=112.5 1=225 2=1 length_bp=5
none length_bp=2' -m dna2vec:m.npy a.fa
    head -n 200 m.tsv >short.tsv
    dnas-view --from-tsv short.tsv -o short.dnas && dnas-view --npy short.npy short.dnas
    expect_sentence 1 '^dnas-embed: .*short.npy' dnas-embed -m dna2vec:short.npy a.fa
    expect_sentence 1 '^dnas-embed: .*missing.npy.*No such file' dnas-embed -m dna2vec:missing.npy a.fa
    expect_sentence 1 '^dnas-embed: .*a.fa.* not a .npy' dnas-embed -m dna2vec:a.fa a.fa
}

test_reduce() {
    printf '>two\nACGTA\n' >a.fa
    expect_values 'two 0=0.00390625 1=0.00390625 length_bp=5' -m tnf --reduce 2 a.fa
    expect_values 'two 0=0.00390625 length_bp=5' -m tnf --reduce 1 a.fa
    expect_sentence 2 '--reduce 137 is more than the 136 dimensions' dnas-embed -m tnf-canonical --reduce 137 a.fa
}

test_bf16() {
    printf '>a\nACGTAC\n' >a.fa
    expect_values 'a 45=0.333984375 180=0.333984375 210=0.333984375 length_bp=6' -m tnf --output-type bf16 a.fa
    dnas-view -H out.dnas | grep -q '"type": "bf16"' || fail "the column is not bf16"
}

test_letters() {
    printf '>upper\nACGT\n>lower\nacgt\n>rna\nacgU\n>n\nACGTNACGT\n>n2\nACGNT\n' >a.fa
    expect_values 'upper 45=1 length_bp=4
lower 45=1 length_bp=4
rna 45=1 length_bp=4
n 45=1 length_bp=9
n2 length_bp=5' -m tnf a.fa
    expect_values 'upper 45=1 length_bp=4
lower length_bp=4
rna length_bp=4
n 45=1 length_bp=9
n2 length_bp=5' -m tnf --keep-case a.fa
    expect_ok dnas-embed -m tnf a.fa
    expect_text "$TMP/err" 'dnas-embed: 2 letters outside A, C, G, T'
    expect_ok dnas-embed -q -m tnf a.fa
    [ ! -s "$TMP/err" ] || fail "-q says $(cat "$TMP/err")"
}

test_truncate() {
    printf '>a\nACG\nTAGG\n>b\nAC\n' >a.fa
    printf '>a\nACGTA\n>b\nAC\n' >cut.fa
    dnas-embed -m tnf --no-pg --truncate 5 a.fa | cat >got.dnas
    expect_ok dnas-view got.dnas
    cp "$TMP/out" got
    dnas-embed -m tnf --no-pg --truncate 5 cut.fa >want.dnas
    expect_ok dnas-view want.dnas
    expect_same got "$TMP/out"
    dnas-view -H got.dnas | grep -q '"truncate_bp": 5' || fail "truncate_bp is not in the header"
    # What is cut away is checked all the same.
    printf '>a\nACGTA1\n' >bad.fa
    expect_sentence 1 "has the character '1'" dnas-embed -m tnf --truncate 3 bad.fa
    printf '@a\nACGTA\n+\nIIII\n' >bad.fq
    expect_sentence 1 'has 4 quality characters for 5 letters' dnas-embed -m tnf --truncate 3 bad.fq
}

labels_of() {
    dnas-view "$1" | awk -F '\t' 'NR > 1 { print $1 "=" $NF }' | tr '\n' ' '
}
test_labels_in_headers() {
    printf '>a label=x more\nACGT\n>b species=y_z\nACGT\n>c mylabel=no\nACGT\n>d label=\nACGT\n>e species=s label=l\nACGT\n>f\tlabel=tab\nAC\n' >a.fa
    dnas-embed -m tnf a.fa -o out.dnas
    [ "$(labels_of out.dnas)" = 'a=x b=y_z c= d= e=l f=tab ' ] || fail "labels are $(labels_of out.dnas)"
}
test_labels_from_a_file() {
    printf '>a label=x\nACGT\n>b label=y\nACGT\n>c\nACGT\n>d\nACGT\n' >a.fa
    printf 'id\tlabel\na\tA a\tthird\r\nc\tC\n\nzzz\tZ\n' >labels.tsv
    expect_ok dnas-embed -m tnf --labels labels.tsv a.fa -o out.dnas
    [ "$(labels_of out.dnas)" = 'a=A a b=y c=C d= ' ] || fail "labels are $(labels_of out.dnas)"
    expect_text "$TMP/err" "dnas-embed: warning: 1 ids are not in the file of labels and get none, 'd' first"
    gzip -nc labels.tsv >labels.gz
    expect_ok dnas-embed -q -m tnf --labels labels.gz a.fa -o zipped.dnas
    [ "$(labels_of zipped.dnas)" = 'a=A a b=y c=C d= ' ] || fail "labels are $(labels_of zipped.dnas)"
    printf 'a\tx\na\ty\n' >two.tsv
    expect_sentence 1 "^dnas-embed: two.tsv: line 2 gives 'a' a second label" dnas-embed -m tnf --labels two.tsv a.fa
    printf 'a x\n' >one.tsv
    expect_sentence 1 "^dnas-embed: one.tsv: line 1 is not 'id<TAB>label'" dnas-embed -m tnf --labels one.tsv a.fa
    printf 'a\t\377\n' >latin.tsv
    expect_sentence 1 '^dnas-embed: latin.tsv: line 1 is not UTF-8 text' dnas-embed -m tnf --labels latin.tsv a.fa
    expect_sentence 1 '^dnas-embed: missing.tsv: cannot be opened' dnas-embed -m tnf --labels missing.tsv a.fa
}

# DNABERT-S's evaluation table: a line of names, then sequence and label.
test_table() {
    printf 'sequence\tlabel\nACGT\tx\nacgta\ty z\textra\n' >t.tsv
    expect_values '1 45=1 length_bp=4 label=x
2 45=0.5 180=0.5 length_bp=5 label=y z' -m tnf t.tsv
    gzip -nc t.tsv >t.gz
    expect_values '1 45=1 length_bp=4 label=x
2 45=0.5 180=0.5 length_bp=5 label=y z' -m tnf t.gz
    printf 'sequence\tlabel\r\nACGT\tx\r\nACGTA\ty z' >dos.tsv
    expect_values '1 45=1 length_bp=4 label=x
2 45=0.5 180=0.5 length_bp=5 label=y z' -m tnf dos.tsv
    # The numbers go on through files.
    expect_values '1 45=1 length_bp=4 label=x
2 45=0.5 180=0.5 length_bp=5 label=y z
3 45=1 length_bp=4 label=x
4 45=0.5 180=0.5 length_bp=5 label=y z' -m tnf t.tsv t.gz
    printf 'sequence\tlabel\nACGT\n' >one.tsv
    expect_sentence 1 "^dnas-embed: one.tsv: record 1 \('1'\) has no second column" dnas-embed -m tnf one.tsv
    printf 'sequence\tlabel\nACGT\tx\n\tx\n' >none.tsv
    expect_sentence 1 "^dnas-embed: none.tsv: record 2 \('2'\) is empty" dnas-embed -m tnf none.tsv
    printf 'sequence\tlabel\nACGT\tx\377\n' >latin.tsv
    expect_sentence 1 "^dnas-embed: latin.tsv: record 1 \('1'\) has a label that is not UTF-8" dnas-embed -m tnf latin.tsv
}

test_shards() {
    local i n
    random_fasta 37 4 >many.fa
    random_fasta 40 5 | sed 's/^>/>second/' >more.fa
    dnas-embed -m tnf many.fa more.fa -o whole.dnas
    dnas-view whole.dnas >want
    for n in 1 3 7 200; do
        : >joined.dnas
        for ((i = 1; i <= n; i++)); do
            dnas-embed -q -m tnf --shard $i/$n many.fa more.fa -o part.$i.dnas || fail "shard $i/$n fails"
            cat part.$i.dnas >>joined.dnas
        done
        expect_ok dnas-view joined.dnas
        expect_same want "$TMP/out"
    done
    for i in 1 2 3; do dnas-embed -m tnf --shard $i/3 many.fa more.fa -o $i.dnas; done
    for i in 1 2 3; do
        # About as many letters in each.
        dnas-view $i.dnas | awk -F '\t' -v whole="$(awk -F '\t' '{ s += $258 } END { print s }' want)" \
            '{ s += $258 } END { exit !(s > .9 * whole / 3 && s < 1.1 * whole / 3) }' ||
            fail "shard $i is no third of the letters"
        expect_ok dnas-view -c $i.dnas # a shard alone is a stream like others
    done
    cat 1.dnas 3.dnas >gap.dnas
    expect_sentence 1 'gap.dnas: after row [0-9]+ comes shard 3 of 3 where 2 of 3 belongs' dnas-view -c gap.dnas
    cat 1.dnas 2.dnas >short.dnas
    expect_sentence 1 'short.dnas: ends with shard 2 of 3' dnas-view -c short.dnas
    cat 2.dnas 3.dnas >late.dnas
    expect_sentence 1 'late.dnas: begins with shard 2 of 3, not with 1' dnas-view -c late.dnas
    cat 1.dnas 2.dnas 3.dnas 1.dnas >long.dnas
    expect_sentence 1 'long.dnas: after row 77 comes shard 1 of 3' dnas-view -c long.dnas
    cat 1.dnas whole.dnas >mixed.dnas
    expect_sentence 1 'mixed.dnas: after row' dnas-view -c mixed.dnas
}
test_shard_of_what() {
    printf '>a\nACGT\n' >a.fa
    local bad
    for bad in 0/3 4/3 3 1/0 x/3 1/3x 1/ /3 -1/3 1/2000000; do
        expect_sentence 2 '--shard takes I/N with 1 <= I <= N' dnas-embed -m tnf "--shard=$bad" a.fa
    done
    expect_sentence 1 'standard input: --shard reads its input twice' dnas-embed -m tnf --shard 1/2 <a.fa
    mkfifo pipe
    cat a.fa >pipe &
    expect_sentence 1 'pipe: --shard reads its input twice' dnas-embed -m tnf --shard 1/2 pipe
    kill %1 2>/dev/null
    # What another shard would refuse, this one refuses as well.
    printf '>a\nACGT\n>b\nACGT\n>a\nACGT\n' >twice.fa
    expect_sentence 1 'has the name of an earlier record' dnas-embed -m tnf --shard 1/3 twice.fa
    dnas-embed -m tnf --truncate 2 --shard 1/1 a.fa -o t.dnas || fail "--truncate with --shard fails"
}

resumes() { # resumes FROM OPTIONS...: out.dnas.part holds FROM; the result must be want.dnas
    cp "$1" out.dnas.part
    expect_ok dnas-embed -q -m tnf "${@:2}" --resume -o out.dnas many.fa
    expect_same want.dnas out.dnas
    [ ! -e out.dnas.part ] || fail "out.dnas.part is left"
    rm -f out.dnas out.dnas.part
}
test_resume() {
    local zstd at size
    random_fasta 900 6 >many.fa
    for zstd in '' --zstd; do
        dnas-embed -m tnf $zstd -o want.dnas many.fa || fail "$zstd fails"
        size=$(stat -c %s want.dnas)
        for at in 0 5 16 500 1100 100000 $((size / 2)) $((size - 100)) $((size - 64)) $((size - 1)) "$size"; do
            head -c "$at" want.dnas >part
            resumes part $zstd -t 2
        done
        # Damage in the middle: what comes before it is kept, the rest made anew.
        (head -c $((size / 2)) want.dnas && printf 'damage' && tail -c +$((size / 2 + 7)) want.dnas) >part
        resumes part $zstd -t 1
    done
    # Without a part it begins, and with another --threads it goes on.
    expect_ok dnas-embed -m tnf --zstd --resume -v -o out.dnas many.fa
    expect_same want.dnas out.dnas
}
# The part's last block was closed by an input that ended; it has grown since.
test_resume_with_more_input() {
    random_fasta 900 6 >whole.fa
    awk '/^>seq601 / { exit } { print }' whole.fa >in.fa
    dnas-embed -q -m tnf -o out.dnas in.fa
    mv out.dnas out.dnas.part
    mv whole.fa in.fa
    expect_ok dnas-embed -q -m tnf --resume -o out.dnas in.fa
    dnas-embed -q -m tnf -o want.dnas in.fa
    expect_same want.dnas out.dnas
}
test_resume_is_refused() {
    random_fasta 600 6 >many.fa
    dnas-embed -m tnf -o want.dnas many.fa
    head -c 600000 want.dnas >out.dnas.part
    cp out.dnas.part kept
    sed 's/^>seq100 />other /' many.fa >changed && mv changed many.fa
    expect_sentence 1 "many.fa: record 100 \('other'\) is not row 'seq100' of the part to be resumed: the input has changed" \
        dnas-embed -m tnf --resume -o out.dnas many.fa
    expect_same kept out.dnas.part
    head -n 1000 many.fa >short && mv short many.fa
    sed 's/^>other />seq100 /' many.fa >changed && mv changed many.fa
    expect_sentence 1 "the input ends before row 'seq[0-9]+' of the part to be resumed|is not row" \
        dnas-embed -m tnf --resume -o out.dnas many.fa
    expect_sentence 1 'out.dnas.part: was begun by another command, version or model' \
        dnas-embed -m tnf-canonical --resume -o out.dnas many.fa
    expect_same kept out.dnas.part
    expect_sentence 2 '--resume needs -o' dnas-embed -m tnf --resume many.fa
    expect_sentence 2 '--resume needs -o' dnas-embed -m tnf --resume -o /dev/null many.fa
}
# A run that is killed in the middle, its input a FIFO of the name that the
# second run finds a file under.
test_resume_after_a_kill() {
    local i
    zcat "$ROOT/examples/genomes.fa.gz" >whole.fa
    ln -s whole.fa in.fa
    dnas-embed -q -m tnf -o want.dnas in.fa
    rm in.fa
    mkfifo in.fa
    dnas-embed -q -m tnf -o out.dnas in.fa &
    exec 7>in.fa
    head -c 5000000 whole.fa >&7
    for ((i = 0; i < 300; i++)); do
        [ "$(stat -c %s out.dnas.part 2>/dev/null || echo 0)" -lt 200000 ] || break
        sleep 0.1
    done
    kill -9 $!
    wait $! 2>/dev/null
    [ $? = 137 ] || fail "it ended by itself"
    exec 7>&-
    [ ! -e out.dnas ] || fail "out.dnas is there"
    [ "$(stat -c %s out.dnas.part)" -ge 200000 ] || fail "no rows in the part"
    rm in.fa
    ln -s whole.fa in.fa
    expect_ok dnas-embed -q -m tnf --resume -o out.dnas in.fa
    expect_same want.dnas out.dnas
}
# A hundred runs that are killed, at any moment or in the middle of a write; some a second
# time when they go on.
test_resume_after_a_hundred_kills() {
    local i fault zstd again pid n_killed=0 needed=1 library=$BUILD/tests/faults/faults.so
    # A kill at a moment may come too early or too late, one at a write does not.
    [ -e "$library" ] && [ -z "${SANITIZE:-}" ] && needed=30 || library=
    random_fasta 900 8 >many.fa
    dnas-embed -q -m tnf -o want.dnas many.fa
    dnas-embed -q -m tnf --zstd -o want.zst many.fa
    for ((i = 0; i < 100; i++)); do
        zstd=''
        ((i % 4)) || zstd=--zstd
        rm -f out.part
        for again in '' --resume; do
            [ -z "$again" ] || ((i % 3 == 0)) || continue
            fault=''
            ((i % 2)) && [ -n "$library" ] && fault=write:KILL:$((i / 2 % 7 + 1))
            # shellcheck disable=SC2086
            DNAS_FAULT=$fault LD_PRELOAD=${fault:+$library} dnas-embed -q -m tnf $again $zstd -o out many.fa &
            pid=$!
            [ -n "$fault" ] || sleep "0.0$(printf %02d $((i * 7919 % 60)))"
            [ -n "$fault" ] || kill -KILL $pid
            wait $pid
            [ $? != 137 ] || n_killed=$((n_killed + 1))
        done 2>/dev/null
        # shellcheck disable=SC2086
        expect_ok dnas-embed -q -m tnf --resume $zstd -o out many.fa
        expect_same "want.$([ -n "$zstd" ] && echo zst || echo dnas)" out
        rm -f out
    done
    [ "$n_killed" -ge "$needed" ] || fail "only $n_killed runs were killed: the test is void"
}
# After a failure the finished rows stay, and mended input goes on from them.
test_resume_after_a_failure() {
    random_fasta 600 6 >whole.fa
    cp whole.fa in.fa && printf '>last\nAC1GT\n' >>in.fa
    expect_status 1 dnas-embed -m tnf -o out.dnas in.fa
    grep -q "record 601 ('last') has the character '1'" "$TMP/err" || fail "says $(cat "$TMP/err")"
    grep -q 'finished rows are kept in out.dnas.part: --resume goes on with them' "$TMP/err" ||
        fail "does not name --resume: $(cat "$TMP/err")"
    printf '>last\nACGT\n' | cat whole.fa - >in.fa
    expect_ok dnas-embed -q -m tnf --resume -o out.dnas in.fa
    dnas-embed -q -m tnf -o want.dnas in.fa
    expect_same want.dnas out.dnas
}

# A small network; what it computes is tested in tests/model.
network() {
    random_fasta 12 3 >s.fa
    dnas-tokenize --train 100 s.fa -o tokenizer.json
    mkdir -p model
    cp tokenizer.json "$DATA"/golden/dnabert2_tiny/{config.json,model.safetensors} model
}
test_network_from_sequences_and_from_tokens() {
    network
    local how
    for how in '' '--window 700' '--max-tokens 50' '--truncate 333'; do
        # shellcheck disable=SC2086
        expect_ok dnas-embed -q --no-pg -m model $how s.fa
        cp "$TMP/out" direct.dnas
        # shellcheck disable=SC2086
        dnas-tokenize -q --no-pg -T tokenizer.json $how s.fa -o tokens.dnas
        expect_ok dnas-embed -q --no-pg -m model tokens.dnas
        expect_same direct.dnas "$TMP/out"
        expect_ok dnas-view -c direct.dnas
        expect_text "$TMP/out" 12
    done
    dnas-tokenize --train 90 s.fa -o other.json
    dnas-tokenize -T other.json s.fa -o other.dnas
    expect_status 1 dnas-embed -q -m model other.dnas
}
# A sequence's embedding is the mean of those of its windows by their letters.
test_windows_count_by_their_letters() {
    network
    printf '>all\n%s\n' "$(random_fasta 12 3 | grep -v '>' | tr -d '\n' | head -c 2550)" >whole.fa
    dnas-tokenize -q -T tokenizer.json --window 700 whole.fa -o tokens.dnas
    dnas-view tokens.dnas | awk -F '\t' '
        NR == FNR { if (FNR > 1) n[++windows] = $5; next }
        !/^>/ { for (i = 1; i <= windows; at += n[i++]) print ">" i "\n" substr($0, at + 1, n[i]) }' \
        - whole.fa >pieces.fa
    [ "$(awk '!/^>/ { print length }' pieces.fa | sort -u | wc -l)" -gt 1 ] || fail "all windows are equal"
    dnas-embed -q -m model --window 700 whole.fa -o whole.dnas
    dnas-embed -q -m model pieces.fa -o pieces.dnas
    { dnas-view pieces.dnas && dnas-view whole.dnas; } | awk -F '\t' '
        $1 == "id" { next }
        $1 != "all" { bp += $98; for (i = 2; i < 98; i++) sum[i] += $98 * $i; next }
        {
            seen = 1
            for (i = 2; i < 98; i++) { d = $i - sum[i] / bp; if (!(d * d < 1e-12)) bad = 1 }
        }
        END { exit !(seen && !bad) }' || fail "another mean"
    # That of a single window does not know its length.
    dnas-tokenize -q -T tokenizer.json pieces.fa | dnas-view | awk -F '\t' -v OFS='\t' 'NR > 1 { $5 = 1 } { print }' >one.tsv
    dnas-view --from-tsv one.tsv -o one.dnas
    dnas-embed -q -m model one.dnas -o one.out && dnas-view one.out | cut -f 1-97 >got
    dnas-view pieces.dnas | cut -f 1-97 | cmp - got || fail "the length of one window counts"
}
# Nucleotide Transformer's kind; 2-mers for words.
test_another_network() {
    local how
    cp -r "$DATA"/golden/nt_tiny model
    { random_fasta 7 3 && printf '>odd\nACGNNTRYKACG\n>one\nA\n'; } >s.fa
    for how in '' '--window 700' '--max-tokens 50' '--truncate 333'; do
        # shellcheck disable=SC2086
        expect_ok dnas-embed -q --no-pg -m model $how s.fa
        cp "$TMP/out" direct.dnas
        # shellcheck disable=SC2086
        dnas-tokenize -q --no-pg -T model $how s.fa -o tokens.dnas
        expect_ok dnas-embed -q --no-pg -m model -t 3 tokens.dnas
        expect_same direct.dnas "$TMP/out"
        [ "$(dnas-view -c direct.dnas)" = 9 ] || fail "not nine rows"
    done
    dnas-view -H direct.dnas | grep -q '"model": "esm"' || fail "the header names another model"
    # Tokens of the published vocabulary, of 6-mers, are not this model's.
    dnas-tokenize -q -T nt s.fa -o other.dnas
    expect_sentence 1 'other.dnas: was made by another tokenizer than that of model' dnas-embed -q -m model other.dnas
}

test_logits() {
    cp -r "$DATA"/golden/nt_tiny model
    random_fasta 5 3 >s.fa
    expect_ok dnas-embed -q --no-pg -m model --logits s.fa -o logits.dnas
    [ "$(dnas-view logits.dnas | head -n 1 | tr '\t' '\n' | grep -c embedding)" = 27 ] || fail "not 27 dimensions"
    dnas-view -H logits.dnas >header
    grep -q '"output": "logits"' header || fail "the header says $(cat header)"
    expect_ok dnas-embed -q --no-pg -m model --logits --reduce 9 -t 1 s.fa
    expect_ok dnas-embed -q --no-pg -m model s.fa -o hidden.dnas
    dnas-view -H hidden.dnas >header
    ! grep -q '"output"' header || fail "the header says $(cat header)"
    # Windows are weighted by their letters, as in hidden states: twice the same is the same.
    awk '/^>/ { print; next } { print $0 $0 }' <<<$'>a\nACGTTGCAACGGTTAACCGGAAC' >two.fa
    dnas-embed -q --no-pg -m model --logits --window 23 two.fa | dnas-view | cut -f 2-28 >two
    sed 's/^\(.......................\).*/\1/' two.fa >once.fa
    dnas-embed -q --no-pg -m model --logits once.fa | dnas-view | cut -f 2-28 >once
    expect_same once two
    expect_sentence 2 '--logits is for networks; tnf has none' dnas-embed -m tnf --logits s.fa
    network
    expect_sentence 1 "^dnas-embed: model: --logits: networks of the kind 'bert' give no logits" dnas-embed -m model --logits s.fa
}

# A sequence's bits do not depend on its neighbours, shards, or a break.
test_network_alone_and_in_company() {
    network
    dnas-embed -q -m model s.fa -o all.dnas
    dnas-view all.dnas >all.tsv
    awk '/^>/ { on = /^>seq7 / } on' s.fa >one.fa
    dnas-embed -q -m model one.fa -o one.dnas
    dnas-view one.dnas | tail -n 1 >one
    sed -n 8p all.tsv >want
    expect_same want one
    for i in 1 2 3; do dnas-embed -q -m model --shard $i/3 s.fa -o $i.dnas; done
    cat 1.dnas 2.dnas 3.dnas >joined.dnas
    expect_ok dnas-view joined.dnas
    expect_same all.tsv "$TMP/out"
    random_fasta 300 4 >many.fa
    dnas-embed -q -m model --truncate 100 many.fa -o want.dnas
    head -c -2000 want.dnas >out.dnas.part
    expect_ok dnas-embed -q -m model --truncate 100 --resume -o out.dnas many.fa
    expect_same want.dnas out.dnas
}

# Streams of tokens have --resume and --shard as sequences do; windows of one
# sequence stay together.
tokens_in_windows() { # tokens_in_windows RECORDS: tokens.dnas of three windows each, want.dnas
    network
    random_fasta "$1" 4 | awk '/^>/ { n = 0 } n++ < 4' >many.fa
    dnas-tokenize -q --no-pg -T tokenizer.json --window 80 many.fa -o tokens.dnas
    dnas-embed -q -m model tokens.dnas -o want.dnas || fail "it fails"
}
test_tokens_in_shards() {
    local i n
    tokens_in_windows 23
    dnas-view want.dnas >want
    for n in 1 2 5 40; do
        : >joined.dnas
        for ((i = 1; i <= n; i++)); do
            expect_ok dnas-embed -q --no-pg -m model --shard $i/$n -t 2 tokens.dnas -o $i.dnas
            dnas-embed -q --no-pg -m model --shard $i/$n -t 1 tokens.dnas -o again.dnas
            expect_same $i.dnas again.dnas
            cat $i.dnas >>joined.dnas
        done
        expect_ok dnas-view joined.dnas
        expect_same want "$TMP/out"
    done
    # About as many letters in each, and the shard is named.
    for i in 1 2; do
        dnas-embed -q -m model --shard $i/2 tokens.dnas -o $i.dnas
        dnas-view -H $i.dnas | tr -d ' \n' | grep -q "\"shard\":\[$i,2\]" || fail "the header names no shard"
        dnas-view $i.dnas | awk -F '\t' -v whole="$(awk -F '\t' '{ s += $98 } END { print s }' want)" \
            '{ s += $98 } END { exit !(s > .4 * whole && s < .6 * whole) }' || fail "shard $i is no half"
    done
    # Tokens that were made in shards: joined they are a whole, alone they are not.
    for i in 1 2; do dnas-tokenize -q -T tokenizer.json --window 80 --shard $i/2 many.fa -o t$i.dnas; done
    cat t1.dnas t2.dnas >both.dnas
    for i in 1 2 3; do dnas-embed -q -m model --shard $i/3 both.dnas -o $i.dnas || fail "shard $i fails"; done
    cat 1.dnas 2.dnas 3.dnas >joined.dnas
    expect_ok dnas-view joined.dnas
    expect_same want "$TMP/out"
    expect_sentence 1 't2.dnas: is shard 2 of 2 itself: --shard takes the whole' \
        dnas-embed -m model --shard 1/3 t2.dnas
    expect_sentence 1 'standard input: --shard reads its input twice and needs a regular file' \
        dnas-embed -m model --shard 1/3 <tokens.dnas
    head -c -64 tokens.dnas >cut.dnas
    expect_sentence 1 'cut.dnas: is truncated after row' dnas-embed -m model --shard 1/3 cut.dnas
    # Shares are of tokens, not of windows; and the last sequence has none, so that
    # it begins where all tokens end.
    printf '%s\t%s\t0\t1\t9\n' a '1 7 7 8 7 2' b 7 c 8 d '' |
        cat <(printf 'id\ttokens\tpart\tparts\tlength_bp\n') - >none.tsv
    dnas-view --from-tsv none.tsv -o none.dnas
    for i in 1 2; do dnas-embed -q -m model --shard $i/2 none.dnas -o $i.dnas || fail "shard $i fails"; done
    expect_ok dnas-view -c 1.dnas
    expect_text "$TMP/out" 1
    cat 1.dnas 2.dnas >joined.dnas
    expect_ok dnas-view -c joined.dnas
    expect_text "$TMP/out" 4
}
# Joined shards are a shard no longer; a shard by itself stays one.
test_tokens_of_joined_shards() {
    network
    local i
    for i in 1 2; do dnas-tokenize -q -T tokenizer.json --shard $i/2 s.fa -o $i.dnas; done
    cat 1.dnas 2.dnas >joined.dnas
    expect_ok dnas-embed -q -m model -o all.dnas joined.dnas
    dnas-view -H all.dnas >header
    ! grep -q '"shard"' header || fail "calls the whole a shard: $(cat header)"
    expect_ok dnas-embed -q -m model -o one.dnas 2.dnas
    dnas-view -H one.dnas | tr -d ' \n' >header
    grep -q '"shard":\[2,2\]' header || fail "a shard is one no longer: $(cat header)"
    expect_sentence 0 'joins 2 shards, which a pipe does not tell' dnas-embed -m model -o piped.dnas <joined.dnas
    dnas-view all.dnas >want
    expect_ok dnas-view piped.dnas
    expect_same want "$TMP/out"
}
test_tokens_with_duplicate_ids() {
    network
    dnas-tokenize -q -T tokenizer.json s.fa -o one.dnas
    cat one.dnas one.dnas >twice.dnas
    expect_sentence 1 "twice.dnas: sequence 13 \('seq1'\) has the name of an earlier sequence: rename one, or use --allow-duplicate-ids" \
        dnas-embed -m model twice.dnas
    expect_sentence 1 'sequence 13 .* has the name of an earlier sequence' dnas-embed -m model --shard 1/2 twice.dnas
    expect_ok dnas-embed -q -m model --allow-duplicate-ids -o out.dnas twice.dnas
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 24
    expect_ok dnas-embed -q -m model --allow-duplicate-ids --shard 2/2 -o out.dnas twice.dnas
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 12
}
test_resume_of_tokens() {
    local at size zstd
    tokens_in_windows 300
    for zstd in '' --zstd; do
        # shellcheck disable=SC2086
        dnas-embed -q -m model $zstd tokens.dnas -o want.dnas
        size=$(stat -c %s want.dnas)
        for at in 0 5 1100 $((size / 2)) $((size - 1)) "$size"; do
            head -c "$at" want.dnas >out.dnas.part
            # shellcheck disable=SC2086
            expect_ok dnas-embed -q -m model $zstd --resume tokens.dnas -o out.dnas
            expect_same want.dnas out.dnas
            rm -f out.dnas
        done
    done
    # It did keep the finished rows: a model of another weight would show.
    dnas-embed -q -m model tokens.dnas -o want.dnas
    head -c -2000 want.dnas >out.dnas.part
    expect_ok dnas-embed -v -m model --resume tokens.dnas -o out.dnas
    grep -q ' 300 sequences in' "$TMP/err" || fail "says $(cat "$TMP/err")"
    # Both together.
    dnas-embed -q -m model --shard 2/2 tokens.dnas -o want2.dnas
    head -c -2000 want2.dnas >out.dnas.part
    expect_ok dnas-embed -q -m model --shard 2/2 --resume tokens.dnas -o out.dnas
    expect_same want2.dnas out.dnas
    # From a pipe, too: resuming reads the input once.
    dnas-embed -q --no-pg -m model tokens.dnas -o want.dnas
    head -c -2000 want.dnas >out.dnas.part
    expect_ok dnas-embed -q --no-pg -m model --resume -o out.dnas <tokens.dnas
    expect_same want.dnas out.dnas
}
test_resume_of_other_tokens() {
    tokens_in_windows 300
    dnas-embed -q --no-pg -m model tokens.dnas -o want.dnas
    head -c -2000 want.dnas >out.dnas.part
    cp out.dnas.part kept
    sed 's/^>seq100 />other /' many.fa >changed.fa
    dnas-tokenize -q --no-pg -T tokenizer.json --window 80 changed.fa -o tokens.dnas
    expect_sentence 1 "tokens.dnas: sequence 100 \('other'\) is not row 'seq100' of the part to be resumed: the input has changed" \
        dnas-embed --no-pg -m model --resume tokens.dnas -o out.dnas
    expect_same kept out.dnas.part
    awk '/^>seq9 / { exit } { print }' many.fa >short.fa
    dnas-tokenize -q --no-pg -T tokenizer.json --window 80 short.fa -o tokens.dnas
    expect_sentence 1 "the input ends before row 'seq9' of the part to be resumed" \
        dnas-embed --no-pg -m model --resume tokens.dnas -o out.dnas
    expect_same kept out.dnas.part
}
# Windows that are not a sequence's own, one after the other, are refused.
test_windows_out_of_order() {
    local name edit pattern
    network
    dnas-tokenize -q --no-pg -T tokenizer.json --window 300 s.fa | dnas-view >rows.tsv
    while IFS='|' read -r name edit pattern; do
        awk -F '\t' -v OFS='\t' "$edit" rows.tsv >"$name.tsv"
        dnas-view --from-tsv "$name.tsv" -o "$name.dnas" || fail "$name: no stream"
        expect_sentence 1 "$name.dnas: $pattern" dnas-embed -q -m model "$name.dnas"
        expect_sentence 1 "$name.dnas: $pattern" dnas-embed -q -m model --shard 1/2 "$name.dnas"
    done <<'END'
lost|NR != 4|window 2 of 'seq2' comes where window 1 of 'seq2' belongs
twice|{ print } NR == 3|window 0 of 'seq2' comes where window 1 of 'seq2' belongs
end|NR < 4|ends within the windows of 'seq2'
first|NR == 1 { print } NR > 3|window 1 of 'seq2' comes where a sequence should begin
name|NR == 4 { $1 = "other" } { print }|window 1 of 'other' comes where window 1 of 'seq2' belongs
many|NR == 4 { $4 = 99 } { print }|'seq2' has a window 1 of 99
none|NR == 2 { $4 = 0 } { print }|'seq1' has a window 0 of 0
END
    cut -f 1-4,6 rows.tsv >bare.tsv && dnas-view --from-tsv bare.tsv -o bare.dnas
    expect_sentence 1 "bare.dnas: has no column 'length_bp' of type u32, by which windows are weighted" \
        dnas-embed -q -m model bare.dnas
}

test_zstd() {
    random_fasta 300 6 >many.fa
    dnas-embed -m tnf --no-pg -o plain.dnas many.fa
    for level in --zstd --zstd=1 --zstd=19; do
        dnas-embed -m tnf --no-pg $level -o packed.dnas many.fa
        [ "$(stat -c %s packed.dnas)" -lt "$(($(stat -c %s plain.dnas) / 2))" ] || fail "$level does not compress"
        dnas-view plain.dnas >want
        expect_ok dnas-view packed.dnas
        expect_same want "$TMP/out"
        command -v zstd >/dev/null || continue
        zstd -dqc packed.dnas >unpacked.dnas || fail "zstd -d refuses it"
        expect_same plain.dnas unpacked.dnas
    done
    expect_sentence 2 '--zstd takes a number from 1 to 19' dnas-embed -m tnf --zstd=20 many.fa
}

test_what_it_refuses() {
    printf '>a\nACGT\n' >a.fa
    expect_sentence 2 "-m 'x' is neither a file nor one of kmer, tnf, tnf-canonical, tnf-k, dna2vec:FILE" dnas-embed -m x a.fa
    expect_sentence 2 '--device cuda' dnas-embed -m tnf -d cuda a.fa
    dnas-embed -m tnf a.fa -o a.dnas
    expect_sentence 1 '^dnas-embed: a.dnas: is a dnas stream, and tnf is counted from sequences' dnas-embed -m tnf a.dnas
    expect_ok dnas-embed -m tnf -d auto a.fa
    expect_ok dnas-embed -m tnf -d cpu a.fa
}

# The model that ships: without -m, by its name, and from its file.
test_the_model_that_ships() {
    zcat "$ROOT/examples/genomes.fa.gz" | head -n 4000 | sed '/^>/!s/[^ACGT]/A/g' >some.fa
    dnas-embed --no-pg some.fa -o want.dnas || fail "no default model"
    expect_ok dnas-embed --no-pg -m kmer -t 3 some.fa
    expect_same want.dnas "$TMP/out"
    expect_ok dnas-embed --no-pg -m "$ROOT/common/models/kmer.safetensors" -t 1 some.fa
    expect_same want.dnas "$TMP/out"
    expect_ok dnas-view -H want.dnas
    grep -q '"model": "kmer"' "$TMP/out" || fail "the header names no model"
    grep -q '"truncate_bp": 0' "$TMP/out" || fail "the header does not say what was counted"
    dnas-embed --no-pg --truncate 3000 some.fa -o cut.dnas
    awk '/^>/ { print; n = 0; next } n < 3000 { s = substr($0, 1, 3000 - n); n += length(s); print s }' some.fa >cut.fa
    dnas-embed --no-pg cut.fa -o same.dnas
    dnas-view cut.dnas >a && dnas-view same.dnas >b
    expect_same a b
    # Either strand, to the byte.
    awk '/^>/ { if (s) print h "\n" s; h = $1; s = ""; next } { s = s $0 } END { print h "\n" s }' some.fa >one.fa
    while read -r line; do
        case $line in '>'*) echo "$line" ;; *) rev <<<"$line" | tr ACGT TGCA ;; esac
    done <one.fa >rc.fa
    dnas-embed --no-pg one.fa -o one.dnas && dnas-embed --no-pg rc.fa -o rc.dnas
    cmp -s one.fa rc.fa && fail "the other strand is the same"
    expect_same one.dnas rc.dnas
    # Longer than a batch, and alone or among others.
    awk 'BEGIN { x = 4; print ">long"; for (i = 0; i < 30000; i++) { t = ""
        for (k = 0; k < 50; k++) { x = (x * 16807) % 2147483647; t = t substr("ACGT", int(x / 16) % 4 + 1, 1) }
        print t } }' >long.fa
    dnas-embed --no-pg long.fa | dnas-view >alone
    cat long.fa some.fa | dnas-embed --no-pg | dnas-view | head -n 2 >among
    expect_same alone among
    printf '>none\nACGT\n' | dnas-embed --no-pg | dnas-view | cut -f 2- | tail -n 1 | tr '\t' '\n' >zero
    [ "$(grep -vc '^0$' zero)" = 2 ] || fail "not zero without a 5-mer: $(head -n 3 zero)" # length and label
    expect_sentence 2 '--window and --max-tokens are for networks; kmer counts' dnas-embed --window 100 some.fa
    expect_sentence 2 '--reduce 65 is more than the 64 dimensions of kmer' dnas-embed --reduce 65 some.fa
    expect_sentence 1 '^dnas-embed: want.dnas: is a dnas stream, and kmer is counted from sequences' dnas-embed want.dnas
}

# A model of another kind, one that is cut, and embeddings of two models in one stream.
test_k_mer_models_from_files() {
    zcat "$ROOT/examples/genomes.fa.gz" | head -n 4000 >some.fa
    dnas-train -q --arch kmer -k 3 --dims 4 --ridge 0.01 -o small.safetensors "$ROOT/examples/genomes.fa.gz"
    expect_ok dnas-embed -m small.safetensors some.fa -o small.dnas
    dnas-embed some.fa -o default.dnas
    cat small.dnas default.dnas >both.dnas
    expect_status 1 dnas-view -c both.dnas
    head -c 300 small.safetensors >cut.safetensors
    expect_sentence 1 '^dnas-embed: cut.safetensors: ' dnas-embed -m cut.safetensors some.fa
    sed 's/sqrt/sqrx/' small.safetensors >odd.safetensors
    expect_sentence 1 "^dnas-embed: odd.safetensors: the config's transform number 1 is not one of" \
        dnas-embed -m odd.safetensors some.fa
}

# --adapt: one map for the whole input, whatever part of it is embedded.
test_adapt() {
    zcat "$ROOT/examples/genomes.fa.gz" | head -n 30000 | sed '/^>/!s/[^ACGT]/A/g' >some.fa
    local how i
    dnas-embed --no-pg some.fa -o default.dnas
    for how in own shrunk; do
        dnas-embed --no-pg -t 1 --adapt $how some.fa -o $how.dnas || fail "--adapt $how fails"
        cmp -s $how.dnas default.dnas && fail "--adapt $how changes nothing"
        expect_ok dnas-embed --no-pg -t 3 --adapt $how some.fa
        expect_same $how.dnas "$TMP/out"
        expect_ok dnas-view -H $how.dnas
        grep -q "\"adapt\": \"$how\"" "$TMP/out" || fail "the header does not say --adapt $how"
        for i in 1 2; do dnas-embed --no-pg --adapt $how --shard $i/2 some.fa -o part.$i.dnas; done
        cat part.1.dnas part.2.dnas >both.dnas
        dnas-view both.dnas >a && dnas-view $how.dnas >b
        expect_same a b
        cat $how.dnas default.dnas >mixed.dnas
        expect_status 1 dnas-view -c mixed.dnas
        expect_sentence 1 '^dnas-embed: standard input: --adapt reads its input twice' dnas-embed --adapt $how <some.fa
    done
    dnas-embed --no-pg --adapt none some.fa -o none.dnas
    expect_same default.dnas none.dnas
    head -n 20000 some.fa >other.fa # other sequences, another map
    dnas-embed --no-pg --adapt own other.fa -o other.dnas
    cat own.dnas other.dnas >mixed.dnas
    expect_status 1 dnas-view -c mixed.dnas
    expect_sentence 2 '--adapt is for k-mer models; tnf is as it is' dnas-embed -m tnf --adapt own some.fa
}

test_closing_line() {
    printf '>a\nACGT\n>b\nACGT\n' >a.fa
    expect_sentence 0 '^dnas-embed: 2 sequences in [0-9.]+ s \([0-9]+/s\), peak memory [0-9.]+ MiB$' dnas-embed -v -m tnf a.fa
}

run_tests
