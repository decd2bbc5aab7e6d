#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# inputs.sh - how each tool is run on small inputs; sourced by the other files of
# this folder.  Run by itself it checks that no tool is missing from the table.
#
# A new tool: add its lines to `ways`, and to make_inputs what they read.
# shellcheck shell=bash
# shellcheck source=tests/lib.sh
. tests/lib.sh

# A way of running a tool: its name, the input, then the options.  The input is
# the last word of the command line, and can be standard input instead unless the
# options end with --from-...
ways='
dnas-tokenize  small.fa        -T tokenizer.json
dnas-tokenize  pairs.csv       -T tokenizer.json
dnas-tokenize  pairs.dnas      -T tokenizer.json --max-tokens 50
dnas-tokenize  small.fa        -T nt --window 500
dnas-tokenize  small.fa        --train 60
dnas-pairs     small.fa        -n 40 --length 50-200 --validation 0.1
dnas-pairs     small.fa        -n 40 --length 100 --positives mutation --balance size --zstd
dnas-pairs     small.fa        --benchmark 5-20 --length 60-100
dnas-embed     small.fa        -m tnf-canonical
dnas-embed     small.fa        -m tnf-k --output-type bf16 --zstd
dnas-embed     small.fa
dnas-embed     small.fa        -m kmer.safetensors --reduce 1
dnas-embed     small.fa        -m model --truncate 60
dnas-embed     short.dnas      -m model
dnas-embed     small.fa        -m nt --logits --truncate 60
dnas-train     small.fa        --arch kmer --windows 20 --length 100-300
dnas-train     pairs.dnas      --arch kmer -k 3 --dims 2 --ridge 0.01
dnas-train     small.fa        --arch vae --epochs 3 --hidden 40 --vae-dropout 0.1
dnas-kmeans    embedded.dnas   -k 3
dnas-kmeans    embedded.dnas   -k labels --init random --format tsv
dnas-kmedoid-bin embedded.dnas
dnas-kmedoid-bin embedded.dnas  --threshold-from embedded.dnas --percentile 50 --min-bin-size 2
dnas-kmedoid-bin embedded.dnas  --threshold 0.98 --compat dnabert-s --min-bin-size 2 --format tsv --bin-table /dev/null
dnas-graph-bin kmer.dnas
dnas-graph-bin kmer.dnas       --exact-rows 0 --neighbours 3 --min-bin-bp 0 --format tsv --bin-table /dev/null
dnas-graph-bin kmer.dnas       --depth depth.tsv --read-length 100
dnas-knn       embedded.dnas   --train labelled.dnas
dnas-knn       embedded.dnas   --train labelled.dnas -n 3 --novel-above 0.01 --format tsv
dnas-knn       embedded.dnas   -n 4
dnas-logreg    embedded.dnas   --shots 1,4 --test-per-class 5 --runs 2
dnas-logreg    embedded.dnas   --mlp --shots 2 --test-per-class 5 --runs 2 --tol 1
dnas-logreg    embedded.dnas   --fit fitted.safetensors
dnas-logreg    embedded.dnas   --predict logreg.safetensors
dnas-ari       clusters.dnas
dnas-ari       clusters.tsv    --json
dnas-ari       clusters.dnas   --binning all
dnas-ari       bins.binning    --binning amber --truth gold.binning
dnas-view      embedded.dnas
dnas-view      clusters.dnas   --json
dnas-view      tokens.dnas     --check
dnas-view      embedded.dnas   -c
dnas-view      embedded.dnas   -H
dnas-view      embedded.dnas   --salvage
dnas-view      clusters.tsv    --from-tsv
dnas-view      matrix.npy      --from-npy
dnas-plot      embedded.dnas
dnas-plot      embedded.dnas   --method tsne --perplexity 5
'

tools() { # the names of all tools that are built
    local f
    for f in "$BUILD"/bin/dnas-*; do
        [ ! -x "$f" ] || basename "$f"
    done
}

make_inputs() { # make_inputs DIR RECORDS: everything that `ways` names
    mkdir -p "$1" && cd "$1" || exit 99
    {
        random_fasta "$2" 11 >small.fa
        awk 'NR % 2 && NR < 40 { s = "ACGTTGCAAC" NR; gsub(/[0-9]/, "AC", s); print s ",GATTACA" s }' \
            small.fa >pairs.csv
        # Three species: what is drawn twice as often.
        awk 'BEGIN { print "id\tseq_a\tseq_b\tsplit\tlabel"; x = 5
            for (i = 1; i <= 300; i++) {
                m = "ACGT" substr("ACG", i % 3 + 1, 1) substr("CGT", i % 3 + 1, 1); t = ""
                for (k = 0; k < 61; k++) {
                    x = (x * 16807) % 2147483647
                    t = t (k == 30 ? "\t" : substr(m, int(x / 16) % 6 + 1, 1))
                }
                print "p" i "\t" t "\t" (i % 7 == 0) "\tspecies" i % 3
            } }' >pairs.tsv
        dnas-tokenize --train 60 small.fa -o tokenizer.json &&
            dnas-tokenize -T tokenizer.json small.fa -o tokens.dnas &&
            dnas-tokenize -T tokenizer.json --truncate 60 small.fa -o short.dnas &&
            dnas-view --from-tsv pairs.tsv -o pairs.dnas &&
            dnas-embed -m tnf-canonical small.fa -o embedded.dnas &&
            cp embedded.dnas labelled.dnas &&
            dnas-embed small.fa -o kmer.dnas &&
            dnas-train --arch kmer --ridge 0.01 -k 3 small.fa -o kmer.safetensors 2>/dev/null &&
            dnas-view kmer.dnas | awk -F '\t' -v OFS='\t' '
                NR == 1 { for (i = 1; i <= NF; i++) if ($i == "length_bp") c = i
                    print "contigName", "contigLen", "totalAvgDepth", "a.bam", "a.bam-var"; next }
                { print $1, $c, NR % 7, NR % 7, NR % 5 + 1 }' >depth.tsv &&
            dnas-kmeans -k 3 embedded.dnas -o clusters.dnas &&
            dnas-logreg --fit logreg.safetensors embedded.dnas -o fitted.tsv &&
            dnas-view clusters.dnas -o clusters.tsv &&
            awk -F '\t' -v OFS='\t' 'NR == 1 { print "@SampleID:s\n@@SEQUENCEID", "BINID", "LENGTH" }
                NR > 1 { print $1, $5, $4 }' clusters.tsv >gold.binning &&
            awk -F '\t' -v OFS='\t' 'NR == 1 { print "@SampleID:s\n@@SEQUENCEID", "BINID" }
                NR > 1 { print $1, "bin" $2 }' clusters.tsv >bins.binning &&
            dnas-view --npy matrix.npy embedded.dnas &&
            mkdir model && cp tokenizer.json "$DATA"/golden/dnabert2_tiny/{config.json,model.safetensors} model &&
            cp -r "$DATA"/golden/nt_tiny nt
    } || exit 99
    cd "$ROOT" || exit 99
}

inputs=$TMP/.inputs # out of the reach of run_tests, which empties $TMP
use_inputs() { # copies the small inputs to the present folder
    [ -d "$inputs" ] || (make_inputs "$inputs" 60) || exit 99
    cp -r "$inputs"/* .
}

# each_way FUNCTION [TOOL]: calls FUNCTION with $tool, $input and @args set.
each_way() {
    local line words
    while read -r line; do
        read -ra words <<<"$line"
        [ ${#words[@]} -ge 2 ] || continue
        [ -x "$BUILD/bin/${words[0]}" ] || continue
        [ $# -lt 2 ] || [ "$2" = "${words[0]}" ] || continue
        tool=${words[0]} input=${words[1]} args=("${words[@]:2}")
        "$1"
    done <<<"$ways"
}

takes_stdin() { # whether this way can read standard input
    [[ ${#args[@]} -eq 0 || ${args[-1]} != --from-* ]]
}

options_of() { # options_of TOOL: name, letter, argument and choices of each option
    "$1" --list-options
}

has_option() { # has_option TOOL NAME
    options_of "$1" | cut -f 1 | grep -qx -- "$2"
}

# each_tool FUNCTION: makes a test of every tool, which calls FUNCTION TOOL.
each_tool() {
    local t
    for t in $(tools); do
        eval "test_$1_${t//-/_}() { $1 $t; }"
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    test_there_are_tools() {
        [ -n "$(tools)" ] || fail "no tools in $BUILD/bin"
    }
    in_table() {
        grep -q "^$1 " <<<"$ways" ||
            fail "$1 is not in the table of tests/suite/inputs.sh: add how it is run on small inputs"
    }
    each_tool in_table
    works() {
        expect_ok "$tool" "${args[@]}" "$input"
        [ -s "$TMP/out" ] || fail "no output: $tool ${args[*]} $input"
        cp "$TMP/out" first
        takes_stdin || return
        expect_ok "$tool" "${args[@]}" <"$input"
        has_option "$tool" --no-pg || expect_same first "$TMP/out"
    }
    test_all_ways_work_from_file_and_standard_input() {
        mkdir w && cd w && use_inputs
        each_way works
    }
    run_tests
fi
