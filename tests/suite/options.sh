#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# options.sh - a tool's options are the same in its man page, in --help and in
# --list-options, and the tool is named where all tools are.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

# The options that the man page explains: those of its list items (".It Fl ...").
# `Fl -name`, `Fl \-name` and `Fl Fl name` are long options.
man_options() { # man_options FILE: --name, or -x, a line each
    sed -n 's/^\.It \(Fl .*\)/\1/p' "$1" | sed -e 's/\\-/-/g' -e 's/Fl Fl */Fl -/g' |
        awk '{ for (i = 1; i < NF; i++) if ($i == "Fl") print "-" $(i + 1) }' |
        sed -e 's/[],;=[].*$//' | sort -u
}

agree() {
    local page=$ROOT/man/$1.1
    [ -f "$page" ] || {
        fail "$1 has no man page man/$1.1"
        return
    }
    options_of "$1" | cut -f 1,2 | tr '\t' '\n' | tr -d ' ' | grep . | sort -u >listed
    man_options "$page" >described
    comm -23 listed described >only_listed
    comm -13 listed described >only_described
    [ ! -s only_listed ] || fail "man/$1.1 does not explain $(tr '\n' ' ' <only_listed)"
    [ ! -s only_described ] || fail "$1 has no option $(tr '\n' ' ' <only_described)that man/$1.1 explains"
    "$1" --help | sed -n 's/^ *\(-[a-zA-Z],\)\{0,1\} *\(--[a-z0-9-]*\).*/\1\n\2/p' | tr -d ' ,' |
        grep . | sort -u >helped
    cmp -s listed helped || fail "$1 --help and --list-options differ: $(comm -3 listed helped | tr -d '\t' | tr '\n' ' ')"
    grep -q "^\.Nd $("$1" --help | sed -n "1s/^$1 - //p")\$" "$page" ||
        fail "man/$1.1 and $1 --help say differently what it does"
}
each_tool agree

# Arguments have one name: "--truncate BP" is BP in the man page too.
arguments_agree() {
    local page=$ROOT/man/$1.1 name arg
    [ -f "$page" ] || return
    while IFS='|' read -r name _ arg _; do
        [ -z "$arg" ] || sed 's/\\-/-/g' "$page" | grep '^\.It .*Fl ' | grep -- "Fl -*${name#--}\b" |
            grep -qwiF -- "${arg%%[^A-Za-z/-]*}" || fail "man/$1.1: $name has no argument $arg"
    done < <(options_of "$1" | tr '\t' '|')
}
each_tool arguments_agree

named() {
    local where
    for where in README.md tools/README.md; do
        grep -q -- "$1" "$ROOT/$where" 2>/dev/null || fail "$where does not name $1"
    done
}
each_tool named

test_no_man_page_without_a_tool() {
    local page
    for page in "$ROOT"/man/dnas-*.1; do
        [ -e "$page" ] || continue
        [ -f "$ROOT/tools/$(basename "$page" .1).c" ] || fail "$page describes no tool"
    done
}

run_tests
