/* SPDX-License-Identifier: MIT
 *
 * similar_bound.h - few numbers a row whose products bound the similarities.
 *
 * With Q a few orthonormal directions, y = Q x and r the length of what Q
 * leaves of x, a.b <= y_a.y_b + r_a r_b (Cauchy and Schwarz).  Where Q holds
 * most of the rows' length, nearly all pairs below a threshold are known to be
 * from products of D numbers in place of C.
 */
#ifndef DNAS_SIMILAR_BOUND_H
#define DNAS_SIMILAR_BOUND_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dnas_similar_bound {
    size_t N, D;    /* D 0: no bound is worth its time */
    float *own;     /* NULL: y is the rows themselves */
    const float *y; /* [N,D] */
    float margin; /* a pair whose y_a.y_b, by sgemm in any shape, is below t - margin has a computed
                     similarity below t */
};

/* Chooses the bound that will take least time to find the pairs at or above limit among the rows
 * of x, f32 [N,C], judging by a sample of them; and computes it.  longest2 is the largest squared
 * length.  What is chosen changes the time taken alone.  Release with dnas_similar_bound_release.
 */
void dnas_similar_bound_make(struct dnas_similar_bound *b, const float *x, size_t N, size_t C,
                             float limit, double longest2, int n_threads);
void dnas_similar_bound_release(struct dnas_similar_bound *b);

#ifdef __cplusplus
}
#endif
#endif
