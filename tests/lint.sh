#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# lint.sh - man pages, shell scripts, headers and C looked over by the programs
# for that; those that are not installed are left out with a word.  `make lint`
# runs it with CC and CPPFLAGS set.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 99
: "${CC:=cc}" "${CPPFLAGS:=-std=c11 -D_POSIX_C_SOURCE=200809L -I.}"
status=0

have() { # have PROGRAM WHAT
    command -v "$1" >/dev/null && return
    echo "lint: $2: skipped, there is no $1"
    return 1
}
said() { # said WHAT: tells how the check just run ended
    local got=$?
    if [ $got = 0 ]; then
        echo "lint: $1: fine"
    else
        echo "lint: $1: see above"
        status=1
    fi
}

man_pages() {
    local page bad=0
    for page in man/*.[1-8]; do
        [ -e "$page" ] || continue
        # Names of our own pages are not in the system's folders.
        mandoc -Tlint -W warning "$page" | grep -v 'referenced manual not found' && bad=1
    done
    return $bad
}
if have mandoc 'man pages'; then
    man_pages
    said 'man pages'
fi

shell_scripts() {
    local files
    mapfile -t files < <(find tests examples pipelines -name '*.sh' -o -name '*.slurm')
    # SC2015: a && b || fail is meant where b is a test; SC2016: quoted programs;
    # SC2181: the status is looked at where the command line is long.
    shellcheck -x -e SC2015,SC2016,SC2181 "${files[@]}" deps.sh bundle.sh || return
    shellcheck -s bash man/completion/dnas.bash
}
if have shellcheck 'shell scripts'; then
    shell_scripts
    said 'shell scripts'
fi

headers() { # headers COMPILER...: each compiles alone, twice over
    local h bad=0
    for h in common/*.h kernels/*.h tests/unit/*.h; do
        printf '#include "%s"\n#include "%s"\n' "$h" "$h" | "$@" -Wno-unused-function -Werror -fsyntax-only - || bad=1
    done
    return $bad
}
# shellcheck disable=SC2086
if have "${CC%% *}" 'headers in C'; then
    headers $CC $CPPFLAGS -x c
    said 'headers in C'
fi
if have g++ 'headers in C++'; then
    # Options that are for C alone go; the unit tests' headers are C.
    # shellcheck disable=SC2086
    complaints=$(for h in common/*.h kernels/*.h; do
        printf '#include "%s"\n' "$h" |
            g++ ${CPPFLAGS//-std=c11/-std=c++17} -Wno-unused-function -x c++ -fsyntax-only - 2>&1 |
            grep -v 'valid for C/ObjC' | grep -E 'error|warning'
    done)
    printf '%s' "${complaints:+$complaints$'\n'}"
    [ -z "$complaints" ]
    said 'headers in C++'
fi

format() {
    local files
    mapfile -t files < <(find common kernels tools tests -name '*.[ch]')
    clang-format --dry-run -Werror "${files[@]}" 2>&1 | grep -E 'error:' | head -n 40
    [ "${PIPESTATUS[0]}" = 0 ]
}
if have clang-format 'layout of C'; then
    format
    said 'layout of C'
fi

if have cppcheck 'cppcheck'; then
    # Errors alone: its warnings are guesses about paths that are not taken.
    cppcheck -q -j 2 --std=c11 --language=c --error-exitcode=1 --inline-suppr -I. -D__BYTE_ORDER__=1 \
        -D__ORDER_LITTLE_ENDIAN__=1 -i kernels/cuda --suppress=nullPointer:common/tsv_read.c \
        --suppress=invalidFunctionArg:common/tsne.c common kernels tools
    said 'cppcheck'
fi

exit $status
