#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# logreg.sh - dnas-logreg: few-shot scores, models, labels and what it refuses.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# e.dnas: N rows of each of x, y and z, around three corners; label '' every so often.
corners() { # corners N [UNLABELLED]
    awk -v n="$1" -v bare="${2:-0}" 'BEGIN { s = 7
        print "id\tembedding_0\tembedding_1\tlength_bp\tlabel\textra"
        for (i = 0; i < 3 * n; i++) {
            k = i % 3
            for (j = 0; j < 2; j++) { s = (s * 16807) % 2147483647; d[j] = (s / 2147483647 - 0.5) * 0.8 }
            printf "r%d\t%.6g\t%.6g\t%d\t%s\te%d\n", i, (k == 1) + d[0], (k == 2) + d[1], 100 + i,
                bare && i % bare == 0 ? "" : substr("xyz", k + 1, 1), i
        } }' >e.tsv
    dnas-view --from-tsv e.tsv -o e.dnas
}

test_fit_and_predict() {
    corners 20
    expect_ok dnas-logreg --fit m.safetensors e.dnas
    cut -f 1-4 "$TMP/out" >top
    expect_text top $'method\trows\tclasses\tdimensions\nlogreg\t60\t3\t2'
    [ ! -e m.safetensors.part ] || fail "m.safetensors.part is left"
    expect_ok dnas-logreg --predict m.safetensors --format tsv e.dnas
    head -n 1 "$TMP/out" >top
    expect_text top $'id\tcluster\tscore\tlength_bp\tlabel\textra\tpredicted'
    awk -F '\t' 'NR > 1 { if ($2 != (NR - 2) % 3 || $5 != $7 || !($3 >= 1 / 3 && $3 <= 1) || $6 != "e" NR - 2) bad++ }
        END { print NR, bad + 0 }' "$TMP/out" >seen
    expect_text seen '61 0'
    dnas-logreg --predict m.safetensors e.dnas -o k.dnas
    expect_ok dnas-ari k.dnas
    sed -n 2p "$TMP/out" | cut -f 1-5 >seen
    expect_text seen $'60\t1\t3\t3\t1'
    # Labels are not needed, and a column of an earlier prediction is replaced.
    cut -f 1-3 e.tsv >bare.tsv
    dnas-view --from-tsv bare.tsv -o bare.dnas
    expect_ok dnas-logreg --predict m.safetensors --format tsv bare.dnas
    head -n 2 "$TMP/out" | cut -f 1,2,4 >seen
    expect_text seen $'id\tcluster\tpredicted\nr0\t0\tx'
    sed -e '1s/extra/predicted/' e.tsv | dnas-view --from-tsv - -o again.dnas
    expect_ok dnas-logreg --predict m.safetensors --format json again.dnas
    head -n 1 "$TMP/out" >seen
    grep -q '"label": "x", "predicted": "x"}$' seen || fail "not replaced: $(cat seen)"
}

# The model says what it was made of, and a row's label does not depend on the rows beside it.
test_model_file() {
    corners 20
    dnas-logreg -q --fit a.safetensors e.dnas >one
    dnas-logreg -q -t 2 --fit b.safetensors -o two e.dnas
    expect_same one two
    head -c 4000 a.safetensors | tr ',' '\n' | grep -a -c 'dnas-logreg' >seen
    [ "$(cat seen)" -ge 3 ] || fail "no format and program line in the model"
    dnas-logreg -q --no-pg --fit c.safetensors e.dnas >two
    ! grep -aq '\\"PN\\"' c.safetensors || grep -aq 'dnas-view' c.safetensors || fail "--no-pg is not heeded"
    ! grep -aq 'dnas-logreg --fit' c.safetensors || fail "--no-pg is not heeded"
    dnas-logreg -q --no-pg -t 2 --fit d.safetensors e.dnas >two
    expect_same c.safetensors d.safetensors
    { head -n 1 e.tsv; sed -n 30,31p e.tsv; } | dnas-view --from-tsv - -o few.dnas
    dnas-logreg --predict a.safetensors --format tsv e.dnas | sed -n 30,31p >want
    dnas-logreg --predict a.safetensors --format tsv few.dnas | sed -n 2,3p >got
    expect_same want got
}

test_mlp() {
    corners 20
    expect_ok dnas-logreg --mlp --hidden 10 --epochs 1000 -s 3 --fit m.safetensors e.dnas
    cut -f 1-4 "$TMP/out" >top
    expect_text top $'method\trows\tclasses\tdimensions\nmlp\t60\t3\t2'
    expect_ok dnas-logreg --predict m.safetensors --format tsv e.dnas
    awk -F '\t' 'NR > 1 && $5 != $7 { bad++ } END { print NR, bad + 0 }' "$TMP/out" >seen
    expect_text seen '61 0'
    dnas-logreg -q --no-pg --mlp --hidden 10 --epochs 20 -s 3 --fit a.safetensors e.dnas >one 2>&1
    dnas-logreg -q --no-pg --mlp --hidden 10 --epochs 20 -s 4 --fit b.safetensors e.dnas >one 2>&1
    ! cmp -s a.safetensors b.safetensors || fail "the seed changes nothing"
    grep -aq 'SD[\":]*3' m.safetensors || fail "the seed is not recorded"
    expect_ok dnas-logreg --mlp --epochs 2 --fit m.safetensors e.dnas
    grep -q 'warning: 1 of 1 fits ended before they had converged: see --epochs' "$TMP/err" ||
        fail "no warning: $(cat "$TMP/err")"
}

test_shots() {
    corners 30
    expect_ok dnas-logreg --shots 1,20 --test-per-class 10 --runs 4 e.dnas
    [ ! -s "$TMP/err" ] || fail "said: $(cat "$TMP/err")"
    cut -f 1-5 "$TMP/out" >seen
    expect_text seen $'shots\truns\tclasses\ttrain\ttest\n1\t4\t3\t3\t30\n20\t4\t3\t60\t30'
    head -n 1 "$TMP/out" | cut -f 6- >seen
    expect_text seen $'macro_f1\tmacro_f1_sd\taccuracy\taccuracy_sd\tmacro_precision\tmacro_precision_sd\tmacro_recall\tmacro_recall_sd\tmcc\tmcc_sd\tlog_loss\tlog_loss_sd'
    awk 'NR == 3 { print ($6 > 0.95), ($16 < 0.3), ($17 > 0) }' "$TMP/out" >seen
    expect_text seen '1 1 1'
    cp "$TMP/out" want
    expect_ok dnas-logreg --shots 1,20 --test-per-class 10 --runs 4 --json e.dnas
    sed -e 's/"[a-z0-9_]*": //g' -e 's/[{}]//g' -e 's/, /\t/g' "$TMP/out" >seen
    sed 1d want >values
    expect_same values seen
    expect_ok dnas-logreg --shots 20 --test-per-class 10 --runs 4 -s 1 e.dnas
    sed -n 2p "$TMP/out" >seen
    sed -n 3p want >values
    ! cmp -s values seen || fail "the seed changes nothing"
    for option in '--standardise all' '--standardise none' '-C 5' --mlp '--max-iter 2' '--tol 1'; do
        # shellcheck disable=SC2086
        expect_ok dnas-logreg -q --shots 20 --test-per-class 10 --runs 4 $option e.dnas
        sed -n 2p "$TMP/out" >seen
        ! cmp -s values seen || fail "$option changes nothing"
    done
}

test_classes_that_are_too_small() {
    corners 30
    sed -e '5,100s/\tz\t/\tx\t/' e.tsv | dnas-view --from-tsv - -o small.dnas # one row of z
    expect_sentence 1 "^dnas-logreg: small.dnas: class 'z' has 1 rows, too few for 5 shots and 10 test rows: try fewer, or --drop-small" \
        dnas-logreg --shots 1,5 --test-per-class 10 small.dnas
    [ ! -s "$TMP/out" ] || fail "output in spite of an error"
    expect_sentence 0 'warning: 1 classes have too few rows and are left out' \
        dnas-logreg --shots 1,5 --test-per-class 10 --drop-small small.dnas
    sed -n 2p "$TMP/out" | cut -f 3-5 >seen
    expect_text seen $'2\t2\t20'
    # 20 shots and 10 test rows take a class of 30 whole; one more is too much.
    expect_ok dnas-logreg --shots 20 --test-per-class 10 --runs 1 e.dnas
    expect_status 1 dnas-logreg --shots 21 --test-per-class 10 --runs 1 e.dnas
    expect_status 1 dnas-logreg --shots 20 --test-per-class 11 --runs 1 e.dnas
    expect_ok dnas-logreg --fit m.safetensors small.dnas # one row is enough to fit to
    expect_ok dnas-logreg --predict m.safetensors small.dnas
}

test_labels() {
    corners 30 10
    expect_sentence 0 'warning: 9 rows have no label and are left out' \
        dnas-logreg --shots 5 --test-per-class 10 --runs 1 e.dnas
    expect_sentence 0 'warning: 9 rows have no label and are left out' dnas-logreg --fit m.safetensors e.dnas
    sed -n 2p "$TMP/out" | cut -f 2 >seen
    expect_text seen 81
    expect_ok dnas-logreg --predict m.safetensors --format tsv e.dnas
    [ "$(wc -l <"$TMP/out")" = 91 ] || fail "rows without a label get none"
    corners 5 1
    for what in '--shots 1' '--fit m.safetensors'; do
        # shellcheck disable=SC2086
        expect_sentence 1 '^dnas-logreg: e.dnas: no row has a label: use --labels' dnas-logreg $what e.dnas
    done
    corners 5
    sed 's/\t[yz]\t/\tx\t/' e.tsv | dnas-view --from-tsv - -o one.dnas
    for what in '--shots 1' '--fit n.safetensors'; do
        # shellcheck disable=SC2086
        expect_sentence 1 "^dnas-logreg: one.dnas: all labels are 'x': there must be two or more" dnas-logreg $what one.dnas
    done
    [ ! -e n.safetensors ] || fail "a model in spite of an error"
    cut -f 1-3 e.tsv | dnas-view --from-tsv - -o bare.dnas
    expect_sentence 1 'no row has a label' dnas-logreg --shots 1 bare.dnas
}

test_ids() {
    corners 30
    sed 's/^r4\t/r3\t/' e.tsv | dnas-view --from-tsv - -o twice.dnas
    expect_sentence 1 "^dnas-logreg: twice.dnas: the id 'r3' comes twice" dnas-logreg --shots 1 --test-per-class 3 twice.dnas
    expect_ok dnas-logreg --fit m.safetensors twice.dnas
    expect_ok dnas-logreg --predict m.safetensors twice.dnas
    sed -e 's/^r\([0-9]*\)\t/a|b\/#\1\t/' -e 's/\t\([xyz]\)\t/\tsp|\1\/#"\\\t/' e.tsv | dnas-view --from-tsv - -o odd.dnas
    expect_ok dnas-logreg --fit m.safetensors odd.dnas
    expect_ok dnas-logreg --predict m.safetensors --format tsv odd.dnas
    sed -n 2p "$TMP/out" | cut -f 1,5,7 >seen
    expect_text seen $'a|b/#0\tsp|x/#"\\\tsp|x/#"\\'
}

test_no_rows() {
    corners 3
    dnas-logreg -q --fit m.safetensors e.dnas >/dev/null
    head -n 1 e.tsv | dnas-view --from-tsv - -o none.dnas
    expect_ok dnas-logreg --shots 1,2 none.dnas
    [ "$(wc -l <"$TMP/out")" = 1 ] || fail "not a heading alone: $(cat "$TMP/out")"
    expect_ok dnas-logreg --shots 1,2 --json none.dnas
    [ ! -s "$TMP/out" ] || fail "output for no rows"
    expect_ok dnas-logreg --predict m.safetensors -o k.dnas none.dnas
    expect_ok dnas-view -c k.dnas
    expect_text "$TMP/out" 0
    expect_sentence 1 '^dnas-logreg: none.dnas: has no rows: there is nothing to fit to' dnas-logreg --fit n.safetensors none.dnas
}

# Rows that say nothing: all equal, and columns that do not vary.
test_equal_rows() {
    printf 'id\tembedding_0\tembedding_1\tlabel\n' >same.tsv
    for i in 1 2 3 4 5 6; do printf '%d\t3\t0.1\t%s\n' $i $((i % 2)) >>same.tsv; done
    dnas-view --from-tsv same.tsv -o same.dnas
    expect_ok dnas-logreg --shots 1,2 --test-per-class 1 --json same.dnas
    sed 's/.*"accuracy": \([^,]*\), .*"mcc": \([^,]*\), .*"log_loss": \(......\).*/\1 \2 \3/' "$TMP/out" >seen
    expect_text seen $'0.5 0 0.6931\n0.5 0 0.6931'
    expect_ok dnas-logreg --mlp --shots 1 --test-per-class 1 same.dnas
}

test_what_is_compared() {
    random_fasta 30 5 >s.fa
    for m in tnf tnf-canonical tnf-k; do dnas-embed -q -m $m s.fa -o $m.dnas; done
    dnas-embed -q -m tnf --truncate 200 s.fa -o short.dnas
    expect_ok dnas-logreg --fit m.safetensors tnf.dnas
    expect_ok dnas-logreg --predict m.safetensors tnf.dnas
    expect_sentence 1 "^dnas-logreg: tnf-k.dnas: has 103 dimensions, but 'm.safetensors' was fitted to 256" \
        dnas-logreg --predict m.safetensors tnf-k.dnas
    expect_sentence 1 "^dnas-logreg: short.dnas: was made by another model or other settings than what 'm.safetensors' was fitted to" \
        dnas-logreg --predict m.safetensors short.dnas
    expect_sentence 1 "^dnas-logreg: missing.safetensors: .*No such file" dnas-logreg --predict missing.safetensors tnf.dnas
    cp "$DATA/golden/dnabert2_tiny/model.safetensors" other.safetensors
    expect_sentence 1 "^dnas-logreg: other.safetensors: is no model of dnas-logreg: make one with --fit" \
        dnas-logreg --predict other.safetensors tnf.dnas
    head -c -5 m.safetensors >cut.safetensors
    expect_sentence 1 "^dnas-logreg: cut.safetensors: .*truncated" dnas-logreg --predict cut.safetensors tnf.dnas
    expect_sentence 1 '^dnas-logreg: no/such/m.part: cannot be written' dnas-logreg --fit no/such/m tnf.dnas
}

test_usage() {
    corners 3
    expect_sentence 2 'what is to be done\? give one of --shots, --fit and --predict' dnas-logreg e.dnas
    expect_sentence 2 'what is to be done' dnas-logreg --shots 1 --fit m e.dnas
    expect_sentence 2 'what is to be done' dnas-logreg --predict m --fit m e.dnas
    for list in '' ',' '1,' ',1' '1,,2' 0 1,0 -1 +1 1.5 x 1x '1 ' ' 1' 1000001 99999999999999999999; do
        expect_sentence 2 "^dnas-logreg: --shots takes numbers of 1 to 1000000 with commas between, not '" dnas-logreg --shots "$list" e.dnas
    done
    for model in '' -; do
        expect_sentence 2 "--fit takes the name of a file" dnas-logreg --fit "$model" e.dnas
        expect_sentence 2 "--predict takes the name of a file" dnas-logreg --predict "$model" e.dnas
    done
    expect_sentence 2 "^dnas-logreg: --inverse-l2 takes a number" dnas-logreg -C 0 --shots 1 e.dnas
    expect_sentence 1 '^dnas-logreg: standard input: all labels|^dnas-logreg: standard input: class' \
        dnas-logreg --shots 100 <e.dnas
}

run_tests
