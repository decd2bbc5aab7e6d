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

/* The same for k-mers of 1 to DNAS_KMER_MAX letters: counts u64 [4^k], the first letter of a k-mer
 * in the top bits of its index; pieces of a long text repeat the last k - 1 letters. */
#define DNAS_KMER_MAX 8
void dnas_cpu_kmer_count(uint64_t *counts, const char *letters, size_t n, int k);
void dnas_cpu_kmer_count_plain(uint64_t *counts, const char *letters, size_t n, int k);

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

/* out[i] = x[row[i]].y, summed in double over the same lanes; y  f32 [C]. */
void dnas_cpu_dot(double *out, const float *x, const uint32_t *row, const float *y, size_t n,
                  size_t C);

/* dnas_cpu_distance2 in f32, to one row y, f32 [C]. */
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

/* Inner products of rows whose bits depend on the two rows and the instruction set alone, not on
 * where the pair stands in a call, nor on which of the two comes first: sixteen partial sums in
 * f32 (column c in lane c mod 16), then a fixed tree.  Error: (C / 16 + 5) 2^-24 |a| |b| at most.
 *   out  f32 [M,N]  rows ld_out apart; may not overlap       a  f32 [M,C]       b  f32 [N,C]
 * Fastest for blocks of 64 to 256 rows, which fit the second cache.  NaN and infinity go through;
 * C of 0 gives 0. */
void dnas_cpu_similarity(float *out, const float *a, const float *b, size_t M, size_t N, size_t C,
                         size_t ld_out);
/* The same products of named rows of x with one row y: out[i] = x[row[i]] . y.
 *   out  f32 [n]      x  f32 [.,C]      row  u32 [n]  NULL: 0..n-1      y  f32 [C] */
void dnas_cpu_similarity_rows(float *out, const float *x, const uint32_t *row, const float *y,
                              size_t n, size_t C);
/* Which of v, f32 [n], are at least limit (NaN is not): index, u32 with room for n, gets their
 * numbers in rising order, *n_index how many they are. */
void dnas_cpu_at_least(uint32_t *index, size_t *n_index, const float *v, size_t n, float limit);
/* Turns products into scores, bias - 2 product, and lists the columns whose score is not above
 * limit (NaN is listed too).
 *   listed  u32 [n]  in rising order, *n_listed of them
 *   score   f32 [n]  in: products      bias  f32 [n]
 * Rounded once or twice, as the processor has it. */
void dnas_cpu_list_nearest(uint32_t *listed, size_t *n_listed, float *score, const float *bias,
                           size_t n, float limit);
/* out += x w, for one vector: each sum takes the even inputs in their order, the odd ones in
 * theirs, and then both; the bits depend on nothing else.
 *   out  f32 [O]      w  f32 [I,O]      x  f32 [I]      may not overlap
 * O must be a multiple of 16, else a bug. */
void dnas_cpu_dense_add(float *out, const float *w, const float *x, size_t O, size_t I);

/* ---- a network of BERT's kind, forward ---- */

/* out[t] = table[ids[t]] + type: the tokens' embeddings.
 *   out  f32 [T,C]      ids  u16 [T]  below V, else a bug
 *   table  f32 [V,C]    type  f32 [C]  NULL: 0 */
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

/* out = a b with operands in bf16 and sums in f32; with add out += a b.
 *   out  f32 [M,N]      a  bf16 [M,K], or transposed [K,M]      b  bf16 [K,N], or transposed [N,K]
 * Returns 0, or -1 where oneDNN has no such product for this processor (it emulates bf16 on
 * AVX-512 without it, slowly). */
int dnas_cpu_matmul_bf16(float *out, const uint16_t *a, const uint16_t *b, size_t M, size_t N,
                         size_t K, int a_transposed, int b_transposed, int add);
/* Whether the processor has products of bf16 itself. */
int dnas_cpu_has_bf16(void);
/* out = x rounded to bf16, to nearest, ties to even.
 *   out  bf16 [n]      x  f32 [n] */
void dnas_cpu_bf16_from_f32(uint16_t *out, const float *x, size_t n);

/* out = (x - mean) / sqrt(var + eps) * weight + bias over each row of C, with the biased variance.
 *   out       f32 [N,C]  may be x         mean, rstd    f32 [N]  for backward; NULL: not wanted
 *   x         f32 [N,C]                   residual      f32 [N,C]  added to x first; NULL: 0
 *   weight    f32 [C]                     bias          f32 [C]  NULL: 0
 * N or C of 0 does nothing.  Relative error against the formula in double: 1e-6. */
void dnas_cpu_layernorm_fwd(float *out, float *mean, float *rstd, const float *x,
                            const float *residual, const float *weight, const float *bias, size_t N,
                            size_t C, float eps);

/* out = gelu(z) gate with [z | gate] a row of x; gelu(z) = z / 2 (1 + erf(z / sqrt 2)).
 *   out  f32 [N,F]      x  f32 [N,2F]
 * Error of gelu: 4e-7, and 2.3e-6 relative where z is above -5. */
void dnas_cpu_geglu_fwd(float *out, const float *x, size_t N, size_t F);

/* out = silu(z) gate with [z | gate] a row of x; silu(z) = z / (1 + e^-z).
 *   out  f32 [N,F]      x  f32 [N,2F]
 * Relative error 5e-7 where z is above -80; silu is within 1e-30 of 0 below. */
void dnas_cpu_swiglu_fwd(float *out, const float *x, size_t N, size_t F);

/* Turns pairs of channels by angles that grow with the token's place, the two halves of a head
 * being paired: (u_j, u_{j+D/2}) becomes (u_j c - u_{j+D/2} s, u_{j+D/2} c + u_j s).
 *   x      f32 [T,H D]  rows ld apart; in place
 *   turns  f32 [T,D]    a row's cosines c [D/2], then its sines s [D/2]
 *   back   turn the other way, which takes the gradient of the result to that of x
 * D odd is a bug. */
void dnas_cpu_rotary(float *x, const float *turns, size_t T, size_t H, size_t D, size_t ld,
                     int back);
/* The turns of places from..from+T-1, f32 [T,D]: by p theta_j, theta_j = 10000^(-2j/D), both
 * rounded to f32 (Su et al. 2021, equation 15). */
void dnas_cpu_rotary_turns(float *turns, size_t from, size_t T, size_t D);

/* Attention of T tokens to each other in H heads, with ALiBi's bias for both directions:
 *   p_ij = softmax_j( q_i k_j / sqrt(C/H) - slope |i - j| ),  out_i = sum_j p_ij v_j.
 *   out       f32 [T,C]      qkv  f32 [T,3C]  rows [q | k | v], a head's channels side by side
 *   slopes    f32 [H]        above 0; NULL: no bias, and nothing is skipped
 *   lse       f32 [H,T]      log of the softmax's denominator, for backward; NULL: not wanted
 *   ranges    u32 [H,dnas_cpu_attention_blocks(T),2]  for each block of queries, the first block
 *             of keys that was not skipped and the one after the last, for backward; NULL: not
 *             wanted
 *   n_scores  added to: scores that were computed, H T^2 if none was skipped; NULL: not wanted
 *   skip      leave out far keys that together cannot reach the last bit of a row's sum
 *   scratch   f32 [dnas_cpu_attention_scratch(T, C/H)]
 * T of 0 does nothing; C not a multiple of H is a bug.  NaN and infinity go through. */
void dnas_cpu_attention_fwd(float *out, float *lse, uint32_t *ranges, uint64_t *n_scores,
                            const float *qkv, const float *slopes, size_t T, size_t C, size_t H,
                            int skip, float *scratch);
size_t dnas_cpu_attention_scratch(size_t T, size_t head_dim);
size_t dnas_cpu_attention_blocks(size_t T);

/* ---- the same, backward: from the gradient of a result (dout) those of what it came from.
 * Gradients of weights are added to, so that they may be summed over calls. ---- */

/* out = scale a^T b + keep out, one call of oneDNN's sgemm on the calling thread.
 *   out  f32 [M,N]  rows ld_out apart      a  f32 [K,M]  rows ld_a apart
 *   b    f32 [K,N]  rows ld_b apart        keep of 0: what is in out does not matter */
void dnas_cpu_matmul_tn(float *out, const float *a, const float *b, size_t M, size_t N, size_t K,
                        size_t ld_out, size_t ld_a, size_t ld_b, float scale, float keep);

/* sum += the rows of x, summed in double in their order.
 *   sum  f32 [C]      x  f32 [N,C] */
void dnas_cpu_columns_sum(float *sum, const float *x, size_t N, size_t C);

/* dx = dout w + add.
 *   dx   f32 [N,I]      dout  f32 [N,O]      w  f32 [O,I]      add  f32 [N,I]  NULL: 0; not dx */
void dnas_cpu_linear_bwd(float *dx, const float *dout, const float *w, const float *add, size_t N,
                         size_t O, size_t I);

/* dw += dout^T y, dbias += the column sums of dout.
 *   dw  f32 [O,I]   dbias  f32 [O]  NULL: none   dout  f32 [N,O]   y  f32 [N,I] */
void dnas_cpu_linear_bwd_weight(float *dw, float *dbias, const float *dout, const float *y,
                                size_t N, size_t O, size_t I);

/* Of dnas_cpu_layernorm_fwd, x being the sum that was normalised.
 *   dx        f32 [N,C]  may be dout     dout, x   f32 [N,C]
 *   weight    f32 [C]                    mean, rstd  f32 [N]  from forward */
void dnas_cpu_layernorm_bwd(float *dx, const float *dout, const float *x, const float *mean,
                            const float *rstd, const float *weight, size_t N, size_t C);
/*   dweight, dbias  f32 [C]  added to; dbias NULL: none */
void dnas_cpu_layernorm_bwd_weight(float *dweight, float *dbias, const float *dout, const float *x,
                                   const float *mean, const float *rstd, size_t N, size_t C);

/*   dx  f32 [N,2F]  may be x      dout  f32 [N,F]      x  f32 [N,2F] */
void dnas_cpu_geglu_bwd(float *dx, const float *dout, const float *x, size_t N, size_t F);

/*   as dnas_cpu_geglu_bwd */
void dnas_cpu_swiglu_bwd(float *dx, const float *dout, const float *x, size_t N, size_t F);

/* out = gelu(x), and its backward dx = dout gelu'(x); all f32 [n], in place where wanted. */
void dnas_cpu_gelu_fwd(float *out, const float *x, size_t n);
void dnas_cpu_gelu_bwd(float *dx, const float *dout, const float *x, size_t n);

/* dqkv from dout; scores are computed again from lse (Dao et al. 2022, algorithm 4).
 *   dqkv  f32 [T,3C]      dout, out  f32 [T,C]      lse, ranges  from forward; ranges NULL: all
 *   scratch  f32 [dnas_cpu_attention_bwd_scratch()] */
void dnas_cpu_attention_bwd(float *dqkv, const float *dout, const float *out, const float *lse,
                            const uint32_t *ranges, const float *qkv, const float *slopes, size_t T,
                            size_t C, size_t H, float *scratch);
size_t dnas_cpu_attention_bwd_scratch(void);

/* dtable[ids[t]] += dout[t], in the order of t.
 *   dtable  f32 [V,C]      dout  f32 [T,C]      ids  u16 [T]  below V, else a bug */
void dnas_cpu_embedding_bwd(float *dtable, const float *dout, const uint16_t *ids, size_t T,
                            size_t V, size_t C);

/* Dropout, forward and backward alike: x[i] is multiplied by 0 if number i is below `drop`, else by
 * 65536 / (65536 - drop).  Number i is the half word i % 8 (low halves first) of the Philox4x32-10
 * block with counter {i / 8, counter[0], counter[1], counter[2]}.
 *   x  f32 [n]  n at most 2^35      drop  the rate times 65536, below 65536 */
void dnas_cpu_dropout(float *x, size_t n, uint32_t drop, const uint32_t counter[3],
                      const uint32_t key[2]);

/* The mean of the rows, summed in double in their order.
 *   out  f64 [C]      x  f32 [T,C]      T of 0: zero */
void dnas_cpu_meanpool_fwd(double *out, const float *x, size_t T, size_t C);

/* out = a b in double, or out + a b where keep; rows lie ld_ apart.  Each element is one sum in the
 * order of k: its bits depend on its row and column alone, not on M and N.
 *   out  f64 [M,N]      a  f64 [M,K]      b  f64 [K,N]      out may overlap neither
 * Meant for tiles that fit the caches. */
void dnas_cpu_matmul_f64(double *out, const double *a, const double *b, size_t M, size_t N,
                         size_t K, size_t ld_out, size_t ld_a, size_t ld_b, int keep);

/* The numbers of a step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019), the
 * same for all elements of a group. */
struct dnas_adamw {
    float gradient_scale; /* of clipping; 1: none */
    float keep;           /* AdamW's decay: 1 - rate x decay; 1: none */
    float l2;             /* Adam's decay, added to the gradient; 0: none */
    float beta1, one_minus_beta1;
    float beta2, one_minus_beta2;
    float rate;             /* divided by 1 - beta1^t */
    float root_correction2; /* sqrt(1 - beta2^t) */
    float eps;
};

/* w *= keep;  g = gradient_scale g + l2 w;  m = beta1 m + one_minus_beta1 g;
 * v = beta2 v + one_minus_beta2 g^2;  w -= rate m / (sqrt(v) / root_correction2 + eps).
 *   w, m, v  f32 [n]  changed in place      g  f32 [n]      none may overlap
 * Bits do not depend on how n is cut.  n of 0 does nothing.  Each element is within a few
 * roundings of f32 of the formula in double: 1e-6 relative for m and v, and for the change of w. */
void dnas_cpu_adamw_step(float *w, float *m, float *v, const float *g, size_t n,
                         const struct dnas_adamw *s);

/* *out = the sum of x^2, in double in a fixed order.
 *   x  f32 [n]      n of 0: 0.  NaN and infinity go through; nothing else can leave double. */
void dnas_cpu_sum_squares(double *out, const float *x, size_t n);
/* ---- HyenaDNA's network (Nguyen et al. 2023; Poli et al. 2023) ---- */

/* Depthwise causal convolution of three taps:
 *   out[t,c] = bias[c] + w[c,0] x[t-2,c] + w[c,1] x[t-1,c] + w[c,2] x[t,c]
 *   out  f32 [T,C]  may be x      x     f32 [T,C]  before it in memory `before` more rows (at
 *                                                  least 2 if more there are); others are 0
 *   w    f32 [C,3]                bias  f32 [C] */
void dnas_cpu_shortconv_fwd(float *out, const float *x, const float *w, const float *bias,
                            size_t before, size_t T, size_t C);
/* With before of 0:  dx  f32 [T,C], not dout;  dw  f32 [C,3], dbias  f32 [C]  added to, their sums
 * over t in double. */
void dnas_cpu_shortconv_bwd(float *dx, const float *dout, const float *w, size_t T, size_t C);
void dnas_cpu_shortconv_bwd_weight(float *dw, float *dbias, const float *dout, const float *x,
                                   size_t T, size_t C);

/* out = a b, element by element; f32 [N,C] with rows ld_ apart, out may be one of them. */
void dnas_cpu_multiply(float *out, const float *a, const float *b, size_t N, size_t C,
                       size_t ld_out, size_t ld_a, size_t ld_b);

/* out = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) and its backward dx = dout gelu'(x); all
 * f32 [n], in place where wanted.  Error: 4e-7 (1 + |x|); of the slope 1e-6. */
void dnas_cpu_gelu_tanh_fwd(float *out, const float *x, size_t n);
void dnas_cpu_gelu_tanh_bwd(float *dx, const float *dout, const float *x, size_t n);

/* Causal convolution of each column with a filter as long as the sequence:
 *   out[t,c] = skip[c] u[t,c] + sum over s <= t of k[s,c] u[t-s,c]
 *   out, u   f32  row t of column c at (c / 16) step + t ld + c mod 16: [T,C] with ld C and step
 *                 16, or columns in blocks of 16, [C / 16,T,16], with ld 16 and step 16 T, which
 *                 takes half the time; out may be u
 *   k        f32  likewise, with ld_k and step_k      skip  f32 [C]
 *   roots    f32 [dnas_cpu_longconv_n_roots(T)] from dnas_cpu_longconv_roots(roots, T)
 *   scratch  f32 [2 x 32 x dnas_cpu_longconv_size(T)], best at a multiple of 64 bytes
 * O(T log T) time.  The bits depend on these arguments and the instruction set alone.  Error
 * against the formula in double: 2e-6 of the root of the column's mean square. */
void dnas_cpu_longconv_fwd(float *out, const float *u, size_t ld, size_t step, const float *k,
                           size_t ld_k, size_t step_k, const float *skip, size_t T, size_t C,
                           const float *roots, float *scratch);
/* All [T,C]:
 *   du, dk   f32 [T,C]  du may be dout or u; dk may be u or k, not dout
 *   dskip    f32 [C]    added to
 *   scratch  f32 [3 x 32 x dnas_cpu_longconv_size(T)] */
void dnas_cpu_longconv_bwd(float *du, float *dk, float *dskip, const float *dout, const float *u,
                           const float *k, const float *skip, size_t T, size_t C,
                           const float *roots, float *scratch);
/* The transform's length: the least of 4 x 2^a, 12 x 2^a, 20 x 2^a that is no less than T. */
size_t dnas_cpu_longconv_size(size_t T);
size_t dnas_cpu_longconv_n_roots(size_t T);
void dnas_cpu_longconv_roots(float *roots, size_t T);

/* A filter given by a small network of sines at each position of 0..L-1 (Poli et al. 2023, section
 * 3.3), h = w3 s(w2 s(w1 s(w0 z + b0) + b1) + b2) with s(x) = sin(freq x), in a window that falls
 * with the position t = i / (L - 1):  k[i,c] = h[c] (exp(-t |delta[c]|) + 0.05). */
struct dnas_hyena_filter {
    size_t E, W, C, L;         /* features of a position (odd), width, channels, positions */
    const float *w0, *b0;      /* [W,E] [W] */
    const float *w1, *b1;      /* [W,W] [W] */
    const float *w2, *b2;      /* [W,W] [W] */
    const float *w3;           /* [C,W] */
    const float *freq, *delta; /* [W] [C] */
};
#define DNAS_HYENA_POSITIONS_MAX 65 /* the largest E */
/* k of positions from..from+n-1, row i of column c at (c / 16) step + i ld + c mod 16; computed in
 * double, rounded once.
 *   scratch  f64 [dnas_cpu_hyena_filter_scratch(f)] */
void dnas_cpu_hyena_filter_fwd(float *k, size_t ld, size_t step, const struct dnas_hyena_filter *f,
                               size_t from, size_t n, double *scratch);
/* From dk, f32 [n,C], of positions 0..n-1:
 *   grad  f64 [dnas_cpu_hyena_filter_n_grad(f)]  added to: those of w0, b0, w1, b1, w2, b2, w3 and
 *         freq, one after the other; delta has none */
void dnas_cpu_hyena_filter_bwd(double *grad, const float *dk, const struct dnas_hyena_filter *f,
                               size_t n, double *scratch);
size_t dnas_cpu_hyena_filter_scratch(const struct dnas_hyena_filter *f);
size_t dnas_cpu_hyena_filter_n_grad(const struct dnas_hyena_filter *f);
/* z, f32 [E], of position i of L, rounded as PyTorch rounds it: t, then cos and -sin of
 * 2 pi f i / L for (E - 1) / 2 frequencies f from 1e-4 to (E - 1) / 2 - 1. */
void dnas_cpu_hyena_position(float *z, size_t i, size_t E, size_t L);

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
