# SPDX-License-Identifier: MIT
#
# lib.sh - what the shell tests share.  A test is a function test_...; `run_tests`
# at the end of a file runs them all and prints TAP.  The tool under test never
# stands in a pipe whose status is lost: its output goes to a file, which is
# then looked at.
# shellcheck shell=bash

set -u -o pipefail
: "${BUILD:=$PWD/build}" "${TMP:=$(mktemp -d)}"
PATH=$BUILD/bin:$PATH
export LC_ALL=C
ROOT=$PWD
DATA=$ROOT/tests/data
export ROOT DATA

complaints=
skip_reason=

fail() { # fail TEXT...: notes a failure of the present test, and goes on
    complaints+="# $*"$'\n'
}
skip() { # skip REASON; return
    skip_reason=$*
}
expect_status() { # expect_status WANT COMMAND...: its output in $TMP/out and $TMP/err
    local want=$1 got
    shift
    "$@" >"$TMP/out" 2>"$TMP/err"
    got=$?
    [ "$got" = "$want" ] || fail "status $got, not $want: $*: $(head -c 400 "$TMP/err")"
}
expect_ok() { # expect_ok COMMAND...
    expect_status 0 "$@"
}
expect_sentence() { # expect_sentence STATUS PATTERN COMMAND...: one line on stderr that fits
    local want=$1 pattern=$2
    shift 2
    expect_status "$want" "$@"
    [ "$(wc -l <"$TMP/err")" = 1 ] || fail "not one line on stderr: $*: $(head -c 600 "$TMP/err")"
    grep -qE -- "$pattern" "$TMP/err" || fail "'$pattern' not in: $(head -c 400 "$TMP/err") ($*)"
}
expect_same() { # expect_same FILE FILE: equal bytes
    cmp -s "$1" "$2" || fail "$1 and $2 differ: $(cmp "$1" "$2" 2>&1)"
}
expect_text() { # expect_text FILE TEXT: exactly that text
    [ "$(cat "$1"; echo x)" = "$2"$'\n'x ] || fail "$1 is: $(head -c 600 "$1"), not: $2"
}

run_tests() {
    local t n=0 bad=0
    for t in $(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p'); do
        complaints= skip_reason=
        rm -rf "${TMP:?}"/*
        cd "$TMP" || exit 99
        "$t"
        cd "$ROOT" || exit 99
        n=$((n + 1))
        if [ -n "$complaints" ]; then
            bad=$((bad + 1))
            printf 'not ok %d - %s\n%s' "$n" "${t#test_}" "$complaints"
        else
            printf 'ok %d - %s%s\n' "$n" "${t#test_}" "${skip_reason:+ # SKIP $skip_reason}"
        fi
    done
    echo "1..$n"
    [ "$bad" -eq 0 ]
}
