#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sequences.sh - FASTA and FASTQ as they come: every way in which files are odd
# or broken, through dnas-embed, which reads them as all tools do.
# shellcheck source=tests/lib.sh
. tests/lib.sh

embed() {
    dnas-embed -q -m tnf --no-pg "$@"
}
accepts() { # accepts FILE ROWS...: ids and lengths of its records, "id:bp"
    expect_ok embed "$1"
    cp "$TMP/out" accepted.dnas
    dnas-view accepted.dnas | awk -F '\t' 'NR > 1 { print $1 ":" $258 }' >rows
    echo end >>rows
    expect_text rows "$(printf '%s\n' "${@:2}" end)"
}
refuses() { # refuses FILE PATTERN
    expect_sentence 1 "^dnas-embed: $1: $2" embed -o refused.dnas "$1"
    [ ! -e refused.dnas ] || fail "$1: refused.dnas is there"
    rm -f refused.dnas.part
}

good=$'>a x\nACGTACGTACGT\n>b\nGGGTTTACAC\n'

test_line_ends() {
    printf '>a\r\nACGT\r\nACGT\r\n>b x\r\nAC\r\n' >dos.fa
    accepts dos.fa a:8 b:2
    printf '>a label=x\r\nACGT\r\n' >dos-label.fa
    expect_ok embed dos-label.fa
    cp "$TMP/out" out.dnas
    [ "$(dnas-view out.dnas | tail -n 1 | cut -f 259)" = x ] || fail "a DOS label: $(dnas-view out.dnas | cut -f 259 | od -c)"
    printf '\xef\xbb\xbf>a\nACGT\n' >mark.fa # the byte order mark of some editors
    accepts mark.fa a:4
    printf '@a\r\nACGT\r\n+\r\nIIII\r\n@b\r\nAC\r\n+\r\nII' >dos.fq
    accepts dos.fq a:4 b:2
    printf '>a\nACGT\n>b\nACG' >unended.fa
    accepts unended.fa a:4 b:3
    printf '@a\nACGT\n+\nIIII' >unended.fq
    accepts unended.fq a:4
    printf '>a\rACGT\r>b\rACGT\r' >mac.fa # one line, so an id and nothing else
    refuses mac.fa "record 1 \('a'\) is empty"
    printf '\n\n  \n>a\nAC\n\nGT\n\n\n>b\n\nACG\n \n' >blank.fa
    accepts blank.fa a:4 b:3
    printf '@a\nACGT\n+\nIIII\n\n\n@b\nAC\n+\nII\n\n' >blank.fq
    accepts blank.fq a:4 b:2
}

test_headers() {
    printf '>a\tlabel=x\nACGT\n>b\vmore\nACG\n' >tab.fa
    accepts tab.fa a:4 b:3
    printf '>gi|12#/1"q'\''\nACGT\n>contig/1\nAC\n>contig/2\nACG\n' >odd.fa
    accepts odd.fa "gi|12#/1\"q':4" contig/1:2 contig/2:3
    printf '>%070000d x\nACGTA\n' 1 >long.fa
    expect_ok embed long.fa
    cp "$TMP/out" out.dnas
    [ "$(dnas-view out.dnas | tail -n 1 | cut -f 1 | wc -c)" = 70001 ] || fail "an id of 70000 letters is cut"
    { printf '>' && head -c 2000000 /dev/zero | tr '\0' x && printf '\nACGT\n'; } >longer.fa
    refuses longer.fa "the line after record 1 is longer than 1 MiB"
    printf '>' >mark.fa
    refuses mark.fa 'record 1 has no name'
    printf '>\nACGT\n' >nameless.fa
    refuses nameless.fa 'record 1 has no name'
    printf '>a\nACGT\n> b\nACGT\n' >space.fa
    refuses space.fa 'record 2 has no name'
    printf '>a\0b\nACGT\n' >nul.fa
    refuses nul.fa 'record 1 has a NUL byte in its header'
    printf '>a\001b\nACGT\n' >control.fa
    refuses control.fa 'record 1 has a control character in its name'
    printf '>a\377\nACGT\n' >latin.fa
    refuses latin.fa 'record 1 has a name or label that is not UTF-8'
    printf '>a label=\377\nACGT\n' >latin_label.fa
    refuses latin_label.fa 'record 1 has a name or label that is not UTF-8'
    printf '>ä€😀\nACGT\n' >utf8.fa
    accepts utf8.fa ä€😀:4
}

test_empty_records() {
    printf '>name\n' >only.fa
    refuses only.fa "record 1 \('name'\) is empty"
    printf '>a\n\n>b\nACGT\n' >first.fa
    refuses first.fa "record 1 \('a'\) is empty"
    printf '>a\nACGT\n>b\n' >last.fa
    refuses last.fa "record 2 \('b'\) is empty"
    printf '@a\n\n+\n\n' >first.fq
    refuses first.fq "record 1 \('a'\) is empty"
}

test_no_records() {
    : >empty.fa
    accepts empty.fa
    gzip -nc empty.fa >empty.gz
    accepts empty.gz
    accepts /dev/null
    printf '\n \n\n' >blank.fa
    refuses blank.fa 'is not empty, yet has no record'
    printf 'ACGT\n' >letters.fa
    refuses letters.fa "is neither FASTA nor FASTQ: it begins with 'A'"
    printf ';old\n>a\nACGT\n' >semicolon.fa
    refuses semicolon.fa "is neither FASTA nor FASTQ: it begins with ';'"
    printf '\377\376>\0a\0\n\0A\0' >utf16le.fa
    refuses utf16le.fa 'is neither FASTA nor FASTQ: it begins with byte 0xff'
    printf '\376\377\0>\0a\0\n\0A' >utf16be.fa
    refuses utf16be.fa 'is neither FASTA nor FASTQ: it begins with byte 0xfe'
    printf '\357\273\277>a\nACGT\n' >bom.fa
    accepts bom.fa a:4
    mkdir folder
    refuses folder 'is a folder, not a file'
    refuses missing.fa 'cannot be opened: No such file or directory'
}

test_letters() {
    printf '>a\nacgtnACGTN\n>b\nacguACGU\n>c\nRYSWKMBDHVN\n>d\nA\n' >kinds.fa
    accepts kinds.fa a:10 b:8 c:11 d:1
    printf '>a\nAC GT\tAC*-.N\n' >gaps.fa
    accepts gaps.fa a:10
    expect_ok dnas-embed -m tnf gaps.fa
    expect_text "$TMP/err" 'dnas-embed: 4 letters outside A, C, G, T'
    printf '>a\nMKVLEPQ*\n' >protein.fa
    accepts protein.fa a:8
    printf '>a\nACGT>b\nACGT\n' >inside.fa
    refuses inside.fa "record 1 \('a'\) has '>' within its sequence: is a line break missing\?"
    printf '>a\nAC\0GT\n' >nul.fa
    refuses nul.fa "record 1 \('a'\) has the byte 0x00 in its sequence"
    printf '>a\nACGT\n>b\nAC1GT\n' >digit.fa
    refuses digit.fa "record 2 \('b'\) has the character '1' in its sequence"
    printf '>a\nAC\303\251GT\n' >accent.fa
    refuses accent.fa "record 1 \('a'\) has the byte 0xc3 in its sequence"
    # Far from the beginning, beyond any buffer.
    (printf '>a\n' && head -c 3000000 /dev/zero | tr '\0' A && printf '%%\n') >far.fa
    refuses far.fa "record 1 \('a'\) has the character '%' in its sequence"
}

test_fastq() {
    printf '@r\nACGT\n+r\n@@@@\n@s\nAC\n+\n+I\n' >marks.fq
    accepts marks.fq r:4 s:2
    printf '@r\nAC\nGT\n+\nII\nII\n@s\nACGTA\n+\nIIIII\n' >lines.fq
    accepts lines.fq r:4 s:5
    printf '@r\nACGT\n+\nIII\n' >short.fq
    refuses short.fq "record 1 \('r'\) has 3 quality characters for 4 letters"
    printf '@r\nACGT\n+\nIIIII\n' >long.fq
    refuses long.fq "record 1 \('r'\) has 5 or more quality characters for 4 letters"
    printf '@q\nA\n+\nI\n@r\nACGT\n+\nII\n@s\nAC\n+\nII\n' >between.fq
    refuses between.fq "'@' expected after record 2, found 'A'"
    printf '@r\nACGT\n+\nIII\n@s\nAC\n+\nII\n' >between.fq
    refuses between.fq "record 1 \('r'\) has 5 or more quality characters for 4 letters"
    printf '@r\nACGT\n+\n' >none.fq
    refuses none.fq "record 1 \('r'\) has 0 quality characters for 4 letters"
    printf '@r\nACGT\n' >cut.fq
    refuses cut.fq "record 1 \('r'\) is cut off: it has no quality"
    printf '@r\nACGT\n@s\nACGT\n+\nIIII\n' >plus.fq
    refuses plus.fq "record 1 \('r'\) has no line '\+' with its quality"
    printf '@r\nACGT\n+\nIIII\n>s\nACGT\n' >mixed.fq
    refuses mixed.fq "'@' expected after record 1, found '>'"
    printf '>r\nACGT\n@s\nACGT\n+\nIIII\n' >mixed.fa
    refuses mixed.fa "record 1 \('r'\) has '@' within its sequence"
}

test_compressed() {
    printf '%s' "$good" >good.fa
    embed good.fa >want
    gzip -nc good.fa >good.gz
    (bgzf good.fa && bgzf_end) >good.bgz
    cp good.gz name-says-nothing
    for f in good.gz good.bgz name-says-nothing; do
        expect_ok embed $f
        expect_same want "$TMP/out"
    done
    printf '>c\nACG\n' >more.fa
    gzip -nc more.fa | cat good.gz - >two.gz
    accepts two.gz a:12 b:10 c:3
    (bgzf good.fa && bgzf more.fa && bgzf_end) >two.bgz
    accepts two.bgz a:12 b:10 c:3
    (bgzf good.fa && bgzf_end && bgzf more.fa && bgzf_end) >joined.bgz
    accepts joined.bgz a:12 b:10 c:3
    bgzf good.fa >endless.bgz
    refuses endless.bgz 'is cut off: its BGZF end-of-file block is missing'
    head -c -40 good.bgz >cut.bgz
    refuses cut.bgz 'the gzip data are corrupt or cut off'
    gzip -nc good.gz >twice.gz
    refuses twice.gz 'is neither FASTA nor FASTQ: it begins with byte 0x1f'
}

test_broken_gzip() {
    local n at
    printf '%s' "$good" >good.fa
    gzip -nc good.fa >good.gz
    n=$(stat -c %s good.gz)
    for ((at = 2; at < n; at++)); do
        head -c $at good.gz >cut.gz
        embed -o out.dnas cut.gz 2>err
        if [ $? != 1 ] || ! grep -q '^dnas-embed: cut.gz: ' err || [ -e out.dnas ]; then
            fail "cut to $at of $n bytes: $(cat err)"
        fi
    done
    (cat good.gz && echo garbage) >followed.gz
    refuses followed.gz 'the gzip data are corrupt or cut off'
    (head -c 30 good.gz && printf '\377' && tail -c +32 good.gz) >flipped.gz
    refuses flipped.gz 'the gzip data are corrupt or cut off'
    (head -c $((n - 8)) good.gz && printf '\1\2\3\4' && tail -c 4 good.gz) >sum.gz
    refuses sum.gz 'the gzip data are corrupt or cut off'
    # A long record whose end is missing is not a shorter record.
    random_fasta 60 1 | gzip -nc | head -c 15000 >long.gz
    refuses long.gz 'the gzip data are corrupt or cut off'
}

# The same through a pipe, where the end of the file cannot be looked at beforehand.
test_broken_pipes() {
    random_fasta 60 1 >good.fa
    embed good.fa >want
    gzip -nc good.fa >good.gz
    printf '%s' "$good" >small.fa
    bgzf small.fa >endless.bgz
    piped() { # piped FILE: as standard input, from a pipe
        # shellcheck disable=SC2002
        cat "$1" | embed -o out.dnas - 2>err
        got=${PIPESTATUS[1]}
    }
    local got f
    piped good.gz
    [ "$got" = 0 ] || fail "good.gz through a pipe: $(cat err)"
    expect_same want out.dnas
    head -c 15000 good.gz >cut.gz
    (head -c 9000 good.gz && printf '\377\377' && tail -c +9003 good.gz) >flipped.gz
    (cat good.gz && echo garbage) >followed.gz
    rm -f out.dnas
    for f in cut.gz flipped.gz followed.gz; do
        piped $f
        [ "$got" = 1 ] || fail "$f through a pipe: status $got"
        grep -q '^dnas-embed: standard input: the gzip data are corrupt or cut off$' err || fail "$f: says $(cat err)"
        [ ! -e out.dnas ] || fail "$f: out.dnas is there"
    done
    piped endless.bgz
    [ "$got" = 1 ] || fail "BGZF without an end through a pipe: status $got"
    grep -q 'standard input: is cut off: its BGZF end-of-file block is missing' err || fail "says $(cat err)"
}

test_zstd() {
    command -v zstd >/dev/null || { skip "there is no zstd(1)"; return; }
    printf '%s' "$good" >good.fa
    printf '>c\nACG\n' >more.fa
    zstd -qc good.fa >good.zst
    accepts good.zst a:12 b:10
    zstd -qc more.fa | cat good.zst - >two.zst
    accepts two.zst a:12 b:10 c:3
    head -c 30 good.zst >cut.zst
    refuses cut.zst 'is cut off within a zstd frame'
    (cat good.zst && echo garbage) >followed.zst
    refuses followed.zst 'the zstd data are corrupt'
    (head -c 20 good.zst && printf '\377\377' && tail -c +23 good.zst) >flipped.zst
    refuses flipped.zst 'the zstd data are corrupt'
}

# Where the bytes come from makes no difference.
test_sources() {
    random_fasta 40 1 >many.fa
    gzip -nc many.fa >many.gz
    embed many.fa >want
    expect_ok embed <many.fa
    expect_same want "$TMP/out"
    expect_ok embed - <many.gz
    expect_same want "$TMP/out"
    mkfifo pipe
    cat many.fa >pipe &
    expect_ok embed pipe
    expect_same want "$TMP/out"
    ln -s many.fa link
    expect_ok embed link
    expect_same want "$TMP/out"
    # A slow producer, whose pieces end anywhere.
    (
        for size in 1 2 5 100 1000 7; do
            head -c $size
            sleep 0.02
        done
        cat
    ) <many.fa >pipe &
    expect_ok embed pipe
    expect_same want "$TMP/out"
    wait
}

test_several_files() {
    printf '>a\nACGT\n' >a.fa
    printf '@b\nACG\n+\nIII\n' >b.fq
    : >none.fa
    printf '>c\nAC\n' | gzip -nc >c.gz
    expect_ok embed a.fa b.fq none.fa c.gz
    cp "$TMP/out" out.dnas
    dnas-view out.dnas | cut -f 1 >ids
    expect_text ids $'id\na\nb\nc'
    expect_sentence 1 "^dnas-embed: a.fa: record 1 \('a'\) has the name of an earlier record" \
        embed a.fa b.fq a.fa
    expect_sentence 1 '^dnas-embed: missing.fa: cannot be opened' embed a.fa missing.fa
    expect_ok embed b.fq - c.gz <a.fa
    cp "$TMP/out" out.dnas
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 3
}

test_duplicate_ids() {
    printf '>a 1\nACGT\n>b\nAC\n>a 2\nACG\n' >twice.fa
    refuses twice.fa "record 3 \('a'\) has the name of an earlier record: rename one, or use --allow-duplicate-ids"
    expect_ok embed --allow-duplicate-ids twice.fa
    cp "$TMP/out" out.dnas
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 3
}

peak_mib() { # of the closing line of -v
    sed -n 's/.*peak memory \([0-9]*\)\..*/\1/p' "$1"
}

test_a_chromosome_on_one_line_in_bounded_memory() {
    expect_ok dnas-embed -v -m tnf -t 2 < <(
        printf '>chr\n'
        yes ACGTTGCAAGTCCTAGGCATTTACG | tr -d '\n' | head -c 100000000
        echo
    )
    cp "$TMP/out" out.dnas
    cp "$TMP/err" closing
    dnas-view out.dnas | tail -n 1 | cut -f 1,258 >row
    expect_text row $'chr\t100000000'
    [ -n "${SANITIZE:-}" ] || [ "$(peak_mib closing)" -le 64 ] || fail "peak memory is $(peak_mib closing) MiB"
}

test_a_million_records_in_bounded_memory() {
    expect_ok dnas-embed -v -m tnf --reduce 4 -t 2 -o out.dnas < <(
        awk 'BEGIN { for (i = 1; i <= 1000000; i++) print ">r" i "\nACGTTGCA" }'
    )
    cp "$TMP/err" closing
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 1000000
    [ -n "${SANITIZE:-}" ] || [ "$(peak_mib closing)" -le 64 ] || fail "peak memory is $(peak_mib closing) MiB"
}

run_tests
