#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kills.sh - a training run that is killed a hundred times at random moments comes to the model,
# the best model and the log of a run that nothing broke.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh

train() { # train NAME: 72 steps of a tiny network, in this process if in_place is exec
    ${in_place:-} dnas-train -q --arch bert -T tok.json --layers 2 --width 16 --heads 2 -b 8 --rate 1e-3 \
        --head-rate 10 --max-tokens 40 --no-pg --curriculum wsimclr:2,mimix:2,mlm:2 --checkpoint-steps 1 \
        --resume --log "$1.tsv" -o "$1.safetensors" t.dnas
}

test_a_hundred_kills() {
    local n=0 pid status runs=0
    make_pairs 120
    train whole || fail "whole"
    cut -f 1-5 whole.tsv >want
    rm -f m.*
    while [ "$n" -lt 100 ] && [ "$runs" -lt 1000 ]; do
        runs=$((runs + 1))
        in_place='exec' train m 2>err &
        pid=$!
        sleep "0.$(printf %03d $((runs * 7919 % 180 + 20)))"
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        status=$?
        case $status in
        137) n=$((n + 1)) ;;
        0) same && rm -f m.* ;;
        *) fail "exit $status: $(cat err)" && return ;;
        esac
    done
    [ "$n" = 100 ] || fail "only $n of $runs runs were killed"
    train m || fail "the last run fails"
    same
}
same() { # that nothing shows of the kills in m.*
    cmp m.safetensors whole.safetensors || fail "another model"
    cmp m.best.safetensors whole.best.safetensors || fail "another best model"
    cut -f 1-5 m.tsv | cmp - want || fail "another log"
}

run_tests
