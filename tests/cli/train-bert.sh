#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# train-bert.sh - dnas-train --arch bert: from pairs to a model, broken off and
# taken up, and what is refused.
# shellcheck source=tests/lib-train.sh
. tests/lib-train.sh

train() { # train ARGUMENTS...: 18 steps of a tiny network; with exec before it, in this process
    ${in_place:-} dnas-train -q --arch bert -T tok.json --layers 2 --width 16 --heads 2 -b 16 --rate 1e-3 \
        --head-rate 10 --max-tokens 40 --no-pg "$@"
}

test_a_model_is_trained_and_runs() {
    make_pairs 120
    expect_ok train --log log.tsv --save-hf hf -o m.safetensors t.dnas
    [ ! -e m.safetensors.checkpoint ] || fail "the checkpoint is left"
    [ -s m.best.safetensors ] || fail "no best model"
    expect_ok dnas-embed -q -m m.safetensors pairs.fa -o e.dnas
    expect_ok dnas-embed -q -m hf pairs.fa -o hf.dnas
    dnas-view e.dnas >e.tsv
    dnas-view hf.dnas | cmp -s - e.tsv || fail "the folder's model is another"
    [ "$(dnas-view -c e.dnas)" = 120 ] || fail "rows are missing"
    [ "$(wc -l <log.tsv)" = 20 ] || fail "the log: $(cat log.tsv)"
    awk -F '\t' 'NR == 2 { first = $3 } NR == 20 { exit !($3 > 0 && $3 < first) }' log.tsv ||
        fail "the validation loss did not fall: $(cat log.tsv)"
    cut -f 1-3 log.tsv | dnas-plot --curves - -o log.svg && grep -q '<svg' log.svg ||
        fail "the log is not drawn"
}

test_same_bytes() {
    make_pairs 120
    train -t 1 --curriculum wsimclr,mimix,imix,supcon,mlm -o one.safetensors t.dnas || fail "-t 1"
    train -t 3 --curriculum wsimclr,mimix,imix,supcon,mlm -o three.safetensors t.dnas || fail "-t 3"
    cmp one.safetensors three.safetensors || fail "-t shows"
    train -s 2 --curriculum wsimclr,mimix,imix,supcon,mlm -o two.safetensors t.dnas || fail "-s 2"
    cmp -s one.safetensors two.safetensors && fail "the seed does not show"
    train -t 2 --curriculum wsimclr,mimix,imix,supcon,mlm -o four.safetensors <t.dnas || fail "stdin"
    cmp one.safetensors four.safetensors || fail "standard input shows"
    [ ! -e four.safetensors.pairs ] || fail "the spool is left"
}

# Broken off at many moments, by both signals and without warning.
test_taken_up_again() {
    make_pairs 120
    train --curriculum wsimclr:2,mimix:2 --log log.tsv -o whole.safetensors t.dnas || fail "whole"
    for signal in USR1 TERM KILL; do
        rm -f m.*
        for delay in 0.03 0.06 0.11 0.05 0.08; do
            in_place='exec' train --curriculum wsimclr:2,mimix:2 --log m.tsv --checkpoint-steps 1 \
                --resume -o m.safetensors t.dnas 2>err &
            pid=$!
            sleep "$delay"
            kill -s "$signal" "$pid" 2>/dev/null
            wait "$pid"
            status=$?
            case $status in 0 | 75 | 137 | 143 | 138) ;; *) fail "$signal: exit $status: $(cat err)" ;; esac
        done
        train --curriculum wsimclr:2,mimix:2 --log m.tsv --checkpoint-steps 1 --resume \
            -o m.safetensors t.dnas || fail "$signal: the last run fails"
        cmp m.safetensors whole.safetensors || fail "$signal: another model"
        cmp m.best.safetensors whole.best.safetensors || fail "$signal: another best model"
        cut -f 1-5 log.tsv >want
        cut -f 1-5 m.tsv | cmp - want || fail "$signal: another log"
    done
}

test_saved_on_a_signal() {
    make_pairs 120
    in_place='exec' train --curriculum wsimclr:2000 --log log.tsv -o m.safetensors t.dnas 2>err &
    pid=$!
    for _ in $(seq 200); do
        [ -s log.tsv ] && [ "$(wc -l <log.tsv)" -gt 3 ] && break
        sleep 0.05
    done
    kill -s USR1 "$pid"
    wait "$pid"
    status=$?
    [ "$status" = 75 ] || fail "exit $status, not 75: $(cat err)"
    [ -s m.safetensors.checkpoint ] || fail "no checkpoint"
    [ ! -e m.safetensors ] || fail "a model that is not whole"
    expect_sentence 1 'is there from an earlier run' train --curriculum wsimclr:2000 -o m.safetensors t.dnas
    expect_sentence 1 "as 'batch'" train --resume -b 8 --curriculum wsimclr:2000 -o m.safetensors t.dnas
    expect_sentence 1 "as 'seed'" train --resume -s 9 --curriculum wsimclr:2000 -o m.safetensors t.dnas
    head -c 5000 m.safetensors.checkpoint >short && mv short m.safetensors.checkpoint
    expect_sentence 1 'm.safetensors.checkpoint' train --resume --curriculum wsimclr:2000 -o m.safetensors t.dnas
}

# The signal comes as the n-th piece of memory is asked for, from the first in main on.
test_a_signal_before_all_else() {
    make_pairs 120
    local library=$BUILD/tests/faults/faults.so n
    [ -e "$library" ] && [ -z "${SANITIZE:-}" ] || { skip "no library of faults"; return; }
    train --curriculum wsimclr:2 -o whole.safetensors t.dnas || fail "whole"
    for n in 1 20 400; do
        for signal in TERM USR1; do
            rm -f m.*
            DNAS_FAULT=alloc:$signal:$n LD_PRELOAD=$library train --curriculum wsimclr:2 -o m.safetensors t.dnas
            [ $? = 75 ] || fail "$signal at $n: not 75"
            train --curriculum wsimclr:2 --resume -o m.safetensors t.dnas || fail "not taken up"
            cmp m.safetensors whole.safetensors || fail "$signal at $n: another model"
        done
    done
    # What keeps no checkpoint ends by it.
    for n in 1 20 400; do
        DNAS_FAULT=alloc:TERM:$n LD_PRELOAD=$library dnas-train -q --arch vae --epochs 2 -o v.safetensors pairs.fa
        [ $? = 143 ] || fail "vae at $n: not ended by SIGTERM"
        [ ! -e v.safetensors ] || fail "vae at $n: a model"
    done
}

# Rows 1 to 48 are of one species: a batch of validation that has nothing to be told apart from.
test_validation_of_one_species() {
    make_pairs 120
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = NR < 70; if (NR < 50) $5 = "one" } { print }' pairs.tsv >some.tsv
    awk -F '\t' 'NR == 1 || NR > 49' some.tsv >rest.tsv
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = NR < 50 } { print }' some.tsv >only.tsv
    for f in some rest only; do
        dnas-view --from-tsv $f.tsv | dnas-tokenize -q -T tok.json -o $f.dnas
    done
    expect_ok train --curriculum wsimclr:1,mimix:1 --log some.log -o some.safetensors some.dnas
    expect_ok train --curriculum wsimclr:1,mimix:1 --log rest.log -o rest.safetensors rest.dnas
    expect_same some.safetensors rest.safetensors
    cut -f 1-5 some.log >got
    cut -f 1-5 rest.log | cmp - got || fail "another validation loss: $(cat got)"
    awk -F '\t' 'NR == 2 { exit !($3 > 0) }' some.log || fail "no validation: $(cat some.log)"
    expect_ok dnas-train --arch bert -T tok.json --layers 1 --width 8 --heads 1 -b 16 --max-tokens 40 --curriculum \
        wsimclr:3 -o m.safetensors some.dnas
    [ "$(grep -c 'validation leaves out 1 of 2 batches' "$TMP/err")" = 1 ] || fail "says $(cat "$TMP/err")"
    rm -f x.log
    expect_sentence 1 'only.dnas: no pair for validation has another species in its batch of 48' \
        train --curriculum mlm:1,wsimclr:1 --log x.log -o x.safetensors only.dnas
    [ ! -e x.log ] || fail "it trained before: $(cat x.log)"
    expect_ok train --curriculum mlm:1 -o x.safetensors only.dnas
    expect_ok train --curriculum wsimclr:1 --no-mask-same-label -o y.safetensors only.dnas
}

# Nine pairs in ten are of one species, so that many batches of four are, and two phases tell species apart.
make_few_species() { # make_few_species || return: f.dnas
    make_pairs 60
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = NR > 41; if (NR % 10) $5 = "one" } { print }' pairs.tsv >few.tsv
    dnas-view --from-tsv few.tsv | dnas-tokenize -q -T tok.json -o f.dnas
}
few_species() { # few_species ARGUMENTS...: 10 steps an epoch
    ${in_place:-} dnas-train --arch bert -T tok.json --layers 1 --width 16 --heads 2 -b 4 --rate 1e-3 --head-rate 10 \
        --warmup 20 --schedule linear --max-tokens 40 --no-pg "$@"
}
test_batches_of_one_species() {
    local n step
    make_few_species
    expect_ok few_species -t 1 --curriculum wsimclr,mimix,imix,supcon,mlm --log log.tsv -o m.safetensors f.dnas
    [ "$(grep -c 'the batch has pairs of one species alone' "$TMP/err")" = 1 ] || fail "says $(cat "$TMP/err")"
    awk -F '\t' 'NR > 2 && $2 == "" { n++; last = $1; if ($4 $5 $6 != "") bad = 1 }
        NR > 2 && $2 != "" && !($4 > 0 && $5 > 0) { bad = 1 }
        END { exit bad || !(n > 10 && n < 30 && last <= 30 && NR == 52) }' log.tsv || fail "$(cat log.tsv)"
    # The rate is of the steps that the optimiser has taken.
    awk -F '\t' 'NR > 2 && $2 != "" && ++n <= 15 { d = $5 - 1e-3 * n / 20; if (d > 1e-9 || d < -1e-9) exit 1 }' log.tsv ||
        fail "rates: $(cut -f 1,2,5 log.tsv)"
    expect_ok few_species -t 3 --curriculum wsimclr,mimix,imix,supcon,mlm -o three.safetensors f.dnas
    expect_same m.safetensors three.safetensors
    # Without labels there is always something.
    expect_ok few_species --no-mask-same-label --curriculum wsimclr --log log.tsv -o m.safetensors f.dnas
    awk -F '\t' 'NR > 2 && $2 == "" { exit 1 }' log.tsv || fail "passed over: $(cat log.tsv)"
    has_mpi || { skip_reason=; return; }
    expect_ok few_species --dropout 0 --mix-group 2 --curriculum wsimclr,mimix --log one.tsv -o one.safetensors f.dnas
    expect_ok mpirun -n 2 --oversubscribe --allow-run-as-root --bind-to none dnas-train --arch bert -T tok.json \
        --layers 1 --width 16 --heads 2 -b 4 --rate 1e-3 --head-rate 10 --warmup 20 --schedule linear \
        --max-tokens 40 --no-pg --dropout 0 --mix-group 2 --curriculum wsimclr,mimix --log two.tsv -o two.safetensors f.dnas
    paste one.tsv two.tsv | awk -F '\t' 'NR > 2 {
            if (($2 == "") != ($8 == "")) exit 1
            d = $2 - $8; if (!(d <= 1e-2 * $2 && -d <= 1e-2 * $2)) exit 1 }' || fail "on 2: $(paste one.tsv two.tsv)"
}
test_batches_of_one_species_go_on() {
    local pid
    make_few_species
    few_species -q --curriculum wsimclr:60,mimix:60 --log log.tsv -o whole.safetensors f.dnas || fail "whole"
    in_place='exec' few_species -q --curriculum wsimclr:60,mimix:60 --log m.tsv -o m.safetensors f.dnas 2>err &
    pid=$!
    for _ in $(seq 400); do
        [ -s m.tsv ] && [ "$(wc -l <m.tsv)" -gt 30 ] && break
        sleep 0.01
    done
    kill -s USR1 "$pid"
    wait "$pid"
    [ -s m.safetensors.checkpoint ] || fail "no checkpoint: $(cat err)"
    expect_ok few_species -q --resume --curriculum wsimclr:60,mimix:60 --log m.tsv -o m.safetensors f.dnas
    expect_same m.safetensors whole.safetensors
    cut -f 1-5 log.tsv >want
    cut -f 1-5 m.tsv | cmp - want || fail "another log"
}

test_from_a_model() {
    make_pairs 120
    train --curriculum mlm:2 -o m.safetensors t.dnas || fail "pre-training"
    dnas-train -q --init m.safetensors --max-tokens 40 -b 16 --curriculum wsimclr --rate 1e-3 \
        -o n.safetensors t.dnas || fail "no training from a model"
    dnas-embed -q -m n.safetensors pairs.fa | dnas-view -c >n
    [ "$(cat n)" = 120 ] || fail "the model does not run"
    # Nothing is learnt: the encoder stays as it is.
    dnas-train -q --init m.safetensors --max-tokens 40 -b 16 --curriculum wsimclr --freeze 3 \
        -o frozen.safetensors t.dnas || fail "--freeze fails"
    dnas-embed -q --no-pg -m m.safetensors pairs.fa | dnas-view >a
    dnas-embed -q --no-pg -m frozen.safetensors pairs.fa | dnas-view >b
    cmp a b || fail "a frozen network has moved"
    dnas-embed -q --no-pg -m n.safetensors pairs.fa | dnas-view | cmp -s - a && fail "nothing learnt"
    expect_sentence 1 'cannot be frozen: there are 2' dnas-train --init m.safetensors --freeze 9 \
        -o x.safetensors t.dnas
}

# Masked tokens go on where pre-training ended: validation of step 0 is the last one of the run before, from
# a file and from a folder.  A model without that head begins a new one, and so does one whose decoder is not
# its table of words.
test_masked_tokens_from_a_model() {
    local from at
    make_pairs 120
    train --curriculum mlm:3 --log before.tsv --save-hf hf -o m.safetensors t.dnas || fail "pre-training"
    train --curriculum wsimclr:1 -o none.safetensors t.dnas || fail "no model without that head"
    at=$(head -c 40000 m.safetensors | tr -d '\0' | LC_ALL=C grep -ao '"cls.predictions.decoder.weight":{[^}]*}' |
        sed 's/.*"data_offsets":\[\([0-9]*\),.*/\1/')
    cp m.safetensors own.safetensors
    printf '\0\0\200\077' | dd of=own.safetensors bs=1 conv=notrunc status=none \
        seek=$((8 + $(od -An -tu8 -N8 m.safetensors) + ${at:-0}))
    for from in m.safetensors hf none.safetensors own.safetensors; do
        expect_ok dnas-train -v --init "$from" -T tok.json --max-tokens 40 -b 16 --curriculum mlm --max-steps 1 \
            --log "$from.tsv" -o n.safetensors t.dnas
        cp "$TMP/err" "$from.err"
    done
    tail -n 1 before.tsv | cut -f 3 >want
    for from in m.safetensors hf; do
        sed -n 2p "$from.tsv" | cut -f 3 | cmp -s - want || fail "$from: $(sed -n 2p "$from.tsv"), not $(cat want)"
        grep -q "$from: its head for masked tokens is taken over" "$from.err" || fail "says $(cat "$from.err")"
    done
    for from in none.safetensors own.safetensors; do
        sed -n 2p "$from.tsv" | cut -f 3 | cmp -s - want && fail "$from: the same loss"
    done
    grep -q 'has no head for masked tokens: a new one begins' none.safetensors.err || fail "says $(cat none.safetensors.err)"
    grep -q 'not its table of words: a new head begins' own.safetensors.err || fail "says $(cat own.safetensors.err)"
}

test_refused() {
    make_pairs 120
    expect_sentence 2 'give -o a file' train t.dnas
    expect_sentence 2 'needs -T' dnas-train --arch bert -o m.safetensors t.dnas
    expect_sentence 2 'no multiple of --heads 3' train --heads 3 -o m.safetensors t.dnas
    expect_sentence 2 "'wsimcrl' is no objective" train --curriculum wsimcrl -o m.safetensors t.dnas
    expect_sentence 2 'nothing to be told apart' train -b 1 -o m.safetensors t.dnas
    expect_sentence 1 'a batch takes 5000' train -b 5000 -o m.safetensors t.dnas
    expect_sentence 1 "step [0-9]+: the (parameter|gradient of|loss).*not finite|loss is" train --rate 1e30 -o m.safetensors t.dnas
    dnas-tokenize -q --train 50 pairs.fa -o other.json
    expect_sentence 1 'another tokenizer' dnas-train -q --arch bert -T other.json -o m.safetensors t.dnas
    head -c 3000 t.dnas >cut.dnas
    expect_sentence 1 'truncated' train -o m.safetensors cut.dnas
    expect_sentence 1 'pairs.dnas' train -o m.safetensors pairs.dnas
    expect_sentence 1 'cannot be' train -o no/such/m.safetensors t.dnas
    awk -F '\t' -v OFS='\t' 'NR > 1 { $5 = "one" } { print }' pairs.tsv >one.tsv
    dnas-view --from-tsv one.tsv | dnas-tokenize -q -T tok.json -o one.dnas
    expect_sentence 1 'one.dnas: all pairs to train on are of one species' train -o m.safetensors one.dnas
    awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = 0 } { print }' one.tsv >train.tsv
    dnas-view --from-tsv train.tsv | dnas-tokenize -q -T tok.json -o train.dnas
    expect_sentence 1 'train.dnas: all pairs to train on are of one species' train -o m.safetensors train.dnas
    expect_ok train --curriculum supcon,mlm -o m.safetensors train.dnas
    rm m.safetensors
    expect_ok train --no-mask-same-label -o m.safetensors one.dnas
    [ ! -e m.safetensors.part ] || fail "a part is left"
}

# A disk that is full (here: a limit of size) does not cost the checkpoint there is.
test_a_full_disk_keeps_the_checkpoint() {
    make_pairs 120
    in_place='exec' train --curriculum wsimclr:2000 --checkpoint-steps 2 -o m.safetensors t.dnas 2>err &
    pid=$!
    for _ in $(seq 200); do
        [ -s m.safetensors.checkpoint ] && break
        sleep 0.05
    done
    kill -s USR1 "$pid"
    wait "$pid"
    cp m.safetensors.checkpoint kept
    (
        ulimit -f 20
        trap '' XFSZ
        train --resume --curriculum wsimclr:2000 --checkpoint-steps 1 -o m.safetensors t.dnas 2>err
        echo $? >status
    )
    [ "$(cat status)" = 1 ] || fail "exit $(cat status): $(cat err)"
    cmp m.safetensors.checkpoint kept || fail "the checkpoint is gone"
}

ranks() { # ranks N ARGUMENTS...: train on N processes
    local n=$1
    shift
    ${in_place:-} mpirun -n "$n" --oversubscribe --allow-run-as-root --bind-to none dnas-train -q \
        --arch bert -T tok.json --layers 2 --width 16 --heads 2 -b 16 --rate 1e-3 --head-rate 10 \
        --max-tokens 40 --no-pg -t 1 "$@"
}
test_several_processes() {
    has_mpi || return
    make_pairs 120
    list=wsimclr,mimix,imix,supcon,mlm
    train --curriculum $list --mix-group 4 --dropout 0 --log one.tsv -o one.safetensors t.dnas ||
        fail "alone"
    for n in 2 4; do
        expect_ok ranks $n --curriculum $list --mix-group 4 --dropout 0 --log $n.tsv -o $n.safetensors t.dnas
        expect_ok ranks $n --curriculum $list --mix-group 4 --dropout 0 -o again.safetensors t.dnas
        expect_same $n.safetensors again.safetensors
        # The first loss is of the same weights; then Adam lets rounding grow.
        paste one.tsv $n.tsv | awk -F '\t' 'NR > 2 {
                d = $2 - $8; tolerance = (NR == 3 ? 1e-5 : 5e-3) * $2
                if (!(d <= tolerance && -d <= tolerance)) exit 1
            }' || fail "losses on $n: $(paste one.tsv $n.tsv)"
    done
    expect_ok ranks 2 --dropout 0.2 -o drop.safetensors t.dnas
    expect_ok dnas-embed -q -m drop.safetensors pairs.fa -o e.dnas
}

test_several_processes_go_on() {
    has_mpi || return
    make_pairs 120
    in_place='exec' ranks 2 --curriculum wsimclr:4000 --log log.tsv -o m.safetensors t.dnas 2>err &
    pid=$!
    for _ in $(seq 200); do
        [ -s log.tsv ] && [ "$(wc -l <log.tsv)" -gt 3 ] && break
        sleep 0.05
    done
    kill -s USR1 "$pid" # mpirun hands it on
    wait "$pid"
    [ -s m.safetensors.checkpoint ] || fail "no checkpoint: $(cat err)"
    step=$(tail -n 1 log.tsv | cut -f 1)
    ranks 2 --curriculum wsimclr:4000 --resume --max-steps $((step + 3)) -o m.safetensors t.dnas 2>err &&
        fail "went on with other options"
    grep -q "as 'optimizer'" err || fail "says: $(cat err)"
    train --curriculum wsimclr:4000 --resume -o m.safetensors t.dnas 2>err && fail "went on alone"
    grep -qE "as '(processes|mix-group)'" err || fail "says: $(cat err)"
}

rank_1() { # the process of rank 1 among those that train here
    local p
    for p in $(pgrep -x dnas-train); do
        [ "$(readlink "/proc/$p/cwd")" = "$PWD" ] || continue
        tr '\0' '\n' <"/proc/$p/environ" | grep -c '^OMPI_COMM_WORLD_RANK=1$' >count || continue
        echo "$p"
    done
}
# A process that stands still, and one that dies, end the run with a sentence.
test_a_lost_process_ends_the_run() {
    has_mpi || return
    command -v pgrep >/dev/null || { skip "no pgrep"; return; }
    make_pairs 120
    for signal in STOP KILL; do
        rm -f log.tsv m.safetensors*
        in_place='exec' ranks 2 --deadline 2 --curriculum wsimclr:100000 --checkpoint-steps 1 --log log.tsv \
            -o m.safetensors t.dnas 2>err &
        pid=$!
        for _ in $(seq 400); do
            [ -s log.tsv ] && [ "$(wc -l <log.tsv)" -gt 3 ] && break
            sleep 0.05
        done
        lost=$(rank_1)
        [ -n "$lost" ] || fail "there is no rank 1"
        kill -s "$signal" "$lost"
        for _ in $(seq 600); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -0 "$pid" 2>/dev/null && fail "$signal: the others still wait"
        wait "$pid" && fail "$signal: ended as if all were well"
        kill -s KILL "$lost" 2>/dev/null
        [ -s err ] || fail "$signal: without a word"
        [ "$signal" != STOP ] || grep -q 'dnas-train: ' err || fail "$signal: says $(cat err)"
        [ -s m.safetensors.checkpoint ] || fail "$signal: the checkpoint is gone"
        [ ! -e m.safetensors ] || fail "$signal: a model is there"
    done
}

test_several_processes_are_refused() {
    has_mpi || return
    make_pairs 120
    ranks 3 -o x.safetensors t.dnas 2>err && fail "16 pairs on 3 processes"
    grep -q 'no multiple of 3 processes' err || fail "says: $(cat err)"
    ranks 2 -o x.safetensors <t.dnas 2>err && fail "standard input on 2 processes"
    grep -q 'name one' err || fail "says: $(cat err)"
    [ ! -e x.safetensors ] || fail "a model is there"
}

run_tests
