/* SPDX-License-Identifier: MIT
 *
 * knn.h - nearest neighbours, exactly, and the classes that they vote for.
 *
 * Which rows are nearest, and in what order, is decided by the formula in
 * double, ties by row number.  Products in f32 only narrow the choice, with a
 * bound on their error; so the result has the same bytes for any number of
 * threads and on any x86-64 processor.
 */
#ifndef DNAS_KNN_H
#define DNAS_KNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_knn_metric {
    DNAS_KNN_COSINE,    /* rows of unit length, or zero: greatest product first, which is it */
    DNAS_KNN_EUCLIDEAN, /* least distance first */
};

struct dnas_knn_options {
    size_t k;
    enum dnas_knn_metric metric;
    int n_threads;
    bool progress; /* a line on a terminal (msg.h) */
};

/* The k nearest points of each query, nearest first.
 *   neighbour  u32 [n_queries,k]  row numbers of points
 *   value      f32 [n_queries,k]  cosines, or distances; NULL: not wanted
 *   query      f32 [n_queries,C]  NULL: the points themselves (n_queries is then n_points), and no
 *                                 row is a neighbour of itself, though an equal one is
 *   points     f32 [n_points,C]   may be the queries
 * Everything finite and no row longer than 1e18, else an error that names the row, from 1.  Fewer
 * points than k (than k + 1 without query), k of 0, 2^32 - 1 points or more: an error; without
 * queries, never.  Memory beside the arrays: 4 n_points + n_threads (32 KiB k + 4 MiB) bytes or
 * so.  Time: n_queries n_points C products, and n_queries k distances in double; rows that f32
 * cannot tell apart (a thousand copies of one) are compared in double one by one.
 * Returns 0 or -1. */
int dnas_knn_search(uint32_t *neighbour, float *value, const float *query, size_t n_queries,
                    const float *points, size_t n_points, size_t C,
                    const struct dnas_knn_options *options, struct dnas_err *err);

/* The class that most of each row's neighbours are of, ties to the lowest number, as
 * scikit-learn's KNeighborsClassifier with uniform weights, and the share of its votes.
 *   predicted  i32 [N]       share  f32 [N]
 *   neighbour  u32 [N,k]     class_of  i32 [.], by point, 0 or more */
void dnas_knn_vote(int32_t *predicted, float *share, const uint32_t *neighbour,
                   const int32_t *class_of, size_t N, size_t k);

#ifdef __cplusplus
}
#endif
#endif
