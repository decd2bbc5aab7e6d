#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# output.sh - -o FILE: a whole file or none.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

named() {
    expect_ok "$tool" "${args[@]}" "$input"
    cp "$TMP/out" want
    for how in -o --output; do
        rm -f named
        expect_ok "$tool" $how named "${args[@]}" "$input"
        expect_same want named
        [ ! -e named.part ] || fail "named.part is left: $tool ${args[*]}"
        [ ! -s "$TMP/out" ] || fail "-o FILE, and output beside it: $tool ${args[*]}"
    done
    expect_ok "$tool" -o - "${args[@]}" "$input"
    expect_same want "$TMP/out"
    [ ! -e ./- ] || fail "a file called '-': $tool ${args[*]}"
    # In place of an older, longer one.
    cat want want >named
    expect_ok "$tool" -o named "${args[@]}" "$input"
    expect_same want named
    # A part that a broken run left is no hindrance.
    cat want want >named.part
    expect_ok "$tool" -o named "${args[@]}" "$input"
    expect_same want named
    # What is no regular file is written in place.
    expect_ok "$tool" -o /dev/null "${args[@]}" "$input"
    [ -c /dev/null ] || fail "$tool took /dev/null away"
    mkfifo fifo
    timeout 60 cat fifo >got &
    expect_ok timeout 60 "$tool" -o fifo "${args[@]}" "$input"
    wait
    expect_same want got
    [ -p fifo ] || fail "$tool took the FIFO away: ${args[*]}"
    rm -f fifo named got
}
test_named_output() {
    mkdir w && cd w && use_inputs
    each_way named
}

nowhere() {
    expect_sentence 1 "^$tool: no/such/folder/x.part: cannot be written: No such file" \
        "$tool" -o no/such/folder/x "${args[@]}" "$input"
    mkdir -p folder
    expect_sentence 1 "^$tool: folder: cannot be written: Is a directory" \
        "$tool" -o folder "${args[@]}" "$input"
}
test_output_that_cannot_be_opened() {
    mkdir w && cd w && use_inputs
    each_way nowhere
}

# A failure leaves what was there before; only dnas-embed leaves a part.
survives() {
    local from=$input
    echo precious >out
    expect_status 1 "$tool" -o out "${args[@]}" no-such-file
    expect_text out precious
    case "${args[*]}:$input" in *--salvage* | *-H* | *.tsv | *.binning) return ;; esac # see no harm in what follows
    case $input in
    *.fa) (cat "$input" && printf '>last\n') >bad.fa && from=bad.fa ;;
    *.csv) (cat "$input" && printf 'ACGT\n') >bad.csv && from=bad.csv ;;
    *) head -c -1 "$input" >bad.dnas && from=bad.dnas ;;
    esac
    expect_status 1 "$tool" -o out "${args[@]}" "$from"
    expect_text out precious
    [ "$tool" = dnas-embed ] || [ ! -e out.part ] || fail "a part is left: $tool ${args[*]}"
    rm -f out.part
}
test_existing_file_survives_a_failure() {
    mkdir w && cd w && use_inputs
    each_way survives
}

locked() {
    echo precious >out
    expect_sentence 1 "^$tool: out.part: another process is writing it" \
        flock -x out.part "$tool" -o out "${args[@]}" "$input"
    expect_text out precious
    [ -e out.part ] || fail "$tool took another's part away: ${args[*]}"
}
test_part_of_another_writer() {
    command -v flock >/dev/null || { skip "there is no flock(1)"; return; }
    mkdir w && cd w && use_inputs
    each_way locked
}

# A run that is held up in the middle: its input is a FIFO, 7 its other end.
hold() { # hold COMMAND...: started in the background, $! it is
    local i
    mkfifo in
    "$@" 2>held.err &
    exec 7>in
    zcat "$ROOT/examples/genomes.fa.gz" >&7 # more than it reads at once
    for ((i = 0; i < 200; i++)); do
        [ ! -e out.dnas.part ] || return
        sleep 0.1
    done
    fail "no out.dnas.part after 20 seconds: $*"
}

test_two_writers() {
    random_fasta 20 9 >some.fa
    hold dnas-embed -m tnf -o out.dnas in
    expect_sentence 1 'out.dnas.part: another process is writing it' dnas-embed -m tnf -o out.dnas some.fa
    [ -e out.dnas.part ] || fail "the second writer took the part away"
    exec 7>&-
    wait $! || fail "the first writer fails: $(cat held.err)"
    expect_ok dnas-view -c out.dnas
    expect_text "$TMP/out" 633
}

test_mode_follows_umask() {
    use_inputs
    (umask 027 && dnas-embed -m tnf -o a.dnas small.fa && dnas-view --npy b.npy embedded.dnas)
    [ "$(stat -c %a a.dnas)" = 640 ] || fail "mode $(stat -c %a a.dnas) under umask 027"
    [ "$(stat -c %a b.npy)" = 640 ] || fail "mode $(stat -c %a b.npy) under umask 027"
}

# The system stops a write in the middle: nothing is there under the final name.
test_file_size_limit() {
    random_fasta 300 9 >some.fa
    if (
        ulimit -f 4
        dnas-embed -m tnf -o out.dnas some.fa >stdout 2>err
    ) 2>/dev/null; then
        fail "status 0 beyond the limit on file sizes"
    fi
    [ ! -e out.dnas ] || fail "out.dnas is there"
}

test_signal() {
    hold dnas-embed -m tnf -o out.dnas in
    kill -TERM $!
    wait $!
    [ $? = 143 ] || fail "SIGTERM does not end it as a signal"
    exec 7>&-
    [ ! -e out.dnas ] || fail "out.dnas is there"
}

run_tests
