#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# vae.sh - the autoencoder: in one call and in two, what it is worth, and what is
# refused.
# shellcheck source=tests/lib.sh
. tests/lib.sh

test_one_call_and_two() {
    local n
    random_fasta 60 3 >some.fa
    expect_ok dnas-embed -q -m vae --no-pg -t 2 -o one.dnas some.fa
    expect_ok dnas-train -q --arch vae --no-pg -t 1 -o vae.safetensors some.fa
    expect_ok dnas-embed -q -m vae.safetensors --no-pg -o two.dnas some.fa
    expect_same one.dnas two.dnas
    dnas-train -q --arch vae --no-pg <some.fa >piped.safetensors
    expect_same vae.safetensors piped.safetensors
    head -c 3000 vae.safetensors | tr -dc "[:print:]" >header
    grep -qF '"architecture":"vae"' header || fail "another architecture: $(cat header)"
    # Older files say kmer, and their header is a byte longer.
    n=$(head -c 1 vae.safetensors | od -An -t u1)
    # shellcheck disable=SC2059
    {
        printf "\\$(printf %o $((n + 1)))"
        tail -c +2 vae.safetensors | LC_ALL=C sed 's/"architecture":"vae"/"architecture":"kmer"/'
    } >old.safetensors
    grep -qaF '"architecture":"kmer"' old.safetensors || fail "no older file was made"
    expect_ok dnas-embed -q -m old.safetensors --no-pg -o two.dnas some.fa
    expect_same one.dnas two.dnas
    dnas-embed -q -m vae -s 2 --no-pg -o other.dnas some.fa
    ! cmp -s one.dnas other.dnas || fail "another seed, and the same embeddings"
    dnas-train -q --arch vae --no-pg -s 2 -o seed2.safetensors some.fa
    dnas-embed -q -m seed2.safetensors --no-pg -o two.dnas some.fa
    expect_same other.dnas two.dnas
    # A shard is embedded by the model of the whole.
    for i in 1 2; do dnas-embed -q -m vae --no-pg --shard $i/2 -o $i.dnas some.fa; done
    cat 1.dnas 2.dnas >both.dnas
    dnas-view both.dnas >got.tsv && dnas-view one.dnas >want.tsv
    expect_same want.tsv got.tsv
    dnas-embed -q -m vae -s 7 -o seed.dnas some.fa
    dnas-view -H seed.dnas >header
    grep -q '"SD": "7"' header || fail "the seed is not in the header: $(cat header)"
}

test_species_are_told_apart() {
    expect_ok dnas-embed -q -m vae -o vae.dnas "$ROOT/examples/genomes.fa.gz"
    dnas-kmeans -q -k labels vae.dnas | dnas-ari >ari.tsv
    awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "ari") c = i } NR == 2 { exit !($c > 0.8) }' ari.tsv ||
        fail "species are not told apart: $(cat ari.tsv)" # 0.88; tnf-k has 0.84
}

test_options() {
    random_fasta 20 3 >some.fa
    expect_ok dnas-train --arch vae -v --latent 5 --hidden 9 --epochs 4 --alpha 1 --beta 3 --vae-dropout 0.5 \
        -o m.safetensors some.fa
    grep -qE '^dnas-train: error a number [0-9.]+ at first, [0-9.]+ at last; divergence' "$TMP/err" ||
        fail "says $(cat "$TMP/err")"
    grep -q '^dnas-train: 20 sequences in' "$TMP/err" || fail "says $(cat "$TMP/err")"
    dnas-embed -q -m m.safetensors some.fa -o e.dnas
    dnas-view -H e.dnas >header
    tr -d ' \n' <header | grep -qF '"name":"embedding","type":"f32","shape":[5]' || fail "not 5 dimensions: $(cat header)"
    head -c 3000 m.safetensors | tr -dc "[:print:]" >tensors
    grep -qF '"layers.0.weight":{"dtype":"F32","shape":[9,103]' tensors || fail "no layer of 9: $(cat tensors)"
    for option in --latent=6 --hidden=10 --epochs=5 --alpha=2 --beta=4 --vae-dropout=0.1; do
        dnas-train -q --arch vae --latent 5 --hidden 9 --epochs 4 --alpha 1 --beta 3 --vae-dropout 0.5 --no-pg \
            $option -o n.safetensors some.fa
        dnas-embed -q -m n.safetensors some.fa -o f.dnas
        dnas-view e.dnas >e.tsv && dnas-view f.dnas >f.tsv
        ! cmp -s e.tsv f.tsv || fail "$option changes nothing"
    done
}

test_refused() {
    random_fasta 5 3 >some.fa
    expect_sentence 1 '^dnas-embed: standard input: -m vae reads its input twice, so it must be a file' \
        dnas-embed -m vae <some.fa
    expect_sentence 2 '--adapt is for k-mer models; vae is as it is' dnas-embed -m vae --adapt own some.fa
    expect_sentence 2 '--reduce 33 is more than the 32 dimensions of vae' dnas-embed -m vae --reduce 33 some.fa
    expect_sentence 2 '--window and --max-tokens are for networks; vae counts' dnas-embed -m vae --window 100 some.fa
    printf '>a\nACGTACGT\n' >one.fa
    expect_sentence 1 '^dnas-train: one.fa: an autoencoder needs two sequences with a 4-mer, not 1' \
        dnas-train --arch vae -o m.safetensors one.fa
    [ ! -e m.safetensors ] || fail "a model is left"
    printf 'AC,GT\n' >p.csv
    expect_sentence 1 '^dnas-train: p.csv: holds pairs of sequences, not sequences' dnas-train --arch vae p.csv
    expect_sentence 1 '^dnas-embed: p.csv: holds pairs of sequences, not sequences' dnas-embed -m vae p.csv
    dnas-embed -q -m tnf -o e.dnas some.fa
    expect_sentence 1 '^dnas-train: e.dnas: is a dnas stream; an autoencoder learns from FASTA' \
        dnas-train --arch vae e.dnas
    for bad in --latent=0 --hidden=5000 --epochs=0 --alpha=-1 --beta=0 --vae-dropout=1; do
        expect_status 2 dnas-train --arch vae $bad some.fa
    done
}

run_tests
