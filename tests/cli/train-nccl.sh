#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-nccl.sh - several processes of dnas-train with a GPU each, whose gradients meet by
# NCCL: emulated GPUs, and a library that stands in for NCCL.  Its sums are tested in
# tests/kernels/test_cuda_ranks.c.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh
# shellcheck source=tests/lib-ranks.sh
. tests/lib-ranks.sh

use_emulated() { # use_emulated [LAYERS [LETTERS]] || return: the libraries, three GPUs, and pairs
    [ -e "$BUILD/libnccl-emulated.so" ] || {
        skip "there is no emulated library"
        return 1
    }
    export DNAS_CUDA_LIBRARY=$BUILD/libdnas-cuda-emulated.so DNAS_NCCL_LIBRARY=$BUILD/libnccl-emulated.so
    export DNAS_EMULATED_DEVICES=3 TMPDIR=$PWD
    unset DNAS_EMULATED_MEMORY DNAS_EMULATED_FAULT DNAS_EMULATED_EAGER DNAS_NCCL_FAULT DNAS_NCCL_FAULT_RANK DNAS_NCCL_STUCK
    make_pairs 16 4 "${2:-30}" 64
    small=(-d cuda --layers "${1:-1}" --heads 1 -b 6)
}
both_ways() { # both_ways N ARGUMENTS...: the same model, best one and last checkpoint
    local way
    for way in host nccl; do
        ranks "$@" --exchange $way --checkpoint-steps 1 --save-hf /dev/null/x -o $way.safetensors t.dnas &&
            fail "saved in /dev/null"
        grep -q /dev/null/x err || fail "$way: says $(cat err)"
    done
    expect_same host.safetensors nccl.safetensors
    expect_same host.best.safetensors nccl.best.safetensors
    expect_same host.safetensors.checkpoint nccl.safetensors.checkpoint
    compgen -G 'dnas-nccl.*' >left && fail "left $(cat left)"
    rm -f host.* nccl.*
}

# All objectives; layers that are mixed before, and that do not learn; whatever is queued when.
test_same_bytes() {
    use_emulated 2 || return
    both_ways 2 "${small[@]}" --curriculum wsimclr,mimix,mlm --precision f32
    both_ways 2 "${small[@]}" --curriculum mimix,imix --freeze 2
    DNAS_EMULATED_EAGER=1 both_ways 3 "${small[@]}" --curriculum mimix,supcon
    expect_ranks 2 "${small[@]}" --curriculum wsimclr --exchange host --log host.tsv -o m.safetensors t.dnas
    expect_ranks 2 "${small[@]}" --curriculum wsimclr --exchange nccl --log nccl.tsv -o m.safetensors t.dnas
    cut -f 1-5 host.tsv >host.log && cut -f 1-5 nccl.tsv >nccl.log
    expect_same host.log nccl.log
    [ "$(wc -l <host.log)" -gt 3 ] || fail "few steps: $(cat host.log)"
}

in_chunks() { # in_chunks BYTES ARGUMENTS...: both ways on GPUs of so little memory that a step takes several
    local DNAS_EMULATED_MEMORY=$1
    shift
    export DNAS_EMULATED_MEMORY
    quiet=-v ranks 2 "${small[@]}" "$@" --max-steps 1 -o v.safetensors t.dnas || fail "$(cat err)"
    grep -qE ': (128|192) tokens at a time' err || fail "not in chunks: $(grep tokens err)"
    rm -f v.*
    both_ways 2 "${small[@]}" "$@"
}

# One process has the same losses, up to the order of sums.
test_beside_one() {
    use_emulated || return
    small+=(--mix-group 1 --precision f32 --curriculum 'wsimclr,mimix,mlm')
    dnas-train -q --arch bert -T tok.json --width 16 --rate 1e-3 --head-rate 10 --max-tokens 32 --no-pg -t 1 \
        "${small[@]}" --log one.tsv -o one.safetensors t.dnas || fail "alone"
    for n in 2 3; do
        expect_ranks $n "${small[@]}" --exchange nccl --log $n.tsv -o $n.safetensors t.dnas
        expect_near one.tsv $n.tsv 5e-3
    done
}

# Where not all of a batch fits, layers are whole after the last of several chunks.
test_same_bytes_in_chunks() {
    use_emulated 2 200 || return
    small+=(-b 12) # six sequences a process of each kind, of 32 tokens
    in_chunks 40600000 --curriculum mimix:2,wsimclr
    export DNAS_EMULATED_EAGER=1 # each chunk of mlm waits, so that a sum that comes too early is not seen
    in_chunks 40700000 --curriculum mlm:3
    unset DNAS_EMULATED_EAGER
}

# auto is by NCCL where it can be used, and says where it cannot.
test_the_way() {
    use_emulated || return
    DNAS_NCCL_FAULT=error:1 ranks 2 "${small[@]}" --curriculum wsimclr -o m.safetensors t.dnas && fail "without NCCL"
    grep -q 'unhandled system error' err || fail "says $(cat err)"
    DNAS_NCCL_FAULT=error:1 expect_ranks 2 "${small[@]}" --exchange host --curriculum wsimclr -o m.safetensors t.dnas
    quiet='' DNAS_NCCL_LIBRARY=none expect_ranks 2 "${small[@]}" --curriculum wsimclr -o n.safetensors t.dnas
    [ "$(grep -c 'gradients go through the memory of the host: rank 0 of 2 has no NCCL' err)" = 1 ] || fail "says $(cat err)"
    expect_same m.safetensors n.safetensors
    DNAS_NCCL_LIBRARY=none ranks 2 "${small[@]}" --exchange nccl -o x.safetensors t.dnas && fail "nccl without"
    grep -q 'exchange nccl: rank 0 of 2 has no NCCL: DNAS_NCCL_LIBRARY names none' err || fail "says $(cat err)"
    ranks 2 "${small[@]}" -d cpu --exchange nccl -o x.safetensors t.dnas && fail "nccl on the CPU"
    grep -q 'exchange nccl is for GPUs' err || fail "says $(cat err)"
    [ ! -e x.safetensors ] || fail "a model is there"
}

# Whatever carries what ranks have to agree on.
test_started_by_mpi() {
    has_mpi || return
    use_emulated || return
    expect_ranks 2 "${small[@]}" --curriculum wsimclr,mimix -o tcp.safetensors t.dnas
    DNAS_NCCL_FAULT=error:1 by_mpi -o m.safetensors 2>err && fail "without NCCL"
    grep -q 'unhandled system error' err || fail "says $(cat err)"
    by_mpi -o mpi.safetensors 2>err || fail "$(cat err)"
    expect_same tcp.safetensors mpi.safetensors
}
by_mpi() { # by_mpi ARGUMENTS...: two processes under mpirun
    mpirun -n 2 --oversubscribe --allow-run-as-root --bind-to none dnas-train -q --arch bert -T tok.json --width 16 \
        --rate 1e-3 --head-rate 10 --max-tokens 32 --no-pg -t 1 "${small[@]}" --curriculum wsimclr,mimix "$@" t.dnas
}

test_two_on_one_gpu() {
    use_emulated || return
    ranks 2 "${small[@]}" -d cuda:0 --exchange nccl -o x.safetensors t.dnas && fail "two on one"
    grep -q 'ranks 0 and 1 are on one GPU, .*give each process one of its own' err || fail "says $(cat err)"
    quiet='' expect_ranks 2 "${small[@]}" -d cuda:0 --curriculum wsimclr -o one.safetensors t.dnas
    grep -q 'memory of the host: ranks 0 and 1 are on one GPU' err || fail "says $(cat err)"
    expect_ranks 2 "${small[@]}" --curriculum wsimclr -o two.safetensors t.dnas
    expect_same one.safetensors two.safetensors
}

# One gets the signal, and all save and stop; they go on by the other way.
test_stopped_and_taken_up() {
    use_emulated || return
    expect_ranks 2 "${small[@]}" --curriculum wsimclr:5,mimix:5 --log whole.tsv -o whole.safetensors t.dnas
    start_ranks 2 "${small[@]}" --curriculum wsimclr:5,mimix:5 --log m.tsv -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -TERM "${rank_pid[1]}"
    end_ranks
    [ "${rank_status[*]}" = "75 75" ] || fail "ended with ${rank_status[*]}: $(cat err.0 err.1)"
    expect_ranks 2 "${small[@]}" --curriculum wsimclr:5,mimix:5 --exchange host --resume --log m.tsv -o m.safetensors t.dnas
    expect_same m.safetensors whole.safetensors
    cut -f 1-5 m.tsv >m.cut && cut -f 1-5 whole.tsv >whole.cut
    expect_same m.cut whole.cut
}

test_a_killed_one_ends_the_others() {
    use_emulated || return
    start_ranks 3 "${small[@]}" --curriculum wsimclr:100000 --checkpoint-steps 1 --log m.tsv -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -KILL "${rank_pid[1]}"
    expect_over 20
    end_ranks
    [ "${rank_status[*]}" = "1 137 1" ] || fail "ended with ${rank_status[*]}"
    cat err.0 err.2 >err
    grep -qE 'rank 1 of 3 has ended before its time|remote process exited' err || fail "say: $(cat err)"
    [ -s m.safetensors.checkpoint ] || fail "the checkpoint is gone"
    [ ! -e m.safetensors ] || fail "a model is there"
}

# In the third step one rank's NCCL fails, or hangs for good, and with it the abort.
test_faults() {
    local fault
    use_emulated || return
    for fault in error:20 hang:20 stuck; do
        rm -f m.*
        [ $fault = stuck ] && export DNAS_NCCL_STUCK=1
        export DNAS_NCCL_FAULT=${fault/stuck/hang:20} DNAS_NCCL_FAULT_RANK=1
        start_ranks 2 "${small[@]}" --deadline 3 --curriculum wsimclr:100 --checkpoint-steps 1 --log m.tsv -o m.safetensors t.dnas
        expect_over 40
        end_ranks
        [ "${rank_status[*]}" = "1 1" ] || fail "$fault: ended with ${rank_status[*]}: $(cat err.0 err.1)"
        cat err.0 err.1 >err
        case $fault in
        error:*) grep -q 'gradients between GPUs .*GPU number 1 .*: NCCL, with 2 ranks: unhandled system error' err ;;
        *) grep -qE 'gradients between GPUs .*GPU number [01] .*has waited 3 s for the others' err ;;
        esac || fail "$fault: say $(cat err)"
        [ "$(wc -l <err.0)" = 1 ] && [ "$(wc -l <err.1)" = 1 ] || fail "$fault: not one line each: $(cat err)"
        [ -s m.safetensors.checkpoint ] || fail "$fault: the checkpoint is gone"
    done
    unset DNAS_NCCL_STUCK
    export DNAS_NCCL_FAULT=absent
    ranks 2 "${small[@]}" --deadline 2 -o x.safetensors t.dnas && fail "one is absent"
    grep -q 'has waited 2 s for the others' err || fail "absent: say $(cat err)"
}

run_tests
