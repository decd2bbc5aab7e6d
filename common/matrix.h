/* SPDX-License-Identifier: MIT
 *
 * matrix.h - products, factors and eigenvectors of matrices in double.
 *
 * For what is fitted in closed form (principal components, the k-mer map):
 * sums have an order that the sizes fix, so the same bytes come out for any
 * number of threads, and on every x86-64 processor.
 */
#ifndef DNAS_MATRIX_H
#define DNAS_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* out += a^T b */
struct dnas_matrix_product {
    double *out;          /* [M,N] */
    const double *a;      /* [R,M] */
    const double *b;      /* [R,N] */
    size_t R, M, N;       /* rows summed over, and shape of out */
    size_t ldo, lda, ldb; /* doubles from a row to the next */
    bool upper;           /* only tiles on and above the diagonal are wanted */
};

/* Each element of out takes its R terms in their order.  n_threads < 1 is a bug. */
void dnas_matrix_add_product(const struct dnas_matrix_product *p, int n_threads);

/* The K <= D leading eigenpairs of a symmetric matrix, largest values first.
 *   values   f64 [K]
 *   vectors  f64 [K,D]  in rows, of unit length, each of either sign
 *   a        f64 [D,D]  destroyed
 * Residuals |a v - value v| are below 1e-11 of the largest value, or what 300 restarts reach.
 * a must be finite. */
void dnas_matrix_eigen(double *values, double *vectors, double *a, size_t D, size_t K,
                       int n_threads);

/* Gives a row f64 [C] the sign that makes its largest number positive.  Numbers within 1e-6 of the
 * largest count as its equals, so that rounding does not choose between two of opposite sign. */
void dnas_matrix_fix_sign(double *row, size_t C);

/* Factors a symmetric positive definite matrix in place: a = l l^T, l in the lower triangle with
 * its diagonal; what lies above is set to 0 (Golub and Van Loan 2013, algorithm 4.2.1).
 *   a  f64 [D,D]  its lower triangle is read
 * Returns 0, or -1 where a is not positive definite as computed; a is then destroyed. */
int dnas_matrix_cholesky(double *a, size_t D);

/* b = l^-1 b in place, by forward substitution.
 *   b  f64 [D,N]      l  f64 [D,D]  lower triangle, its diagonal without zeros */
void dnas_matrix_solve_lower(double *b, const double *l, size_t D, size_t N, int n_threads);
/* b = l^-T b in place, by back substitution. */
void dnas_matrix_solve_lower_transposed(double *b, const double *l, size_t D, size_t N,
                                        int n_threads);

/* out = in^T.   out  f64 [N,M]      in  f64 [M,N]      may not overlap */
void dnas_matrix_transpose(double *out, const double *in, size_t M, size_t N);

#ifdef __cplusplus
}
#endif
#endif
