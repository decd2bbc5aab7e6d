#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# terminal.sh - binary is neither written to a terminal nor awaited from one.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

command -v script >/dev/null && script -qec true /dev/null >/dev/null 2>&1 </dev/null ||
    no_script="there is no script(1) of util-linux"

on_terminal() { # on_terminal COMMAND: its screen in `screen`, its status in `status`
    printf '%s\necho $? >status\n' "$1" >on_terminal.sh
    timeout 30 script -qec 'bash on_terminal.sh' /dev/null </dev/null >screen 2>&1
}

writes() {
    expect_ok "$tool" "${args[@]}" "$input"
    on_terminal "$tool ${args[*]} $input"
    ! is_stream screen || fail "a stream on the terminal: $tool ${args[*]}"
    LC_ALL=C grep -q $'[\x01-\x08\x80-\xff]' screen && fail "binary on the terminal: $tool ${args[*]}"
    if is_stream "$TMP/out" && [[ $tool != dnas-kmeans && $tool != dnas-knn ]]; then
        [ "$(cat status)" = 1 ] || fail "status $(cat status), not 1: $tool ${args[*]} on a terminal"
        grep -q "^$tool: standard output is a terminal: redirect it, use -o FILE" screen ||
            fail "says: $(head -c 300 screen) ($tool ${args[*]})"
        [ "$(wc -l <screen)" = 1 ] || fail "not one line: $(head -c 300 screen) ($tool ${args[*]})"
    else
        [ "$(cat status)" = 0 ] || fail "status $(cat status): $tool ${args[*]} on a terminal"
    fi
}
test_output() {
    [ -z "${no_script:-}" ] || { skip "$no_script"; return; }
    mkdir w && cd w && use_inputs
    each_way writes
}

test_labels_are_text_on_a_terminal() {
    [ -z "${no_script:-}" ] || { skip "$no_script"; return; }
    use_inputs
    on_terminal 'dnas-kmeans -q -k 3 embedded.dnas'
    tr -d '\r' <screen >got
    dnas-kmeans -q -k 3 --format tsv embedded.dnas >want
    expect_same want got
    on_terminal 'dnas-kmeans -k 3 --format stream embedded.dnas'
    grep -q 'standard output is a terminal' screen || fail "says: $(head -c 300 screen)"
    on_terminal 'dnas-kmeans -q -k 3 -o out.dnas embedded.dnas'
    is_stream out.dnas || fail "-o FILE is not a stream when standard output is a terminal"
}

awaits() {
    case $input in *.dnas) ;; *) return ;; esac
    on_terminal "$tool ${args[*]} >out </dev/tty"
    [ "$(cat status)" = 1 ] || fail "status $(cat status), not 1: $tool ${args[*]} reads a terminal"
    grep -qE "^$tool: standard input is a terminal: name a FILE" screen ||
        fail "says: $(head -c 300 screen) ($tool ${args[*]})"
    [ ! -s out ] || fail "output without input: $tool ${args[*]}"
}
test_input() {
    [ -z "${no_script:-}" ] || { skip "$no_script"; return; }
    mkdir w && cd w && use_inputs
    # Sequences may be typed, and so may PAIRS be awaited from where they are.
    ways=$(grep -vE '^dnas-(tokenize|embed) ' <<<"$ways") each_way awaits
}

# The progress line goes away before anything else is said.
test_progress_line_is_cleared() {
    [ -z "${no_script:-}" ] || { skip "$no_script"; return; }
    random_fasta 1500 5 >many.fa
    printf '>last\n' >>many.fa
    on_terminal 'dnas-embed -m tnf -t 1 many.fa -o out.dnas'
    tr '\r' '\n' <screen | sed 's/.*\x1b\[K//' | grep . | tail -n 2 | head -n 1 >last
    grep -q "^dnas-embed: many.fa: record 1501 ('last') is empty" last || fail "ends with $(cat last)"
}

run_tests
