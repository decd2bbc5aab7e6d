#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# resources.sh - few descriptors, little memory, other languages and time zones: the right bytes,
# or exit 1 with one sentence and nothing under the output's name.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

# under LIMIT...: the present way under that ulimit.
under() {
    local got what="ulimit $*: $tool ${args[*]} $input"
    rm -f got got.part
    (
        ulimit "$@"
        exec timeout 60 "$tool" -q -o got "${args[@]}" "$input"
    ) >out 2>err
    got=$?
    grep -qE 'error while loading|cannot (allocate|map)|failed to map' err && [ $got = 127 ] && return
    # oneDNN is C++, and what it throws is not caught by anybody.
    [ $got = 134 ] && grep -qE 'unwinding|bad_alloc' err && return
    case $got in
    0) cmp -s want got || fail "other bytes: $what" ;;
    1)
        [ "$(wc -l <err)" = 1 ] || fail "not one sentence: $what: $(head -c 300 err)"
        [ ! -e got ] || fail "output under its final name: $what"
        refused=$((refused + 1))
        ;;
    *) fail "status $got: $what: $(head -c 300 err)" ;;
    esac
}
wanted() {
    expect_ok "$tool" -q -o want "${args[@]}" "$input"
}

descriptors() {
    wanted
    under -n 4
    under -n 5
    under -n 7
}
test_few_descriptors() {
    local refused=0
    mkdir w && cd w && use_inputs
    each_way descriptors
    [ "$refused" -gt 5 ] || fail "only $refused runs lacked a descriptor: the test is void"
}

memory() {
    wanted
    under -v 45000
    under -v 100000
    under -v 200000
}
test_little_memory() {
    [ -z "${SANITIZE:-}" ] || { skip "sanitizers take terabytes of addresses"; return; }
    local refused=0
    mkdir w && cd w && use_inputs
    each_way memory
}

# What is printed does not depend on where the user is.
abroad() {
    expect_ok "$tool" -q "${args[@]}" "$input"
    cp "$TMP/out" want
    expect_ok env LC_ALL=de_DE.UTF-8 TZ=Asia/Kathmandu "$tool" -q "${args[@]}" "$input"
    expect_same want "$TMP/out"
    expect_ok env -u TERM -u HOME LC_ALL=no_SUCH LANG=x TZ=nowhere "$tool" -q "${args[@]}" "$input"
    expect_same want "$TMP/out"
}
test_language_and_time_zone() {
    mkdir w && cd w && use_inputs
    each_way abroad
}

# A file that may not be read, and a folder that may not be written.
test_permissions() {
    [ "$(id -u)" != 0 ] || { skip "root may read and write everything"; return; }
    use_inputs
    chmod 000 small.fa
    expect_sentence 1 'small.fa: cannot be opened: Permission denied' dnas-embed -m tnf small.fa
    chmod 600 small.fa
    mkdir closed && chmod 500 closed
    expect_sentence 1 'closed/x.part: cannot be written: Permission denied' dnas-embed -m tnf -o closed/x small.fa
}

run_tests
