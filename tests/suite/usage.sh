#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# usage.sh - a command line that makes no sense: status 2, one sentence that
# names the option and where help is, and nothing on standard output.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

complains() { # complains PATTERN COMMAND...
    expect_sentence 2 "$1" "${@:2}"
    grep -q "(try '$2 --help')$" "$TMP/err" || fail "where help is: $(cat "$TMP/err") (${*:2})"
    [ ! -s "$TMP/out" ] || fail "output in spite of a wrong command line: ${*:2}"
}

unknown() {
    complains "^$1: unknown or ambiguous option '--no-such-option'" "$1" --no-such-option
    complains "^$1: unknown or ambiguous option '--no-such=1'" "$1" --no-such=1
    complains "^$1: unknown option '-%'" "$1" -%
    complains "^$1: unknown option '-%'" "$1" -q%
}
each_tool unknown

# Every option of --list-options, by what its argument is called.
arguments() {
    local name letter arg choices
    while IFS='|' read -r name letter arg choices; do
        letter=${letter// /}
        case $name in --help | --version) continue ;; esac
        case $arg in
        '') complains "$name takes no argument" "$1" "$name=1" ;;
        LEVEL) ;; # may be left out
        *)
            complains "$name needs an argument" "$1" "$name"
            [ -z "$letter" ] || complains "$letter needs an argument" "$1" "$letter"
            ;;
        esac
        case $arg in # numbers
        N | V | X | BP | DIMS | LEVEL)
            complains "($name|$letter) takes a .*number.*, not 'x'" "$1" "$name=x"
            complains "($name|$letter) takes a .*number.*, not '3x'" "$1" "$name=3x"
            complains "($name|$letter) takes a .*number.*, not ''" "$1" "$name="
            complains "($name|$letter) takes a .*number.*, not 'nan'" "$1" "$name=nan"
            ;;
        esac
        case $arg in # out of range
        N | V | BP | DIMS | LEVEL)
            complains "($name|$letter) takes a .*number.*-7" "$1" "$name=-7"
            complains "($name|$letter) takes a .*number.*77777777777777777777" "$1" \
                "$name=77777777777777777777"
            ;;
        esac
        [ -z "$choices" ] || complains "$name takes one of ${choices// /, }(, cuda:N)?, not 'nothing'" "$1" \
            "$name=nothing"
    done < <(options_of "$1" | tr '\t' '|')
}
each_tool arguments

operand_too_many() {
    "$1" --help | grep "^Usage: .*\.\.\.\]*\$" >/dev/null && return # takes any number
    complains "one operand too many: 'second'" "$1" first second
}
each_tool operand_too_many

no_input() { # a file that is not there is no mistake of the command line
    expect_sentence 1 "^$tool: no-such-file: (cannot be opened: )?No such file" \
        "$tool" "${args[@]}" no-such-file
    mkdir -p folder
    expect_sentence 1 "^$tool: folder: is (a folder|not a .npy file)" "$tool" "${args[@]}" folder
}
test_input_that_is_not_there() {
    mkdir w && cd w && use_inputs
    each_way no_input
}

run_tests
