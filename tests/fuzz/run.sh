#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh - `make fuzz`: runs each libFuzzer program for a while, from its samples
# and from what earlier runs kept.
#
#   run.sh [NAME...]    stream, seq, ... (default: all), each for FUZZ_SECONDS
#
# What makes one fail is left in $BUILD/fuzz/NAME.found; the program of the same
# name under `make check` takes it as an argument.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 99
: "${BUILD:=$PWD/build-fuzz}" "${FUZZ_SECONDS:=60}" "${FUZZ_MEMORY_MB:=1024}"
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=0}
[ $# -gt 0 ] || set -- tests/fuzz/fuzz_*.c
status=0
for name in "$@"; do
    name=$(basename "$name" .c)
    name=${name#fuzz_}
    dir=$BUILD/fuzz
    mkdir -p "$dir/$name" "$dir/$name.seeds" "$dir/$name.found"
    FUZZ_SEEDS=$dir/$name.seeds "$BUILD/tests/fuzz/fuzz_$name" || exit 99
    if "$BUILD/tests/fuzz/fuzz_$name" -max_total_time="$FUZZ_SECONDS" -timeout=10 -max_len=4096 \
        -rss_limit_mb="$FUZZ_MEMORY_MB" -malloc_limit_mb=$((FUZZ_MEMORY_MB / 2)) -use_value_profile=1 \
        -artifact_prefix="$dir/$name.found/" "$dir/$name" "$dir/$name.seeds" >"$dir/$name.log" 2>&1; then
        echo "fuzz_$name: $(grep -aE '^(Done|#[0-9]+.DONE)' "$dir/$name.log" | tr '\n' ' ')"
    else
        status=1
        echo "fuzz_$name failed: see $dir/$name.log and $dir/$name.found"
        grep -avE '^#[0-9]' "$dir/$name.log" | tail -n 40
    fi
done
exit $status
