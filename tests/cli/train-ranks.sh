#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-ranks.sh - several processes of dnas-train that find each other by a folder.
# What they say to each other is tested in tests/unit/test_comm_tcp.c; by MPI, in train-bert.sh.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh
# shellcheck source=tests/lib-ranks.sh
. tests/lib-ranks.sh

list=wsimclr,mimix,imix,supcon,mlm
small=(--layers 1 --heads 2 -b 12)

# Whatever carries the bytes, the model is the same.
test_as_by_mpi() {
    make_pairs 40 8
    expect_ranks 2 "${small[@]}" --curriculum $list --dropout 0.1 --log two.tsv -o two.safetensors t.dnas
    expect_ranks 3 "${small[@]}" --curriculum $list --mix-group 2 --log three.tsv -o three.safetensors t.dnas
    expect_ranks 3 "${small[@]}" --curriculum $list --mix-group 2 -o again.safetensors t.dnas
    expect_same three.safetensors again.safetensors
    has_mpi || return
    mpirun -n 2 --oversubscribe --allow-run-as-root --bind-to none dnas-train -q --arch bert -T tok.json --width 16 \
        --rate 1e-3 --head-rate 10 --max-tokens 32 --no-pg -t 1 "${small[@]}" --curriculum $list --dropout 0.1 \
        --log mpi.tsv -o mpi.safetensors t.dnas || fail "no run by MPI"
    expect_same two.safetensors mpi.safetensors
    cut -f 1-5 two.tsv >two.cut && cut -f 1-5 mpi.tsv >mpi.cut
    expect_same two.cut mpi.cut
}

# One of them gets the signal, and all save and stop; together they go on.
test_stopped_and_taken_up() {
    make_pairs 40 8
    expect_ranks 2 "${small[@]}" --curriculum wsimclr:20 --log whole.tsv -o whole.safetensors t.dnas
    start_ranks 2 "${small[@]}" --curriculum wsimclr:20 --log m.tsv -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -TERM "${rank_pid[1]}"
    end_ranks
    [ "${rank_status[*]}" = "75 75" ] || fail "ended with ${rank_status[*]}: $(cat err.0 err.1)"
    [ -s m.safetensors.checkpoint ] || fail "no checkpoint"
    expect_ranks 2 "${small[@]}" --curriculum wsimclr:20 --resume --log m.tsv -o m.safetensors t.dnas
    expect_same m.safetensors whole.safetensors
    cut -f 1-5 m.tsv >m.cut && cut -f 1-5 whole.tsv >whole.cut
    expect_same m.cut whole.cut
}

test_a_killed_one_ends_the_others() {
    make_pairs 40 8
    start_ranks 3 "${small[@]}" --curriculum wsimclr:100000 --checkpoint-steps 1 --log m.tsv -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -KILL "${rank_pid[1]}"
    expect_over 20 # of a deadline of 600
    end_ranks
    [ "${rank_status[*]}" = "1 137 1" ] || fail "ended with ${rank_status[*]}"
    grep -q 'dnas-train: .*rank [0-2] of 3 has ended before its time' err.0 || fail "rank 0 says: $(cat err.0)"
    grep -q 'dnas-train: .*rank [0-2] of 3 has ended before its time' err.2 || fail "rank 2 says: $(cat err.2)"
    [ -s m.safetensors.checkpoint ] || fail "the checkpoint is gone"
    [ ! -e m.safetensors ] || fail "a model is there"
}

test_one_that_stands_still() {
    make_pairs 40 8
    start_ranks 2 "${small[@]}" --deadline 2 --curriculum wsimclr:100000 --log m.tsv -o m.safetensors t.dnas
    await_steps m.tsv 3
    kill -STOP "${rank_pid[1]}"
    for _ in $(seq 200); do
        kill -0 "${rank_pid[0]}" 2>/dev/null || break
        sleep 0.1
    done
    grep -q 'rank 0 of 2 has waited 2 s for the others: one of them has ended or hangs' err.0 || fail "says: $(cat err.0)"
    kill -KILL "${rank_pid[1]}"
    end_ranks
    [ "${rank_status[0]}" = 1 ] || fail "ended with ${rank_status[*]}"
}

# Runs that share a folder are told apart by their jobs.
test_two_jobs() {
    local rank pids=() pid job
    make_pairs 40 8
    mkdir meet
    for rank in 0 1 0 1; do
        job=$((${#pids[@]} / 2))
        RANK=$rank WORLD_SIZE=2 dnas-train -q --rendezvous meet --job "night $job" --arch bert -T tok.json --width 16 \
            "${small[@]}" --curriculum wsimclr --max-tokens 32 --no-pg -t 1 -s $job -o $job.safetensors t.dnas 2>err.$job.$rank &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || fail "a process failed: $(cat err.?.?)"
    done
    cmp -s 0.safetensors 1.safetensors && fail "one seed for two"
    [ -z "$(ls -A meet)" ] || fail "left $(ls -A meet)"
}

test_refused() {
    make_pairs 40 8
    RANK=0 WORLD_SIZE=2 expect_sentence 1 'rank 0 of 2 .*give --rendezvous a folder that all of them see' dnas-train -q \
        --arch bert -T tok.json "${small[@]}" -o m.safetensors t.dnas
    expect_sentence 1 'set RANK and WORLD_SIZE' dnas-train -q --rendezvous . --arch bert -T tok.json "${small[@]}" \
        -o m.safetensors t.dnas
    RANK=0 WORLD_SIZE=2 expect_sentence 1 'nowhere/dnas-run.rendezvous: cannot be written' dnas-train -q \
        --rendezvous nowhere --arch bert -T tok.json "${small[@]}" -o m.safetensors t.dnas
    DNAS_ADDRESS=here RANK=0 WORLD_SIZE=2 expect_sentence 1 "DNAS_ADDRESS is no numeric address: 'here'" dnas-train -q \
        --rendezvous . --arch bert -T tok.json "${small[@]}" -o m.safetensors t.dnas
    RANK=0 WORLD_SIZE=2 expect_sentence 1 'waited 1 s for rank 1, which has not come' dnas-train -q --deadline 1 \
        --rendezvous . --arch bert -T tok.json "${small[@]}" -o m.safetensors t.dnas
    ranks 2 --layers 1 --heads 2 -b 13 -o m.safetensors t.dnas && fail "13 pairs on 2"
    grep -q 'no multiple of 2 processes' err || fail "says: $(cat err)"
    RANK=0 WORLD_SIZE=1 dnas-train -q --rendezvous . --arch bert -T tok.json --width 16 "${small[@]}" --curriculum wsimclr \
        --max-tokens 32 -o m.safetensors t.dnas || fail "alone"
}

run_tests
