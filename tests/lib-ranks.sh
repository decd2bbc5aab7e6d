# SPDX-License-Identifier: MIT
#
# lib-ranks.sh - dnas-train in several processes that find each other by a folder, on
# 127.0.0.1 alone.  Beside lib-train.sh.
# shellcheck shell=bash

# What a launcher of these tests may have said is not for the processes here.
unset RANK WORLD_SIZE LOCAL_RANK MASTER_PORT SLURM_JOB_ID SLURM_STEP_ID SLURM_RESTART_COUNT \
    TORCHELASTIC_RUN_ID TORCHELASTIC_RESTART_COUNT
export DNAS_ADDRESS=127.0.0.1

start_ranks() { # start_ranks N ARGUMENTS...: dnas-train as N processes: their ids in ${rank_pid[@]}, what they say in err.RANK
    local n=$1 rank
    shift
    rank_pid=()
    mkdir -p meet
    for ((rank = 0; rank < n; rank++)); do
        # shellcheck disable=SC2086 # no word where quiet is empty
        RANK=$rank WORLD_SIZE=$n LOCAL_RANK=$rank dnas-train ${quiet--q} --rendezvous meet --arch bert -T tok.json \
            --width 16 --rate 1e-3 --head-rate 10 --max-tokens 32 --no-pg -t 1 "$@" 2>"err.$rank" &
        rank_pid+=($!)
    done
}
end_ranks() { # end_ranks: waits for all: their statuses in ${rank_status[@]}
    local pid
    rank_status=()
    for pid in "${rank_pid[@]}"; do
        wait "$pid" 2>/dev/null
        rank_status+=($?)
    done
}
ranks() { # ranks N ARGUMENTS...: starts and ends them: whether all is well, the errors in err
    start_ranks "$@"
    end_ranks
    cat err.[0-9]* >err
    [ "$(printf '%s\n' "${rank_status[@]}" | sort -u)" = 0 ]
}
expect_ranks() { # expect_ranks N ARGUMENTS...
    ranks "$@" || fail "$*: ended with ${rank_status[*]}: $(cat err)"
    [ -z "$(ls -A meet)" ] || fail "$*: left $(ls -A meet)"
}
await_steps() { # await_steps LOG N: until the log has more than N lines
    local _
    for _ in $(seq 1000); do
        [ -s "$1" ] && [ "$(wc -l <"$1")" -gt "$2" ] && return
        sleep 0.02
    done
    fail "$1 has no $2 lines: $(cat err.* 2>/dev/null)"
}
expect_over() { # expect_over SECONDS: all processes have ended within them
    local pid _
    for _ in $(seq $(($1 * 10))); do
        for pid in "${rank_pid[@]}"; do
            kill -0 "$pid" 2>/dev/null && { sleep 0.1; continue 2; }
        done
        return
    done
    fail "after $1 s some of ${rank_pid[*]} are still there"
    kill -KILL "${rank_pid[@]}" 2>/dev/null
}
