#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# help.sh - --help, -h, --version and --list-options of every tool.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

helps() {
    expect_ok "$1" --help
    [ ! -s "$TMP/err" ] || fail "$1 --help writes to standard error: $(cat "$TMP/err")"
    cp "$TMP/out" help
    [[ "$(head -n 1 help)" == "$1 - "* ]] || fail "$1 --help begins with: $(head -n 1 help)"
    grep -q "^Usage: $1 " help || fail "$1 --help has no line 'Usage: $1'"
    grep -q "^Example:" help || fail "$1 --help has no example"
    awk 'length > 120' help | grep . && fail "$1 --help has lines of more than 120 columns"
    expect_ok "$1" -h
    expect_same help "$TMP/out"
    expect_ok "$1" --list-options
    [ -s "$TMP/out" ] || fail "$1 --list-options prints nothing"
    cut -f 1,2 "$TMP/out" >options
    while read -r name letter; do
        grep -qE -- "^ +${letter:-}${letter:+, +}$name( |\[|$)" help ||
            fail "$1 --help does not say ${letter:+$letter, }$name"
    done <options
    for common in --output --threads --quiet --verbose --help --version; do
        grep -q "^$common"$'\t' "$TMP/out" || fail "$1 has no option $common"
    done
}
each_tool helps

says_its_version() {
    expect_ok "$1" --version
    [ ! -s "$TMP/err" ] || fail "$1 --version writes to standard error"
    head -n 1 "$TMP/out" | grep -qE "^$1 [0-9]+\.[0-9]+\.[0-9]+[a-z0-9.-]*$" ||
        fail "$1 --version begins with: $(head -n 1 "$TMP/out")"
    [ "$(wc -l <"$TMP/out")" -le 6 ] || fail "$1 --version is longer than six lines"
}
each_tool says_its_version

test_one_version_for_all() {
    for t in $(tools); do "$t" --version | sed -n "1s/^$t //p"; done | sort -u >versions
    [ "$(wc -l <versions)" = 1 ] || fail "tools of several versions: $(tr '\n' ' ' <versions)"
}

# Help is given whatever else stands on the command line before it.
help_goes_first() {
    expect_ok "$1" -q --threads 1 --help
    expect_ok "$1" --help --no-such-option operand
}
each_tool help_goes_first

run_tests
