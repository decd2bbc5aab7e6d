/* SPDX-License-Identifier: MIT
 *
 * bench_graph.c - how fast rows are binned, and how that grows with their number.
 *
 * In:   bench_graph [THREADS [N...]]
 * Out:  a TSV, a line for each N (10000, 100000): rows, which neighbours were searched for,
 * seconds, rows a second, the share of rows in a bin of mostly their own species, bins, and the
 * share of the exact nearest neighbours that the other search finds (up to 100,000 rows)
 *
 * Rows are drawn from the noise model of the model that ships: 100 to a species, 2.5 to 20 kb.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/graph_bin.h"
#include "common/kmer_model.h"
#include "common/knn.h"
#include "common/msg.h"
#include "common/near.h"
#include "common/rng.h"
#include "common/xmem.h"

#define OF_SPECIES 100
#define K 15
#define RECALL_ROWS 100000

struct rows {
    size_t N, C;
    float *x;
    uint32_t *length_bp;
};

static struct rows make_rows(const struct dnas_plda *m, size_t N)
{
    struct rows r = {N, m->C, dnas_xalloc64(N, m->C * sizeof(*r.x)),
                     dnas_xalloc(N, sizeof(*r.length_bp))};
    size_t n_species = (N + OF_SPECIES - 1) / OF_SPECIES;
    float *middle = dnas_xalloc(n_species, m->C * sizeof(*middle));
    struct dnas_rng rng;

    dnas_rng_init(&rng, 1, DNAS_RNG_BENCH, 3, 0);
    for (size_t i = 0; i < n_species * m->C; i++)
        middle[i] = (float)(sqrt(m->between[i % m->C]) * dnas_rng_normal(&rng));
    for (size_t i = 0; i < N; i++) {
        r.length_bp[i] = (uint32_t)(2500 * exp(log(8) * dnas_rng_uniform(&rng)));
        for (size_t c = 0; c < m->C; c++)
            r.x[i * m->C + c] = (float)(middle[i % n_species * m->C + c] +
                                        sqrt(m->noise[c] + m->noise_kb[c] * 1000 / r.length_bp[i]) *
                                            dnas_rng_normal(&rng));
    }
    free(middle);
    return r;
}

/* The share of rows that are of the species that most rows of their bin are of. */
static double purity(const struct dnas_graph_bin *g, size_t n_species)
{
    uint32_t *first = dnas_xalloc(g->n_bins + 1, sizeof(*first)), *votes;
    size_t n = 0;

    votes = dnas_xzalloc(g->n_bins + 1, sizeof(*votes));
    for (size_t i = 0; i < g->N; i++) { /* Boyer and Moore 1981: the majority */
        int32_t b = g->label[i];

        if (b < 0)
            continue;
        if (votes[b] == 0)
            first[b] = (uint32_t)(i % n_species);
        votes[b] += first[b] == i % n_species ? 1 : (uint32_t)-1;
    }
    for (size_t i = 0; i < g->N; i++)
        n += g->label[i] >= 0 && first[g->label[i]] == i % n_species;
    free(first);
    free(votes);
    return (double)n / (double)g->N;
}

/* The share of nearest neighbours that the quicker search finds too. */
static double recall(const struct rows *r, const struct dnas_plda *m, int n_threads)
{
    struct dnas_knn_options o = {.k = K, .metric = DNAS_KNN_COSINE, .n_threads = n_threads};
    float *x = dnas_xalloc64(r->N, r->C * sizeof(*x));
    uint32_t *all = dnas_xalloc(r->N, K * sizeof(*all)),
             *near = dnas_xalloc(r->N, K * sizeof(*near));
    size_t n = 0;
    struct dnas_err err;

    for (size_t i = 0; i < r->N; i++)
        dnas_plda_direction(m, x + i * r->C, r->x + i * r->C, r->length_bp[i], NULL);
    if (dnas_knn_search(all, NULL, NULL, r->N, x, r->N, r->C, &o, &err) != 0 ||
        dnas_near_search(near, x, r->N, r->C, &o, &err) != 0)
        dnas_msg_error("%s", err.msg);
    for (size_t i = 0; i < r->N; i++)
        for (size_t a = 0; a < K; a++)
            for (size_t b = 0; b < K; b++)
                n += all[i * K + a] == near[i * K + b];
    free(x);
    free(all);
    free(near);
    return (double)n / (double)(r->N * K);
}

static int bench(const struct dnas_plda *m, size_t N, int n_threads)
{
    struct rows r = make_rows(m, N);
    int status = 0;

    for (int exact = N <= RECALL_ROWS; exact >= 0 && status == 0; exact--) {
        const struct dnas_graph_bin_options o = {.k = K,
                                                 .max_list = 128,
                                                 .min_size = 1,
                                                 .min_bp = 20000,
                                                 .exact_rows = exact ? SIZE_MAX : 0,
                                                 .n_threads = n_threads};
        struct dnas_graph_bin g;
        struct dnas_err err;
        double start = dnas_clock_s(), took;

        status = dnas_graph_bin_run(&g, r.x, r.length_bp, NULL, N, m->C, m, &o, &err);
        took = dnas_clock_s() - start;
        if (status != 0) {
            dnas_msg_error("%s", err.msg);
            break;
        }
        printf("%zu\t%s\t%.2f\t%.0f\t%.4f\t%zu\t", N, exact ? "exact" : "near", took,
               (double)N / took, purity(&g, (N + OF_SPECIES - 1) / OF_SPECIES), g.n_bins);
        if (!exact && N <= RECALL_ROWS)
            printf("%.4f\n", recall(&r, m, n_threads));
        else
            puts(exact ? "1" : "NA");
        fflush(stdout);
        dnas_graph_bin_release(&g);
    }
    free(r.x);
    free(r.length_bp);
    return status;
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1, status = 0;
    struct dnas_err err;
    struct dnas_kmer_model *model = dnas_kmer_model_default(&err);
    const struct dnas_kmer_parts *p;
    struct dnas_plda m;

    if (!model) {
        dnas_msg_error("%s", err.msg);
        return 1;
    }
    p = dnas_kmer_model_parts(model);
    dnas_plda_init(&m, p->between, p->noise, p->noise_kb, p->O);
    puts("rows\tneighbours\tseconds\trows_per_s\tright\tbins\trecall");
    for (int i = 2; i < argc; i++)
        status |= bench(&m, strtoul(argv[i], NULL, 10), n_threads > 0 ? n_threads : 1);
    if (argc < 3)
        status = bench(&m, 10000, n_threads) | bench(&m, 100000, n_threads);
    dnas_plda_release(&m);
    dnas_kmer_model_free(model);
    return status ? 1 : 0;
}
