#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# write-errors.sh - output that cannot be written: a full disk, a closed
# descriptor, a reader that has gone.  No tool hangs, claims success, or speaks
# more than one sentence.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

one_sentence() { # one_sentence STATUS PATTERN WHAT: of the command just run
    [ "$1" = 1 ] || fail "status $1, not 1: $3: $(head -c 300 err)"
    [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr: $3: $(head -c 600 err)"
    grep -qE -- "$2" err || fail "'$2' not in: $(head -c 300 err) ($3)"
}

full() {
    timeout 60 "$tool" "${args[@]}" "$input" >/dev/full 2>err
    one_sentence $? "^$tool: standard output: .*No space left on device" "$tool ${args[*]} >/dev/full"
}
test_full_disk() {
    [ -c /dev/full ] || { skip "there is no /dev/full"; return; }
    mkdir w && cd w && use_inputs
    each_way full
}
full_by_name() {
    has_option "$tool" --output || return
    timeout 60 "$tool" -o /dev/full "${args[@]}" "$input" >out 2>err
    one_sentence $? "^$tool: /dev/full: .*No space left on device" "$tool -o /dev/full ${args[*]}"
    [ -c /dev/full ] || fail "$tool took /dev/full away"
}
test_full_disk_by_name() {
    [ -c /dev/full ] || { skip "there is no /dev/full"; return; }
    mkdir w && cd w && use_inputs
    each_way full_by_name
}
full_help() {
    [ -c /dev/full ] || { skip "there is no /dev/full"; return; }
    local what
    for what in --help --version --list-options; do
        "$1" $what >/dev/full 2>err
        one_sentence $? "^$1: standard output: No space left" "$1 $what >/dev/full"
    done
}
each_tool full_help

closed() {
    timeout 60 "$tool" "${args[@]}" "$input" >&- 2>err
    one_sentence $? "^$tool: standard output: .*Bad file descriptor" "$tool ${args[*]} >&-"
}
test_closed_standard_output() {
    mkdir w && cd w && use_inputs
    each_way closed
}

# Nobody reads: the first write ends the tool by SIGPIPE, without a word.
gone() {
    mkfifo fifo
    exec 4<>fifo # holds it open, so that the next line does not wait for a reader
    exec 5>fifo
    exec 4<&-
    rm fifo
    timeout 60 "$tool" "${args[@]}" "$input" >&5 2>err
    local got=$?
    exec 5>&-
    [ $got = 141 ] || fail "status $got, not 141: $tool ${args[*]} | :"
    [ ! -s err ] || fail "words about a broken pipe: $(head -c 300 err) ($tool ${args[*]})"
}
test_reader_that_has_gone() {
    mkdir w && cd w && use_inputs
    each_way gone
}

# The same where the parent ignores SIGPIPE, as some job systems do.
test_reader_that_has_gone_with_the_signal_ignored() {
    mkdir w && cd w && use_inputs
    trap '' PIPE
    each_way gone
    trap - PIPE
}

# A reader that takes one byte of much output.
test_reader_that_leaves() {
    local t
    random_fasta 800 3 >many.fa
    timeout 60 dnas-embed -m tnf many.fa 2>err | head -c 1 >/dev/null
    [ "${PIPESTATUS[0]}" = 141 ] || fail "dnas-embed | head -c 1 does not end by SIGPIPE"
    dnas-embed -m tnf many.fa -o many.dnas
    for t in 'dnas-view' 'dnas-view --json' 'dnas-view --salvage'; do
        # shellcheck disable=SC2086
        timeout 60 $t many.dnas 2>err | head -c 1 >/dev/null
        [ "${PIPESTATUS[0]}" = 141 ] || fail "$t | head -c 1 does not end by SIGPIPE"
        [ ! -s err ] || fail "words about a broken pipe: $(head -c 300 err) ($t)"
    done
}

run_tests
