#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# completion.sh - bash completion offers what the tools have.
# shellcheck source=tests/lib.sh
. tests/lib.sh

# shellcheck source=man/completion/dnas.bash
. man/completion/dnas.bash
set -u

no_files=
compopt() { # stands in for the builtin, which works only while completing
    no_files="$*"
}

complete_line() { # complete_line WORD...: completes the last word; in $offered, sorted
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    no_files=
    _dnas "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    offered=$(printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"} | sort | paste -sd ' ' -)
}

offers() { # offers WANT WORD...: what is offered for the last word
    local want=$1
    shift
    complete_line "$@"
    [ "$offered" = "$want" ] || fail "'$*' offers '$offered', not '$want'"
}

offers_files() { # offers_files WORD...: nothing but what bash finds itself
    offers '' "$@"
    [ -z "$no_files" ] || fail "'$*' offers no files"
}

offers_nothing() {
    offers '' "$@"
    [ -n "$no_files" ] || fail "'$*' offers files where there is no file to name"
}

tools() {
    local t
    for t in "$ROOT"/tools/dnas-*.c; do basename "$t" .c; done
}

test_every_tool_completes_all_its_options() {
    local t
    for t in $(tools); do
        complete -p "$t" 2>/dev/null | grep -q -- '-F _dnas' || fail "$t has no completion"
        offers "$("$t" --list-options | cut -f 1 | sort | paste -sd ' ' -)" "$t" --
    done
}

test_every_choice_is_offered() {
    local t name letter choices
    for t in $(tools); do
        while IFS='|' read -r name letter choices; do
            [ -n "$choices" ] || continue
            choices=$(tr ' ' '\n' <<<"$choices" | sort | paste -sd ' ' -)
            offers "$choices" "$t" "$name" ''
            offers "$choices" "$t" "$name" '='
            offers "$choices" "$t" "$name" '=' ''
            [ "$letter" = '  ' ] || offers "$choices" "$t" "$letter" ''
        done < <("$t" --list-options | cut -f 1,2,4 | tr '\t' '|')
    done
}

test_beginnings_are_completed() {
    offers '--threads --title' dnas-plot --t
    offers '--method' dnas-plot --me
    offers '' dnas-plot --no-such
    offers 'tsne' dnas-plot --method t
    offers 'tsne' dnas-plot --method = t
    offers 'cpu cuda' dnas-embed -d c
    offers 'cpu cuda' dnas-embed -qd c
}

test_files_where_files_belong() {
    offers_files dnas-embed ''
    offers_files dnas-embed gen
    offers_files dnas-embed -o ''
    offers_files dnas-embed --output ''
    offers_files dnas-embed --output = x
    offers_files dnas-embed -qo ''
    offers_files dnas-embed -m ''
    offers_files dnas-kmeans --init c
    offers_files dnas-embed -- --th
    offers_files dnas-embed --zstd ''
    offers_files dnas-embed -q ''
}

test_nothing_where_a_number_or_text_belongs() {
    offers_nothing dnas-embed -t ''
    offers_nothing dnas-embed --threads ''
    offers_nothing dnas-embed --threads = 1
    offers_nothing dnas-embed -qt ''
    offers_nothing dnas-embed --zstd = ''
    offers_nothing dnas-plot --title ''
    offers_nothing dnas-kmeans -k ''
}

test_a_tool_by_its_path() {
    offers '--threads --truncate' "$BUILD/bin/dnas-embed" --t
}

test_a_tool_that_is_not_there() {
    offers '' /nonexistent/dnas-embed --t
}

# In a shell of its own: with nounset and without, and without an extra word said.
test_it_loads_quietly() {
    cp "$ROOT/man/completion/dnas.bash" dnas-embed
    bash --norc -c '. ./dnas-embed && complete -p dnas-embed' >out 2>err ||
        fail "it cannot be loaded: $(head -c 300 err)"
    [ ! -s err ] || fail "it says: $(head -c 300 err)"
    PATH=/usr/bin:/bin bash --norc -uc '. ./dnas-embed && complete -p dnas-embed' >out 2>err ||
        fail "installed for a tool that is not on the PATH it does not serve it: $(head -c 300 err)"
    [ ! -s err ] || fail "it says: $(head -c 300 err)"
}

run_tests
