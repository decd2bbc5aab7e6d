#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# truncated.sh - input that is cut, damaged or of the wrong kind: status 1, one
# sentence that names the file, nothing under the output's name.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

# refuses FILE WHAT: the present way must refuse FILE.
refuses() {
    local got said what="$2: $tool ${args[*]} $1"
    rm -f out.*
    timeout 60 "$tool" -o out.whole "${args[@]}" "$1" >out.stdout 2>err
    got=$?
    [ $got = 1 ] || fail "status $got, not 1: $what"
    mapfile -t said <err
    [ ${#said[@]} = 1 ] || [ "$tool" = dnas-embed ] ||
        fail "not one line on stderr: $what: $(head -c 600 err)"
    [[ ${said[0]-} == "$tool: $1: "* ]] || fail "the file is not named: $what: $(head -c 300 err)"
    [ ! -e out.whole ] || fail "output under its final name: $what"
    # Only dnas-embed goes on with what it has (--resume).
    [ ! -e out.whole.part ] || [ "$tool" = dnas-embed ] || fail "a part is left: $what"
    [ ! -s out.stdout ] || fail "-o FILE, and output beside it: $what"
    # On standard output the rows before the break may stand, but no end.
    timeout 60 "$tool" "${args[@]}" "$1" >out.stdout 2>err
    got=$?
    [ $got = 1 ] || fail "status $got, not 1, on standard output: $what"
    [ ! -s out.stdout ] || ! is_stream out.stdout || ! dnas-view --check out.stdout >/dev/null 2>&1 ||
        fail "a whole stream from a broken one: $what"
}

flip() { # flip FILE OFFSET: one byte becomes another
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    head -c "$2" "$1"
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 32)))"
    tail -c +"$(($2 + 2))" "$1"
}

cut_stream() {
    case $input in *.dnas) ;; *) return ;; esac
    case " ${args[*]} " in *' --salvage '* | *' -H '*) return ;; esac
    local size json header at
    size=$(stat -c %s "$input")
    json=$(od -An -tu4 -j 12 -N 4 "$input" | tr -d ' ')
    header=$((json + 24))
    for at in 0 1 7 8 15 16 100 $((header - 1)) "$header" $((header + 1)) $((header + 63)) \
        $((header + 64)) $((header + 1000)) $((size - 65)) $((size - 64)) $((size - 1)); do
        [ "$at" -lt "$size" ] || continue
        head -c "$at" "$input" >cut.dnas
        # A text begins that way too, and an empty file holds no sequences.
        [ "$at" -gt 0 ] || [[ $tool != dnas-tokenize && $tool != dnas-embed ]] || continue
        refuses cut.dnas "cut to $at of $size bytes"
    done
    for at in 0 3 9 13 30 $((header - 20)) $((header - 3)) "$header" $((header + 5)) $((header + 20)) \
        $((header + 33)) $((header + 50)) $((header + 64)) $((header + 700)) $((size - 64)) \
        $((size - 50)) $((size - 30)) $((size - 1)); do
        flip "$input" "$at" >flipped.dnas
        refuses flipped.dnas "byte $at of $size flipped"
    done
    cat "$input" small.fa >followed.dnas
    refuses followed.dnas "text behind the end"
    (cat "$input" && head -c 30 "$input") >begun.dnas
    refuses begun.dnas "the beginning of a second stream"
}
test_streams() {
    mkdir w && cd w && use_inputs
    each_way cut_stream
}

wrong() {
    case $input in *.dnas) ;; *) return ;; esac
    [ "$tool" != dnas-view ] || return # takes all kinds
    local kind
    for kind in tokens pairs embedded clusters; do
        [ "$kind.dnas" != "${input/short/tokens}" ] || continue # short.dnas holds TOKENS too
        refuses "$kind.dnas" "the wrong kind of stream"
    done
}
test_wrong_kind() {
    mkdir w && cd w && use_inputs
    each_way wrong
}

garbage() {
    # Random bytes, letters and zeros that begin like nothing that is known.
    awk 'BEGIN { srand(7); for (i = 0; i < 5000; i++) printf "%c", 1 + int(rand() * 30) }' >noise
    head -c 5000 /dev/zero >zeros
    printf 'once upon a time\n' >prose
    for f in noise zeros prose; do refuses $f "garbage"; done
    case $tool:$input in
    dnas-tokenize:*.dnas | dnas-embed:*.dnas | dnas-train:*.dnas) ;; # take a stream and sequences alike
    *.fa | *.csv) refuses embedded.dnas "a stream of another kind" ;;
    *) refuses small.fa "sequences" ;;
    esac
}
test_garbage() {
    mkdir w && cd w && use_inputs
    each_way garbage
}

# Compressed input that is cut says so, whatever it holds.
cut_gzip() {
    [ "${args[*]}" != --from-npy ] || return # numpy's files are not compressed
    case " ${args[*]} " in *' --salvage '* | *' -H '*) return ;; esac
    local size at
    gzip -nc "$input" >whole.gz
    size=$(stat -c %s whole.gz)
    for at in 3 12 $((size / 2)) $((size - 9)) $((size - 1)); do
        head -c "$at" whole.gz >cut.gz
        refuses cut.gz "gzip cut to $at of $size bytes"
    done
    flip whole.gz $((size / 2)) >flipped.gz
    refuses flipped.gz "a bit of gzip flipped"
    (cat whole.gz && echo garbage) >followed.gz
    refuses followed.gz "garbage behind gzip"
    command -v zstd >/dev/null || return
    zstd -qc "$input" >whole.zst
    size=$(stat -c %s whole.zst)
    for at in 5 $((size / 2)) $((size - 1)); do
        head -c "$at" whole.zst >cut.zst
        refuses cut.zst "zstd cut to $at of $size bytes"
    done
}
test_compressed() {
    mkdir w && cd w && use_inputs
    each_way cut_gzip
}

# Nothing at all: an empty file has no sequences, but is no stream and no table.
empty() {
    : >empty
    case $tool:$input in
    dnas-tokenize:* | dnas-embed:*)
        [[ " ${args[*]} " != *' --train '* ]] || {
            timeout 60 "$tool" "${args[@]}" empty >out 2>err
            [ $? = 1 ] || fail "a vocabulary from nothing"
            return
        }
        expect_ok "$tool" "${args[@]}" empty
        cp "$TMP/out" none.dnas
        expect_ok dnas-view -c none.dnas
        expect_text "$TMP/out" 0
        ;;
    *) refuses empty "an empty file" ;;
    esac
}
test_empty() {
    mkdir w && cd w && use_inputs
    each_way empty
}

run_tests
