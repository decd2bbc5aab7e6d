# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# dnas.bash - completion for every dnas tool, in bash with or without the
# bash-completion package.
#
# It asks the tool: `TOOL --list-options` prints a line for each option, with
# tabs between: --name, -x or blanks, ARG or nothing, the choices for ARG.
# Files are left to bash itself, which knows about quotes and tildes.

# _dnas_option COMMAND WORD: the line of the option that WORD is, or nothing.
# In a bundle ("-qt") it is the first letter that takes an argument.
_dnas_option() {
    local letters letter line
    if [[ $2 == --* ]]; then
        grep -m 1 -e "^$2"$'\t' <<<"$1"
        return
    fi
    letters=${2#-}
    while [[ $letters ]]; do
        letter=${letters:0:1} letters=${letters:1}
        line=$(grep -m 1 -e $'\t'"-$letter"$'\t' <<<"$1")
        [[ $(cut -f 3 <<<"$line") ]] || continue
        [[ $letters ]] || printf '%s\n' "$line" # else the rest is the argument
        return
    done
}

_dnas() {
    local cur=${COMP_WORDS[COMP_CWORD]} before='' options line='' arg choices i
    COMPREPLY=()
    options=$("${1/#\~\//$HOME/}" --list-options 2>/dev/null </dev/null | grep '^--') || return 0
    # Bash cuts --name=value into three words.
    if ((COMP_CWORD > 0)); then
        before=${COMP_WORDS[COMP_CWORD - 1]}
        if [[ $cur == '=' ]]; then
            cur=
        elif [[ $before == '=' ]] && ((COMP_CWORD > 1)); then
            before=${COMP_WORDS[COMP_CWORD - 2]}
        elif [[ $before == --zstd ]]; then
            before= # takes its argument only behind =
        fi
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -- ]] && return 0 # only files are left
    done
    [[ $before == -?* ]] && line=$(_dnas_option "$options" "$before")
    arg=$(cut -f 3 <<<"$line") choices=$(cut -f 4 <<<"$line")
    if [[ $choices ]]; then
        options=$choices
    elif [[ $arg == *FILE* || $arg == MODEL || $arg == HOW ]]; then
        return 0
    elif [[ $arg ]]; then # a number or a text: there is nothing to offer
        compopt +o bashdefault +o default 2>/dev/null
        return 0
    elif [[ $cur == -* ]]; then
        options=$(cut -f 1 <<<"$options")
    else
        return 0
    fi
    while read -r line; do
        COMPREPLY+=("$line")
    done < <(compgen -W "$options" -- "$cur")
}

# Those on the PATH, and the one that this file is installed for.
while read -r _dnas_tool; do
    complete -o bashdefault -o default -F _dnas "$_dnas_tool"
done < <({ compgen -c dnas-; echo "${BASH_SOURCE[0]##*/}"; } | grep -x 'dnas-[a-z-]*' | sort -u)
unset _dnas_tool
