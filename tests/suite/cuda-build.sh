#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# cuda-build.sh - what nvcc made of kernels/cuda: no kernel keeps registers in memory, few
# take more of them than was planned, and the library needs nothing that is not meant.
# shellcheck source=tests/lib.sh
. tests/lib.sh

library=$BUILD/lib/libdnas-cuda.so
have_library() {
    [ -e "$library" ] || { skip "there is no $library: no nvcc, or CUDA=no"; return 1; }
}

# Lines of target, kernel, registers, bytes of spills and stack, as ptxas tells of them.
kernels() {
    awk '/Compiling entry function/ { split($0, part, "\047"); name = part[2]; target = part[4] }
         /bytes stack frame/ { memory = $1 + $5 + $9 }
         /Used [0-9]+ registers/ { for (i = 1; i < NF; i++) if ($i == "Used") used = $(i + 1)
                                   print target, name, used, memory }' \
        "$BUILD"/cuda/kernels/cuda/*.log
}

test_registers() {
    have_library || return
    kernels >list
    local target name used memory most
    [ "$(wc -l <list)" -ge 40 ] || fail "few kernels: $(cut -d " " -f 1,2 list | tr '\n' ';')"
    while read -r target name used memory; do
        [ "$memory" = 0 ] || fail "$name on $target has $memory bytes of registers in memory"
        # Four blocks of 256 threads a processor, or two; attention is held by its launch bounds.
        case $name in
        *attention_fwd* | *attention_bwd_kernelILi128E*) most=255 ;;
        # Where registers pass from group to group, as many as a block of 384 threads begins with.
        *_sm90_*) most=168 ;;
        *attention_bwd* | *layernorm_bwd*) most=176 ;;
        *attention_*) most=128 ;;
        *layernorm* | *embedding*) most=80 ;;
        *) most=64 ;;
        esac
        [ "$used" -le $most ] || fail "$name on $target takes $used registers, not at most $most"
    done <list
}

# C7504 to C7515: ptxas gave up on something that was asked for.
test_no_warnings() {
    have_library || return
    grep -hE 'C75[0-9][0-9]|[Ww]arning' "$BUILD"/cuda/kernels/cuda/*.log >found
    [ -s found ] && fail "$(head -n 3 found)"
}

# The exponentials of a block of keys stand before the wait for the product that runs meanwhile:
# ptxas would have them behind it.
test_overlap() {
    have_library || return
    command -v cuobjdump >/dev/null || { skip "there is no cuobjdump"; return; }
    cuobjdump --dump-sass "$BUILD/cuda/kernels/cuda/attention_sm90.o" >sass
    local n
    n=$(awk '/DEPBAR.LE gsb0, 0x1/ { is_between = 1 } /DEPBAR.LE gsb0, 0x0/ { is_between = 0 }
             is_between && /MUFU.EX2/ { n++ } END { print n + 0 }' sass)
    [ "$n" -ge 32 ] || fail "$n exponentials between the waits, not 32"
}

test_library() {
    have_library || return
    command -v readelf >/dev/null || { skip "there is no readelf"; return; }
    nm -D --defined-only "$library" | awk '{ print $3 }' >symbols
    expect_text symbols dnas_cuda_table
    readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -vE '^(libc|libm|libdl|librt|libpthread|libcublasLt)\.so|^ld-linux' >needed
    [ -s needed ] && fail "the library needs $(tr '\n' ' ' <needed)"
}

run_tests
