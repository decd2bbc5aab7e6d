/* SPDX-License-Identifier: MIT
 *
 * kernels.h - the contract of every operation on arrays, once.
 *
 * Arrays are dense and row-major; f32 is float, and shapes stand in brackets.
 * A CPU kernel works on the calling thread alone: callers share work out over
 * threads by a partition that the data fixes, so that the bits of a result
 * never depend on the number of threads (oneDNN's bits depend on the number
 * of rows, on its threads and on the API, so its calls have fixed shapes).
 */
#ifndef DNAS_KERNELS_H
#define DNAS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts the overlapping 4-mers of a text of letters.
 *   counts   u64 [256]  added to; the 4-mer abcd has index 64 a + 16 b + 4 c + d, with
 *                       A 0, C 1, G 2, T 3
 *   letters  char [n]   A, C, G, T; a window with anything else (lower case too) is skipped
 * n below 4 does nothing.  To count a long text in pieces, begin each piece with the last
 * three letters of the one before. */
void dnas_cpu_kmer4_count(uint64_t *counts, const char *letters, size_t n);
/* The same counts by the loop that any processor runs; for tests and benchmarks. */
void dnas_cpu_kmer4_count_plain(uint64_t *counts, const char *letters, size_t n);

enum dnas_letters {
    DNAS_LETTERS_ODD,   /* something that is no letter of the alphabet was met */
    DNAS_LETTERS_ALL,   /* letters only */
    DNAS_LETTERS_BASES, /* A, C, G and T only, after folding */
};

/* Copies n letters; unless keep_case, a-z become A-Z, then U becomes T.  What is no letter comes
 * out as anything.  Returns what was met.
 *   out, in  char [n]  may not overlap */
enum dnas_letters dnas_cpu_letters_copy(char *out, const char *in, size_t n, int keep_case);
/* The same by the loop that any processor runs; for tests and benchmarks. */
enum dnas_letters dnas_cpu_letters_copy_plain(char *out, const char *in, size_t n, int keep_case);

/* Copies the letters of whole and broken lines, without their line ends, and folds them as above,
 * as far as that can be done in a hurry: it stops before what is neither a letter nor a line end,
 * before the last few bytes, and where there is no version for the processor at once.
 *   out, in       char [room], [n]    may not overlap
 *   n_out         letters written     n_other  added to: those outside A, C, G, T
 *   ended_line    set to whether the last byte used was a line end; left alone if none was used
 * Returns how many bytes of `in` were used. */
size_t dnas_cpu_letters_lines(char *out, size_t room, size_t *n_out, uint64_t *n_other,
                              int *ended_line, const char *in, size_t n, int keep_case);

/* out = a b^T, one call of oneDNN's sgemm on the calling thread.
 *   out  f32 [M,N]      a  f32 [M,K]      b  f32 [N,K]      none may overlap
 * M or N of 0 does nothing; K of 0 sets out to 0.  NaN and infinity go through.  The bits depend
 * on M: results that must not depend on neighbours need calls of a fixed M. */
void dnas_cpu_matmul_nt(float *out, const float *a, const float *b, size_t M, size_t N, size_t K);

/* out = scale a b + keep out, with rows that lie apart; one call of oneDNN's sgemm on the calling
 * thread.
 *   out  f32 [M,N]  rows ld_out apart; keep of 0: what is there does not matter
 *   a    f32 [M,K]  rows ld_a apart
 *   b    f32 [K,N], or with b_transposed [N,K], rows ld_b apart */
void dnas_cpu_matmul(float *out, const float *a, const float *b, size_t M, size_t N, size_t K,
                     size_t ld_out, size_t ld_a, size_t ld_b, float scale, float keep,
                     int b_transposed);

/* Squared distances of named rows of x to named rows of y, summed in double over 16 fixed lanes:
 * the same bits on every x86-64 processor.  out[i] = |x[row[i]] - y[which[row[i]]]|^2.
 *   out    f64 [n]
 *   x      f32 [.,C]      row    u32 [n]  NULL: 0..n-1
 *   y      f32 [.,C]      which  i32 [.]  by row of x; NULL: the first row of y for all */
void dnas_cpu_distance2(double *out, const float *x, const uint32_t *row, const float *y,
                        const int32_t *which, size_t n, size_t C);

/* The same in f32, to one row y, f32 [C]. */
void dnas_cpu_distance2_f32(float *out, const float *x, const uint32_t *row, const float *y,
                            size_t n, size_t C);

/* sum += the named rows of x, added in their order in double.
 *   sum  f64 [C]      x  f32 [.,C]      row  u32 [n] */
void dnas_cpu_rows_sum(double *sum, const float *x, const uint32_t *row, size_t n, size_t C);

/* K centres made ready for dnas_cpu_assign; arrays are the caller's and stay in place. */
struct dnas_centres {
    size_t K, C;
    const float *centre; /* [K,C] */
    float *shifted;      /* [K,C]  centre - origin */
    float *bias;         /* [K]    |shifted|^2 + 2 origin.shifted */
    double longest;      /* the largest |shifted| */
    double bias_max;     /* the largest |bias| */
};

/* Fills shifted, bias, longest and bias_max.
 *   origin  f32 [C]  any point; the nearer the middle of the data, the fewer rows need a second
 *                    look below */
void dnas_cpu_centres_prepare(struct dnas_centres *c, const float *origin);

/* The nearest centre of each row: the one of least dnas_cpu_distance2, ties to the lowest number.
 * dnas_cpu_matmul_nt only narrows the choice, so the label depends neither on the processor nor
 * on the rows beside it.
 *   label    i32 [N]
 *   upper    f64 [N]  no less than the distance (not squared) to the chosen centre
 *   lower    f64 [N]  no more than the distance to any other centre; infinity if K = 1
 *   x        f32 [N,C]
 *   length   f64 [N]  |x|              reach  f64 [N]  |x - origin|
 *   scratch  f32 [N,K]
 * x and the centres must be finite; K of 0 is a bug. */
void dnas_cpu_assign(int32_t *label, double *upper, double *lower, const float *x,
                     const double *length, const double *reach, const struct dnas_centres *c,
                     size_t N, float *scratch);

/* ---- a network of BERT's kind, forward ---- */

/* out[t] = table[ids[t]] + type: the tokens' embeddings.
 *   out  f32 [T,C]      ids  u16 [T]  below V, else a bug
 *   table  f32 [V,C]    type  f32 [C] */
void dnas_cpu_embedding_fwd(float *out, const uint16_t *ids, const float *table, const float *type,
                            size_t T, size_t V, size_t C);

/* out = y w^T + bias + residual.
 *   out       f32 [N,O]               y         f32 [N,I]
 *   w         f32 [O,I]               bias      f32 [O]    NULL: 0
 *   residual  f32 [N,O]  NULL: 0; may not be out */
void dnas_cpu_linear_fwd(float *out, const float *y, const float *w, const float *bias,
                         const float *residual, size_t N, size_t O, size_t I);

/* out += bias + residual, as above. */
void dnas_cpu_add_rows(float *out, const float *bias, const float *residual, size_t N, size_t O);

/* out = y w^T with operands in bf16 and sums in f32.
 *   out  f32 [N,O]      y  bf16 [N,I]      w  bf16 [O,I]
 * Returns 0, or -1 where oneDNN has no such product for this processor (it emulates bf16 on
 * AVX-512 without it, slowly). */
int dnas_cpu_matmul_bf16(float *out, const uint16_t *y, const uint16_t *w, size_t N, size_t O,
                         size_t I);
/* Whether the processor has products of bf16 itself. */
int dnas_cpu_has_bf16(void);
/* out = x rounded to bf16, to nearest, ties to even.
 *   out  bf16 [n]      x  f32 [n] */
void dnas_cpu_bf16_from_f32(uint16_t *out, const float *x, size_t n);

/* out = (x - mean) / sqrt(var + eps) * weight + bias over each row of C; var is the biased
 * estimate. out       f32 [N,C]  may be x                   mean, rstd  f32 [N]  saved for
 * backward; NULL: x         f32 [N,C]                                                  not wanted
 *   residual  f32 [N,C]  added to x first; NULL: 0  weight, bias  f32 [C]  bias NULL: 0
 * N or C of 0 does nothing.  Relative error against the formula in double: 1e-6. */
void dnas_cpu_layernorm_fwd(float *out, float *mean, float *rstd, const float *x,
                            const float *residual, const float *weight, const float *bias, size_t N,
                            size_t C, float eps);

/* out = gelu(z) gate with [z | gate] a row of x; gelu(z) = z / 2 (1 + erf(z / sqrt 2)).
 *   out  f32 [N,F]      x  f32 [N,2F]
 * Error of gelu: 4e-7, and 2.3e-6 relative where z is above -5. */
void dnas_cpu_geglu_fwd(float *out, const float *x, size_t N, size_t F);

/* Attention of T tokens to each other in H heads, with ALiBi's bias for both directions:
 *   p_ij = softmax_j( q_i k_j / sqrt(C/H) - slope |i - j| ),  out_i = sum_j p_ij v_j.
 *   out       f32 [T,C]      qkv  f32 [T,3C]  rows [q | k | v], a head's channels side by side
 *   slopes    f32 [H]        above 0
 *   lse       f32 [H,T]      log of the softmax's denominator, for backward; NULL: not wanted
 *   n_scores  added to: scores that were computed, H T^2 if none was skipped; NULL: not wanted
 *   skip      leave out far keys that together cannot reach the last bit of a row's sum
 *   scratch   f32 [dnas_cpu_attention_scratch(T, C/H)]
 * T of 0 does nothing; C not a multiple of H is a bug.  NaN and infinity go through. */
void dnas_cpu_attention_fwd(float *out, float *lse, uint64_t *n_scores, const float *qkv,
                            const float *slopes, size_t T, size_t C, size_t H, int skip,
                            float *scratch);
size_t dnas_cpu_attention_scratch(size_t T, size_t head_dim);

/* The mean of the rows, summed in double in their order.
 *   out  f64 [C]      x  f32 [T,C]      T of 0: zero */
void dnas_cpu_meanpool_fwd(double *out, const float *x, size_t T, size_t C);

/* out = a b in double, or out + a b where keep; rows lie ld_ apart.  Each element is one sum in the
 * order of k: its bits depend on its row and column alone, not on M and N.
 *   out  f64 [M,N]      a  f64 [M,K]      b  f64 [K,N]      out may overlap neither
 * Meant for tiles that fit the caches. */
void dnas_cpu_matmul_f64(double *out, const double *a, const double *b, size_t M, size_t N,
                         size_t K, size_t ld_out, size_t ld_a, size_t ld_b, int keep);

/* ---- classification ---- */

/* Turns scores into what gradient descent wants of them: p - 1 at the true class, p elsewhere,
 * with p = softmax(score + bias).
 *   score  f32 [N,K]  in and out     loss  f64 [N]  -log p of the true class
 *   bias   f32 [K]    NULL: 0        y     i32 [N]  0..K-1
 * Neither p - 1 nor the loss cancels where p is near 1.  Relative error against the formula in
 * double on the sums score + bias as rounded to f32: 1e-7 (10 + s), with s how far the row's
 * scores spread.  Probabilities below 1e-30 are 0.  A NaN spoils its own row. */
void dnas_cpu_softmax_loss(float *score, double *loss, const float *bias, const int32_t *y,
                           size_t N, size_t K);

/* What probabilities become when their scores change by d = change + bias:
 *   change  f32 [N,K]  in and out: q - p, with q_k = p_k e^{d_k} / sum_j p_j e^{d_j}
 *   loss    f64 [N]    log p_y - log q_y
 *   p       f32 [N,K]  probabilities      bias, y  as above
 * Errors are relative to the largest |d| of the row, however small: 1e-6 of it, as long as it is
 * below 1.  Above 88, infinity or NaN; changes below 1e-30 are 0. */
void dnas_cpu_softmax_change(float *change, double *loss, const float *bias, const float *p,
                             const int32_t *y, size_t N, size_t K);

/* p = softmax(score + bias) in place, with the same error; f32 [N,K] and f32 [K] (NULL: 0). */
void dnas_cpu_softmax(float *score, const float *bias, size_t N, size_t K);

#ifdef __cplusplus
}
#endif
#endif
