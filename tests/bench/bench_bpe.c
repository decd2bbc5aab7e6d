/* SPDX-License-Identifier: MIT
 *
 * bench_bpe.c - how fast sequences become tokens, on one thread.
 *
 * In:  a tokenizer.json and a plain FASTA
 * Out: TSV; what, MB/s of letters (best of the rounds).  memcpy and the sum of
 *      bytes over the same text say how fast the machine is just now.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bpe.h"
#include "common/msg.h"
#include "common/xmem.h"

enum { ROUNDS = 5 };

struct texts {
    char *letters;
    size_t n, cap;
    size_t *start; /* [n_seqs + 1] */
    size_t n_seqs, start_cap;
};

static void read_fasta(struct texts *t, const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t line_cap = 0;
    ssize_t got;

    if (!f) {
        dnas_msg_error("%s: cannot be opened", path);
        exit(1);
    }
    while ((got = getline(&line, &line_cap, f)) > 0) {
        size_t n = strcspn(line, "\r\n");

        if (*line == '>') {
            t->start = dnas_xgrow(t->start, &t->start_cap, t->n_seqs + 2, sizeof(*t->start));
            t->start[t->n_seqs++] = t->n;
            continue;
        }
        t->letters = dnas_xgrow(t->letters, &t->cap, t->n + n, 1);
        memcpy(t->letters + t->n, line, n);
        t->n += n;
    }
    free(line);
    fclose(f);
    if (t->n_seqs == 0) {
        dnas_msg_error("%s: no sequences", path);
        exit(1);
    }
    t->start[t->n_seqs] = t->n;
}

/* Encodes pieces of at most `piece` letters (0: whole sequences). */
static size_t encode_all(const struct dnas_bpe *bpe, const struct texts *t, size_t piece)
{
    struct dnas_bpe_encoder *enc = dnas_bpe_encoder_new();
    struct dnas_ids ids = {0};
    size_t n_tokens = 0;

    for (size_t s = 0; s < t->n_seqs; s++) {
        size_t i = t->start[s], end = t->start[s + 1];

        while (i < end) {
            size_t n = piece && piece < end - i ? piece : end - i;

            ids.n = 0;
            dnas_bpe_encode(bpe, enc, t->letters + i, n, &ids, NULL);
            n_tokens += ids.n;
            i += n;
        }
    }
    free(ids.v);
    dnas_bpe_encoder_free(enc);
    return n_tokens;
}

static void print_rate(const char *what, size_t piece, double best_s, size_t n)
{
    printf("%s", what);
    if (piece)
        printf(", pieces of %zu", piece);
    printf("\t%.1f\n", (double)n / best_s / 1e6);
}

static void bench_encode(const struct dnas_bpe *bpe, const struct texts *t, size_t piece)
{
    double best_s = 1e30;

    for (int round = 0; round < ROUNDS; round++) {
        double began = dnas_clock_s(), took_s;

        encode_all(bpe, t, piece);
        took_s = dnas_clock_s() - began;
        best_s = took_s < best_s ? took_s : best_s;
    }
    print_rate("encode", piece, best_s, t->n);
}

/* The text in 10 kb pieces, so that both stay in the cache as encoding does. */
static void bench_machine(const struct texts *t)
{
    enum { PIECE = 10000 };
    static char copy[PIECE];
    volatile uint64_t sink = 0;
    double copy_s = 1e30, sum_s = 1e30;

    for (int round = 0; round < ROUNDS; round++) {
        double began = dnas_clock_s(), took_s;
        uint64_t sum = 0;

        for (size_t i = 0; i < t->n; i += PIECE) {
            memcpy(copy, t->letters + i, t->n - i < PIECE ? t->n - i : PIECE);
            sink = sink + (unsigned char)copy[i % PIECE];
        }
        took_s = dnas_clock_s() - began;
        copy_s = took_s < copy_s ? took_s : copy_s;
        began = dnas_clock_s();
        for (size_t i = 0; i < t->n; i++)
            sum += (unsigned char)t->letters[i];
        sink = sink + sum;
        took_s = dnas_clock_s() - began;
        sum_s = took_s < sum_s ? took_s : sum_s;
    }
    print_rate("memcpy", PIECE, copy_s, t->n);
    print_rate("sum of bytes", 0, sum_s, t->n);
}

int main(int argc, char **argv)
{
    struct texts t = {0};
    struct dnas_bpe *bpe;
    struct dnas_err err;
    double began, took_s;

    dnas_msg_program(argv[0]);
    if (argc != 3) {
        fprintf(stderr, "usage: bench_bpe tokenizer.json sequences.fa\n");
        return 2;
    }
    began = dnas_clock_s();
    bpe = dnas_bpe_load(argv[1], &err);
    took_s = dnas_clock_s() - began;
    if (!bpe) {
        dnas_msg_error("%s", err.msg);
        return 1;
    }
    read_fasta(&t, argv[2]);
    printf(
        "what\tMB_per_s\n# %zu letters, %zu sequences, %.3f letters a token, loaded in %.0f ms\n",
        t.n, t.n_seqs, (double)t.n / (double)encode_all(bpe, &t, 0), 1000 * took_s);
    bench_machine(&t);
    bench_encode(bpe, &t, 150);
    bench_encode(bpe, &t, 1000);
    bench_encode(bpe, &t, 10000);
    bench_encode(bpe, &t, 0);
    dnas_bpe_free(bpe);
    free(t.letters);
    free(t.start);
    return 0;
}
