#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# examples.sh - runs the EXAMPLES of the man pages.
#
# In the section EXAMPLES, in displays (.Bd -literal ... .Ed), a line "$ ..." is
# a command (one that ends with a backslash goes on in the next line), and the
# lines behind it are what it prints, exactly.  The commands of a page run in
# order, in a folder with genomes.fa.gz, tiny.fa and a tokenizer.json.
# shellcheck source=tests/lib.sh
. tests/lib.sh

given=$TMP/.given
seconds=100 # that a command may take
[ -z "${SANITIZE:-}" ] || seconds=1000
use_given() {
    mkdir -p "$given"
    [ -e "$given/tokenizer.json" ] || {
        cp "$ROOT"/examples/genomes.fa.gz "$ROOT"/examples/tiny.fa "$given" &&
            dnas-tokenize --train 300 "$given/genomes.fa.gz" -o "$given/tokenizer.json"
    } || exit 99
    cp "$given"/* .
}

displays() { # displays PAGE: the lines of the displays in EXAMPLES, without mdoc's escapes
    awk '/^\.Sh /{ in_section = /^\.Sh EXAMPLES/ }
        /^\.Ed/ { on = 0; print "" }
        on { print }
        /^\.Bd .*-literal/ && in_section { on = 1 }' "$1" |
        sed -e 's/\\&//g' -e 's/\\-/-/g' -e "s/\\\\(aq/'/g" -e 's/\\(dq/"/g' -e 's/\\(ti/~/g' \
            -e 's/\\(ha/^/g' -e 's/\\(ga/`/g' -e 's/\\(rs/\\/g' -e 's/\\e/\\/g'
}

# split: commands to run.N, what they print to want.N (absent: nothing is shown).
split() {
    awk '
        on { print > run; on = /\\$/; next }
        /^\$ / { n++; run = "run." n; want = "want." n; sub(/^\$ /, ""); print > run; on = /\\$/; shown = 1; next }
        /^$/ { shown = 0; next }
        n && shown { print > want }
        n && !shown { print > "stray" }'
}

runs() { # runs PAGE
    local n=0 page=$1 got
    mkdir work parts
    displays "$page" | (cd parts && split)
    [ ! -e parts/stray ] || fail "$(basename "$page"): text that no command prints: $(head -n 1 parts/stray)"
    [ -e parts/run.1 ] || fail "$(basename "$page") has no examples"
    (cd work && use_given)
    while [ -e parts/run.$((n + 1)) ]; do
        n=$((n + 1))
        (cd work && timeout "$seconds" bash -e -o pipefail ../parts/run.$n >../out 2>../err </dev/null)
        got=$?
        [ $got = 0 ] || fail "$(basename "$page"): status $got: $(head -n 3 parts/run.$n): $(head -c 400 err)"
        [ ! -e parts/want.$n ] || cmp -s parts/want.$n out ||
            fail "$(basename "$page"): $(head -n 2 parts/run.$n) prints: $(diff parts/want.$n out | head -n 12)"
    done
}

for page in "$ROOT"/man/*.[1-8]; do
    [ -e "$page" ] || continue
    grep -q '^\.Sh EXAMPLES' "$page" || [[ $page == *.1 ]] || continue
    name=$(basename "$page")
    eval "test_${name//[^A-Za-z0-9]/_}() { runs '$page'; }"
done

test_there_are_pages() {
    [ -e "$ROOT/man/dnas.7" ] || [ -n "$(ls "$ROOT"/man/*.1 2>/dev/null)" ] || fail "there are no man pages"
}

# The parser itself, on a page made up here.
test_parser() {
    cat >page.1 <<'M'
.Sh DESCRIPTION
.Bd -literal
$ not an example
.Ed
.Sh EXAMPLES
Words.
.Bd -literal -offset indent
$ printf 'a\etb\en' |
> cat
.Ed
.Bd -literal -offset indent
$ printf 'x\ee' \e
	| sed 's/x/y/'
y\ee
$ true
.Ed
M
    displays page.1 | split
    expect_text run.2 $'printf \'x\\e\' \\\n\t| sed \'s/x/y/\'' # \ee is \e
    expect_text want.2 'y\e'
    expect_text run.3 'true'
    [ ! -e want.3 ] || fail "output of a command that shows none"
    [ ! -e run.4 ] || fail "a display outside EXAMPLES"
}

run_tests
