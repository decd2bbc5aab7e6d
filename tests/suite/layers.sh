#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# layers.sh - the tree keeps to its layers.
#
#   tools/    include common/ alone
#   common/   includes common/ and the public headers of kernels/ (not of
#             kernels/cpu and kernels/cuda)
#   kernels/  include kernels/, and of common only err.h, for the ends of the program
#
# Our headers are included by their path from the root, in quotes.
# shellcheck source=tests/lib.sh
. tests/lib.sh

cd "$ROOT" || exit 99

included() { # included PATTERN FILES...: "file:line:header" of ours that do not fit PATTERN
    grep -n '^ *# *include *"' "${@:2}" /dev/null | sed 's/# *include *"\(.*\)".*/\1/; s/: */:/g' |
        grep -vE ":($1)\$"
}

test_tools() {
    cd "$ROOT" || return
    local bad
    bad=$(included 'common/[a-z0-9_]+\.h' tools/*.c) && fail "tools/ may include common/ alone: $bad"
    grep -nE '\b(fopen|malloc|calloc|realloc)\(' tools/*.c | grep -v 'curves, "r"' &&
        fail "tools/ allocate and open through common/"
}

test_common() {
    cd "$ROOT" || return
    local bad
    bad=$(included 'common/[a-z0-9_]+\.h|kernels/[a-z0-9_]+\.h' common/*.[ch]) &&
        fail "common/ may include common/ and kernels/*.h: $bad"
    bad=$(grep -nE '\b(exit|abort) *\(' common/*.c | grep -vE '^common/(err|xmem)\.c:') &&
        fail "only err.c and xmem.c may end the program: $bad"
    bad=$(grep -nE '\b(cuda[A-Z]|cublas)' common/*.[ch]) && fail "CUDA in common/: $bad"
}

test_kernels() {
    cd "$ROOT" || return
    local bad
    local files
    mapfile -t files < <(find kernels -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh')
    bad=$(included 'kernels/[a-z0-9_/]+\.(h|cuh)|common/err\.h' "${files[@]}") &&
        fail "kernels/ may include kernels/ and common/err.h: $bad"
    bad=$(grep -nE '\b(fopen|fprintf|printf|argv)\b' "${files[@]}") &&
        fail "kernels/ know no files: $bad"
}

# File names are unique, but for the twins kernels/cpu/x.c and kernels/cuda/x.cu.
test_file_names() {
    cd "$ROOT" || return
    local name
    for name in $(find common kernels tools tests -name '*.[ch]' | sed 's|.*/||' | sort | uniq -d); do
        fail "two files are called $name: $(find common kernels tools tests -name "$name" | tr '\n' ' ')"
    done
    for name in common/*.c tools/*.c; do
        name=$(basename "$name" .c)
        [ ! -e "kernels/cpu/$name.c" ] || fail "$name.c is in kernels/cpu too"
    done
}

compiles() { # compiles COMPILER STANDARD LANGUAGE: every header alone
    local h flags
    flags=$(pkg-config --cflags libzstd libxxhash jansson htslib 2>/dev/null)
    for h in $(cd "$ROOT" && ls common/*.h kernels/*.h); do
        printf '#include "%s"\n#include "%s"\n' "$h" "$h" >"one.$3"
        # shellcheck disable=SC2086
        $1 "-std=$2" -D_POSIX_C_SOURCE=200809L -I"$ROOT" $flags -Wall -Wextra -Wno-unused-function \
            -Werror -fsyntax-only "one.$3" 2>err || fail "$h does not compile alone with $1: $(head -n 3 err)"
    done
}
test_headers_alone_in_c() {
    compiles "${CC:-cc}" c11 c
}
test_headers_alone_in_cxx() {
    command -v g++ >/dev/null || { skip "there is no g++"; return; }
    compiles g++ c++17 cpp
}

# Every source file begins with its licence and its name.
test_first_lines() {
    cd "$ROOT" || return
    local f
    for f in common/*.[ch] kernels/*.[ch] kernels/cpu/*.c tools/*.c tests/unit/*.[ch] tests/kernels/*.c; do
        [ -e "$f" ] || continue
        head -n 1 "$f" | grep -q 'SPDX-License-Identifier: MIT' || fail "$f has no SPDX line"
        head -n 3 "$f" | grep -qF "$(basename "${f%.*}")" || fail "$f does not begin with its name"
    done
}

run_tests
