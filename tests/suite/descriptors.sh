#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# descriptors.sh - tools started with standard descriptors closed: no file that
# is opened afterwards becomes standard output or error by accident.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

no_input() {
    takes_stdin || return
    timeout 60 "$tool" "${args[@]}" <&- >out 2>err
    local got=$?
    [ $got = 1 ] || fail "status $got, not 1: $tool ${args[*]} <&-"
    [ "$(wc -l <err)" = 1 ] || fail "not one line on stderr: $tool ${args[*]} <&-: $(head -c 300 err)"
    grep -q "^$tool: standard input: " err || fail "says: $(head -c 300 err) ($tool ${args[*]} <&-)"
}
test_closed_standard_input() {
    mkdir w && cd w && use_inputs
    each_way no_input
}

quiet_way() {
    expect_ok "$tool" "${args[@]}" "$input"
    cp "$TMP/out" want
    timeout 60 "$tool" "${args[@]}" "$input" >got 2>&- ||
        fail "fails with standard error closed: $tool ${args[*]}"
    expect_same want got
    timeout 60 "$tool" -v "${args[@]}" "$input" >got 2>/dev/full ||
        fail "fails where standard error cannot be written: $tool ${args[*]}"
    expect_same want got
}
test_closed_standard_error() {
    mkdir w && cd w && use_inputs
    each_way quiet_way
}

all_closed() {
    timeout 60 "$tool" -o want "${args[@]}" "$input" >out 2>err ||
        fail "$tool ${args[*]} -o want: $(head -c 300 err)"
    [ ! -s out ] || fail "$tool ${args[*]} -o FILE writes to standard output too"
    timeout 60 "$tool" -o got "${args[@]}" "$input" <&- >&- 2>&- ||
        fail "fails with all descriptors closed: $tool ${args[*]} -o FILE"
    expect_same want got
    rm -f want got
}
test_all_closed() {
    mkdir w && cd w && use_inputs
    each_way all_closed
}

# A warning while the output is open: it must not go into it.
test_warning_with_standard_error_closed() {
    use_inputs
    printf 'nobody\tx\n' >labels.tsv
    dnas-view --no-pg --from-npy matrix.npy --labels labels.tsv -o want.dnas 2>err
    [ -s err ] || fail "there is no warning: the test is void"
    dnas-view --no-pg --from-npy matrix.npy --labels labels.tsv -o got.dnas 2>&- || fail "fails"
    expect_same want.dnas got.dnas
}

# Where the input is not whole, the complaint must not go into the output.
test_complaint_with_standard_error_closed() {
    printf '>a\nACGT\n>b\n' >bad.fa
    dnas-embed -m tnf bad.fa -o out.dnas 2>&-
    [ $? = 1 ] || fail "status is not 1"
    [ ! -e out.dnas ] || fail "out.dnas is there"
}

run_tests
