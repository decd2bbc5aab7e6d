#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# provenance.sh - the chain of program lines in the header of what tools write.
# shellcheck source=tests/suite/inputs.sh
. tests/suite/inputs.sh

pg() { # pg FILE TAG: the values of a tag, in the order of the chain
    dnas-view -H "$1" | sed -n 's/^      "'"$2"'": "\{0,1\}\([^"]*\)"\{0,1\},\{0,1\}$/\1/p'
}

chain() {
    has_option "$tool" --no-pg || return
    timeout 60 "$tool" "${args[@]}" "$input" >out.dnas 2>err
    is_stream out.dnas || return # prints text
    case $input in
    *.dnas) before=$(pg "$input" ID | wc -l) ;;
    *) before=0 ;;
    esac
    [ "$(pg out.dnas ID | wc -l)" = $((before + 1)) ] ||
        fail "$tool ${args[*]}: $(pg out.dnas ID | wc -l) program lines after $before"
    [ "$(pg out.dnas ID | sort -u | wc -l)" = $((before + 1)) ] ||
        fail "$tool ${args[*]}: IDs are not unique: $(pg out.dnas ID | tr '\n' ' ')"
    [ "$(pg out.dnas PN | tail -n 1)" = "$tool" ] || fail "PN is $(pg out.dnas PN | tail -n 1)"
    [ "$(pg out.dnas VN | tail -n 1)" = "$("$tool" --version | sed -n "1s/^$tool //p")" ] ||
        fail "$tool: VN is $(pg out.dnas VN | tail -n 1)"
    [ "$(pg out.dnas PP)" = "$(pg out.dnas ID | head -n -1)" ] ||
        fail "$tool ${args[*]}: PP is $(pg out.dnas PP | tr '\n' ' ')of IDs $(pg out.dnas ID | tr '\n' ' ')"
    pg out.dnas CL | tail -n 1 | grep -q "^$tool " || fail "CL is $(pg out.dnas CL | tail -n 1)"
    # What cannot change the bytes is not in CL: the whole files agree.
    timeout 60 "$tool" -t 2 -q -o with.dnas "${args[@]}" "$input" 2>err ||
        fail "$tool -t 2 -q -o ${args[*]}: $(head -c 300 err)"
    expect_same out.dnas with.dnas
    timeout 60 "$tool" -v --threads=1 --output=with.dnas "${args[@]}" "$input" 2>err
    expect_same out.dnas with.dnas
    timeout 60 "$tool" --no-pg "${args[@]}" "$input" >without.dnas 2>err
    [ "$(pg without.dnas ID | wc -l)" = "$before" ] || fail "--no-pg adds a line: $tool ${args[*]}"
    [ "$before" = 0 ] || [ "$(pg without.dnas ID)" = "$(pg "$input" ID)" ] ||
        fail "--no-pg changes the lines before: $tool ${args[*]}"
}
test_every_writer() {
    mkdir w && cd w && use_inputs
    each_way chain
}

test_command_line() {
    printf '>a\nACGTACGT\n' >'two words.fa'
    dnas-embed -q -mtnf --truncate 7 -t 1 'two words.fa' -o a.dnas
    [ "$(pg a.dnas CL)" = 'dnas-embed --model=tnf --truncate=7 two words.fa' ] || fail "CL is $(pg a.dnas CL)"
    [ "$(pg a.dnas DV)" = cpu ] || fail "DV is $(pg a.dnas DV)"
    pg a.dnas IS | grep -qE '^(base|avx2|avx512)$' || fail "IS is $(pg a.dnas IS)"
    [ -z "$(pg a.dnas SD)" ] || fail "a seed where chance plays no part"
}

test_seed_is_recorded() {
    use_inputs
    for s in 0 42; do
        dnas-kmeans -k 3 -s $s embedded.dnas -o k.dnas
        [ "$(pg k.dnas SD)" = $s ] || fail "SD is $(pg k.dnas SD), not $s"
    done
}

# The same tool again and again: every line keeps a name of its own.
test_ids_stay_unique() {
    use_inputs
    cp embedded.dnas 0.dnas
    for i in 1 2 3; do
        expect_ok dnas-view --salvage $((i - 1)).dnas
        cp "$TMP/out" $i.dnas
    done
    pg 3.dnas ID >ids
    expect_text ids $'dnas-embed\ndnas-view\ndnas-view.1\ndnas-view.2'
}

# A name that is no UTF-8 cannot stand in JSON; the chain holds all the same.
test_file_name_that_is_not_utf8() {
    use_inputs
    cp embedded.dnas $'a\xff.dnas' || { skip "this file system takes no such name"; return; }
    expect_ok dnas-view --salvage $'a\xff.dnas'
    cp "$TMP/out" $'b\xff.dnas'
    expect_ok dnas-view --salvage $'b\xff.dnas'
    cp "$TMP/out" c.dnas
    [ "$(pg c.dnas ID | sort -u | wc -l)" = 3 ] || fail "IDs are $(pg c.dnas ID | tr '\n' ' ')"
    [ "$(pg c.dnas PP)" = "$(pg c.dnas ID | head -n -1)" ] || fail "PP is $(pg c.dnas PP | tr '\n' ' ')"
}

run_tests
