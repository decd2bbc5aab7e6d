#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# faults.sh - the n-th allocation, read, write, open, close, fsync, rename, mmap, seek, stat or
# thread fails.  Whatever fails: no crash, no hang; exit 1 and one sentence, or exit 0 and the
# right bytes; nothing under a final name that is not whole; no temporary file is left.
#
# FAULTS=N tries N calls of each kind (the first, the last, some between), FAULTS=all each one.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh
: "${FAULTS:=3}"
library=$BUILD/tests/faults/faults.so

# Files beside the output, and ways that are too slow or too odd for the table of all.
ways+='
dnas-kmedoid-bin embedded.dnas --contig2bin c2b --bioboxes boxes --bins bins --sequences small.fa --bin-table table --min-bin-size 2
dnas-graph-bin   kmer.dnas     --bins bins --sequences small.fa --min-bin-bp 0
dnas-view        embedded.dnas --npy matrix
dnas-tokenize    small.fa      -T tokenizer.json --window 80
dnas-embed       small.fa      -m tnf --shard 2/3
dnas-embed       small.fa      -m tnf --resume
dnas-embed       small.fa      --adapt own
dnas-train       tokens2.dnas  --arch bert -T tokenizer.json --layers 1 --width 8 --heads 1 -b 8 --max-steps 2 --log log
'

# What a kind of call is made to answer.
answers='alloc:ENOMEM read:EIO read:EINTR read:short write:ENOSPC write:EINTR write:short
open:EMFILE close:EIO sync:EIO rename:EACCES map:ENOMEM seek:EIO status:EIO
fread:EIO fwrite:ENOSPC thread:EAGAIN'

calls() { # calls COUNT: the numbers of the calls to try
    local count=$1 n=$FAULTS i last=0 at
    [ "$n" != all ] || n=$count
    if [ "$count" -le "$n" ]; then
        for ((i = 1; i <= count; i++)); do echo "$i"; done
        return
    fi
    # A third each from the beginning, the end and evenly between.
    for ((i = 0; i < n; i++)); do
        if ((i < n / 3)); then
            at=$((i + 1))
        elif ((i >= n - n / 3)); then
            at=$((count - n + i + 1))
        else
            at=$((n / 3 + (i - n / 3 + 1) * (count - 2 * (n / 3)) / (n - 2 * (n / 3) + 1)))
        fi
        ((at > last)) && echo "$at" && last=$at
    done
}

# made=(the files of the present folder that a run made), without those of the inputs.
find_made() {
    local f
    made=()
    for f in *; do
        [ -n "${given[$f]:-}" ] || made+=("$f")
    done
}

same_made() { # same_made NAME: the file or folder is that of the run without a fault
    # What cannot be read is what --salvage is for: it keeps the rows before.
    [[ " ${args[*]} $fault" != *'--salvage read:EIO:'* ]] || return 0
    if [ -d "$1" ]; then
        [ -d "$want/$1" ] && diff -rq "$want/$1" "$1" >/dev/null
    elif [ "$1" = log ]; then # with seconds
        [ "$(cut -f 1,2 "$want/log")" = "$(cut -f 1,2 log)" ]
    else
        cmp -s "$want/$1" "$1"
    fi
}

# may_be_left NAME STATUS: a part is, where memory ran out in the middle or --resume can use it;
# so is a checkpoint with its pairs, and the log of the steps so far.
may_be_left() {
    case $1 in
    *.part) [ "$tool" = dnas-embed ] || grep -q 'out of memory' "$TMP/err" ;;
    out.checkpoint | out.pairs | log) [ "$tool" = dnas-train ] ;;
    *) false ;;
    esac
}

struck_run() { # struck_run FAULT: one run, with all that must hold of it
    local fault=$1 what="$1 $tool ${args[*]} $input" status f lines
    rm -f "$TMP/struck"
    timeout 60 env DNAS_FAULT="$fault" DNAS_FAULT_REPORT="$TMP/struck" LD_PRELOAD="$library" \
        "$tool" -q "${output[@]}" "${args[@]}" "$input" >"$TMP/out" 2>"$TMP/err"
    status=$?
    mapfile -t lines <"$TMP/err"
    case $status in
    0)
        case $fault in
        sync:* | rename:* | write:ENOSPC:*) [ ! -e "$TMP/struck" ] || fail "is passed over: $what" ;;
        esac
        for f in "${wanted[@]}"; do
            same_made "$f" || fail "status 0, and $f is not as it should be: $what"
        done
        ;;
    1)
        [ ${#lines[@]} = 1 ] || fail "${#lines[@]} lines, not one sentence: $what: $(head -c 600 "$TMP/err")"
        case $fault in
        *:short:* | read:EINTR:* | write:EINTR:* | thread:*) fail "is not got over: $what: ${lines[*]}" ;;
        esac
        ;;
    *) fail "status $status: $what: $(head -c 300 "$TMP/err")" ;;
    esac
    find_made
    for f in "${made[@]}"; do
        same_made "$f" || { [ $status = 1 ] && may_be_left "$f"; } ||
            fail "$f is left, and not whole (status $status): $what: $(head -c 300 "$TMP/err")"
    done
    for f in "$TMPDIR"/*; do
        [ ! -e "$f" ] || fail "a temporary file is left: $what"
    done
    [ ! -e "$TMP/struck" ] || n_struck=$((n_struck + 1))
    rm -rf "${made[@]}" "${TMPDIR:?}"/*
}

struck() {
    local answer kind count n made wanted output=(-o out)
    [[ " ${args[*]} " != *' --npy '* ]] || output=()
    rm -rf "$want" "$TMP/counts" && mkdir "$want"
    expect_ok env DNAS_FAULT_REPORT="$TMP/counts" LD_PRELOAD="$library" \
        "$tool" -q "${output[@]}" "${args[@]}" "$input"
    find_made
    wanted=("${made[@]}")
    [ ${#wanted[@]} -gt 0 ] || { fail "no output: $tool ${args[*]} $input"; return; }
    mv "${made[@]}" "$want"
    for answer in $answers; do
        kind=${answer%:*}
        count=$(sed -n "s/^$kind //p" "$TMP/counts")
        for n in $(calls "${count:-0}"); do struck_run "$answer:$n"; done
    done
    # Every read and write moves one byte, where there are few enough.
    struck_run read:short:1+
    [ -n "$(find "$want" -type f -size +100k)" ] || struck_run write:short:1+
    # From the middle on there is no memory at all, and no room on the disk.
    struck_run "alloc:ENOMEM:$(($(sed -n 's/^alloc //p' "$TMP/counts") / 2 + 1))+"
    struck_run "write:ENOSPC:1+"
}

faults() {
    [ -e "$library" ] && [ -z "${SANITIZE:-}" ] || { skip "no library of faults"; return; }
    local want=$TMP/want n_struck=0 f
    local -A given=()
    mkdir w tmp && cd w && use_inputs
    dnas-tokenize -q -T tokenizer.json --max-tokens 50 pairs.dnas -o tokens2.dnas
    for f in *; do given[$f]=1; done
    TMPDIR=$TMP/tmp each_way struck "$1"
    [ "$n_struck" -gt 20 ] || fail "only $n_struck faults struck: the test is void"
}
each_tool faults

run_tests
