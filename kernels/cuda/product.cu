/* SPDX-License-Identifier: MIT
 *
 * product.cu - products of matrices by cuBLASLt, and the linear operation.
 * Contracts: product.cuh and kernels/cuda.h.
 *
 * A matrix row by row is its transpose column by column, which is what cuBLASLt takes:
 * out^T = b^T a^T.  Algorithms are asked for at one number of tokens and kept for all:
 * another algorithm for another number would give a sequence other bits in another
 * batch, and so would a split of the sum.
 *
 * Not each version of the library adds a bias in f32 to a result in bf16.  Where it
 * does not, the bias is rounded to bf16 first; where it adds none at all, a kernel does.
 */
#include "kernels/cuda/product.cuh"

#include <stdlib.h>

#include "kernels/cuda/walk.cuh"

#define WORKSPACE_BYTES ((size_t)32 << 20) /* NVIDIA's advice for sm_90 */
#define MOST_CANDIDATES 16
#define REFERENCE_TOKENS 16384
#define ALIGNMENT 16
#define MOST_BIAS ((size_t)65536)

enum bias_way { NO_BIAS, BIAS_F32, BIAS_BF16, BIAS_AFTER };

struct plan {
    size_t M, N, K; /* that of tokens is 0 */
    size_t n_batches;
    bool a_transposed, b_transposed, add, bias;
    enum dnas_cuda_type type, out_type;
    enum bias_way way;
    cublasLtMatmulAlgo_t algorithm;
};

struct dnas_cuda_products {
    cublasLtHandle_t handle;
    void *workspace;
    uint16_t *bias; /* [MOST_BIAS], rounded for the product behind it in the queue */
    struct plan *plans;
    size_t n_plans;
};

/* What describes one product to the library. */
struct description {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, out;
};

static cudaDataType_t data_type(enum dnas_cuda_type type)
{
    return type == DNAS_CUDA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

bool dnas_cuda_products_new(struct dnas_cuda *d)
{
    struct dnas_cuda_products *s = d->products = (struct dnas_cuda_products *)calloc(1, sizeof(*s));

    if (!s) {
        CUDA_FAIL(d, "out of memory");
        return false;
    }
    if (!CUBLAS_CHECK(d, cublasLtCreate(&s->handle)))
        return false;
    s->workspace = dnas_cuda_alloc(d, WORKSPACE_BYTES);
    s->bias = (uint16_t *)dnas_cuda_alloc(d, MOST_BIAS * sizeof(*s->bias));
    if (!s->workspace || !s->bias)
        CUDA_FAIL(d, "the device has no %zu bytes left for products", WORKSPACE_BYTES);
    return d->error[0] == '\0';
}

void dnas_cuda_products_free(struct dnas_cuda *d)
{
    struct dnas_cuda_products *s = d->products;

    if (!s)
        return;
    dnas_cuda_free(d, s->workspace);
    dnas_cuda_free(d, s->bias);
    if (s->handle)
        cublasLtDestroy(s->handle);
    free(s->plans);
    free(s);
    d->products = nullptr;
}

static void forget(struct description *x)
{
    if (x->product)
        cublasLtMatmulDescDestroy(x->product);
    if (x->a)
        cublasLtMatrixLayoutDestroy(x->a);
    if (x->b)
        cublasLtMatrixLayoutDestroy(x->b);
    if (x->out)
        cublasLtMatrixLayoutDestroy(x->out);
    memset(x, 0, sizeof(*x));
}

/* One product after the other. */
static bool repeat(struct dnas_cuda *d, cublasLtMatrixLayout_t x, size_t n_batches, size_t step)
{
    int32_t n = (int32_t)n_batches;
    int64_t apart = (int64_t)step;

    return CUBLAS_CHECK(d, cublasLtMatrixLayoutSetAttribute(x, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                            &n, sizeof(n))) &&
           CUBLAS_CHECK(
               d, cublasLtMatrixLayoutSetAttribute(x, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                   &apart, sizeof(apart)));
}

static bool describe(struct dnas_cuda *d, struct description *x, const struct dnas_cuda_product *p,
                     size_t M, size_t K, enum bias_way way)
{
    cublasOperation_t turn = CUBLAS_OP_T;
    cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t bias_type = way == BIAS_BF16 ? CUDA_R_16BF : CUDA_R_32F, in = data_type(p->type);
    const void *at = way == BIAS_BF16 ? (const void *)d->products->bias : p->bias;
    size_t N = p->N;

    memset(x, 0, sizeof(*x));
    if (!CUBLAS_CHECK(d, cublasLtMatmulDescCreate(&x->product, CUBLAS_COMPUTE_32F, CUDA_R_32F)))
        return false;
    /* The library's a is our b, and its b our a. */
    if (p->b_transposed)
        CUBLAS_CHECK(d, cublasLtMatmulDescSetAttribute(x->product, CUBLASLT_MATMUL_DESC_TRANSA,
                                                       &turn, sizeof(turn)));
    if (p->a_transposed)
        CUBLAS_CHECK(d, cublasLtMatmulDescSetAttribute(x->product, CUBLASLT_MATMUL_DESC_TRANSB,
                                                       &turn, sizeof(turn)));
    if (way == BIAS_F32 || way == BIAS_BF16) {
        CUBLAS_CHECK(d, cublasLtMatmulDescSetAttribute(x->product, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                       &bias, sizeof(bias)));
        CUBLAS_CHECK(d, cublasLtMatmulDescSetAttribute(
                            x->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &at, sizeof(at)));
        CUBLAS_CHECK(d,
                     cublasLtMatmulDescSetAttribute(x->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                                                    &bias_type, sizeof(bias_type)));
    }
    CUBLAS_CHECK(d, p->b_transposed ? cublasLtMatrixLayoutCreate(&x->a, in, K, N, (int64_t)K)
                                    : cublasLtMatrixLayoutCreate(&x->a, in, N, K, (int64_t)N));
    CUBLAS_CHECK(d, p->a_transposed ? cublasLtMatrixLayoutCreate(&x->b, in, M, K, (int64_t)M)
                                    : cublasLtMatrixLayoutCreate(&x->b, in, K, M, (int64_t)K));
    if (!CUBLAS_CHECK(
            d, cublasLtMatrixLayoutCreate(&x->out, data_type(p->out_type), N, M, (int64_t)N)))
        return false;
    return p->n_batches < 2 ||
           (repeat(d, x->a, p->n_batches, K * N) && repeat(d, x->b, p->n_batches, M * K) &&
            repeat(d, x->out, p->n_batches, M * N));
}

/* Whether the algorithm is one without a split, and does for many tokens and, where it is to be
 * for all, for a few numbers of them, which may be 1. */
static bool does(struct dnas_cuda *d, const struct dnas_cuda_product *p, enum bias_way way,
                 const cublasLtMatmulAlgo_t *algorithm, bool for_all)
{
    static const size_t tokens[] = {REFERENCE_TOKENS, 1, 33, 1000};
    int32_t n_splits = 0;
    uint32_t reduction = 0;

    /* Splits were not asked for; where the library tells of one none the less, it is believed. */
    (void)cublasLtMatmulAlgoConfigGetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                               &n_splits, sizeof(n_splits), nullptr);
    (void)cublasLtMatmulAlgoConfigGetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                               &reduction, sizeof(reduction), nullptr);
    if (n_splits > 1 || reduction != CUBLASLT_REDUCTION_SCHEME_NONE)
        return false;
    for (size_t i = 0; i < (for_all ? sizeof(tokens) / sizeof(*tokens) : 1); i++) {
        size_t M = p->sum_of_tokens ? p->M : tokens[i], K = p->sum_of_tokens ? tokens[i] : p->K;
        struct description x;
        cublasLtMatmulHeuristicResult_t found;
        bool fine = describe(d, &x, p, M, K, way) &&
                    cublasLtMatmulAlgoCheck(d->products->handle, x.product, x.a, x.b, x.out, x.out,
                                            algorithm, &found) == CUBLAS_STATUS_SUCCESS &&
                    found.workspaceSize <= WORKSPACE_BYTES;

        forget(&x);
        if (!fine)
            return false;
    }
    return true;
}

/* The first algorithm that does of those that the library has for so many tokens; false if there
 * is none. */
static bool choose(struct dnas_cuda *d, const struct dnas_cuda_product *p, enum bias_way way,
                   size_t tokens, bool for_all, cublasLtMatmulAlgo_t *algorithm)
{
    uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE, alignment = ALIGNMENT;
    size_t workspace = WORKSPACE_BYTES;
    cublasLtMatmulHeuristicResult_t found[MOST_CANDIDATES];
    cublasLtMatmulPreference_t wish = nullptr;
    struct description x;
    int n = 0;
    bool chosen = false;

    memset(&x, 0, sizeof(x));
    if (!CUBLAS_CHECK(d, cublasLtMatmulPreferenceCreate(&wish)))
        return false;
    CUBLAS_CHECK(d, cublasLtMatmulPreferenceSetAttribute(
                        wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &none, sizeof(none)));
    CUBLAS_CHECK(d, cublasLtMatmulPreferenceSetAttribute(wish,
                                                         CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                         &workspace, sizeof(workspace)));
    for (int k = 0; k < 4; k++) {
        static const cublasLtMatmulPreferenceAttributes_t each[4] = {
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};

        CUBLAS_CHECK(
            d, cublasLtMatmulPreferenceSetAttribute(wish, each[k], &alignment, sizeof(alignment)));
    }
    if (describe(d, &x, p, p->sum_of_tokens ? p->M : tokens, p->sum_of_tokens ? tokens : p->K,
                 way) &&
        cublasLtMatmulAlgoGetHeuristic(d->products->handle, x.product, x.a, x.b, x.out, x.out, wish,
                                       MOST_CANDIDATES, found, &n) != CUBLAS_STATUS_SUCCESS)
        n = 0;
    for (int k = 0; k < n && !chosen; k++)
        if (found[k].state == CUBLAS_STATUS_SUCCESS && found[k].workspaceSize <= WORKSPACE_BYTES &&
            does(d, p, way, &found[k].algo, for_all)) {
            *algorithm = found[k].algo;
            chosen = true;
        }
    forget(&x);
    cublasLtMatmulPreferenceDestroy(wish);
    return chosen && d->error[0] == '\0';
}

static bool fits(const struct plan *k, const struct dnas_cuda_product *p)
{
    return k->N == p->N && k->n_batches == p->n_batches && k->M == (p->sum_of_tokens ? p->M : 0) &&
           k->K == (p->sum_of_tokens ? 0 : p->K) && k->a_transposed == p->a_transposed &&
           k->b_transposed == p->b_transposed && k->add == (p->add != nullptr) &&
           k->bias == (p->bias != nullptr) && k->type == p->type && k->out_type == p->out_type;
}

static const struct plan *keep(struct dnas_cuda *d, const struct plan *k)
{
    struct dnas_cuda_products *s = d->products;
    struct plan *more = (struct plan *)realloc(s->plans, (s->n_plans + 1) * sizeof(*more));

    if (!more) {
        CUDA_FAIL(d, "out of memory");
        return nullptr;
    }
    s->plans = more;
    s->plans[s->n_plans] = *k;
    return &s->plans[s->n_plans++];
}

/* Sets k's way and algorithm.  One that does for all numbers of tokens comes first, be it found for
 * few; a way of adding the bias is given up after that; and last comes one for many tokens, with
 * which a product of few may be an error. */
static bool find(struct dnas_cuda *d, const struct dnas_cuda_product *p, struct plan *k)
{
    static const enum bias_way ways[] = {BIAS_F32, BIAS_BF16, BIAS_AFTER};
    static const size_t tokens[] = {REFERENCE_TOKENS, 1000, 33};

    for (int for_all = 1; for_all >= 0; for_all--)
        for (size_t i = 0; i < (p->bias ? 3 : 1); i++) {
            k->way = p->bias ? ways[i] : NO_BIAS;
            if (k->way == BIAS_BF16 && (p->out_type != DNAS_CUDA_BF16 || p->N > MOST_BIAS))
                continue;
            for (size_t j = 0; j < (for_all ? 3 : 1); j++)
                if (choose(d, p, k->way, tokens[j], for_all, &k->algorithm))
                    return true;
        }
    return false;
}

static const struct plan *plan_of(struct dnas_cuda *d, const struct dnas_cuda_product *p)
{
    struct plan k = {};

    for (size_t i = 0; i < d->products->n_plans; i++)
        if (fits(&d->products->plans[i], p))
            return &d->products->plans[i];
    k.M = p->sum_of_tokens ? p->M : 0;
    k.N = p->N;
    k.n_batches = p->n_batches;
    k.K = p->sum_of_tokens ? 0 : p->K;
    k.a_transposed = p->a_transposed;
    k.b_transposed = p->b_transposed;
    k.add = p->add != nullptr;
    k.bias = p->bias != nullptr;
    k.type = p->type;
    k.out_type = p->out_type;
    if (find(d, p, &k))
        return keep(d, &k);
    CUDA_FAIL(d,
              "cuBLASLt has no product of [%zu,%zu] and [%zu,%zu] in %s without a split of the sum",
              p->M, p->K, p->K, p->N, p->type == DNAS_CUDA_BF16 ? "bf16" : "f32");
    return nullptr;
}

__global__ static void __launch_bounds__(256)
    round_kernel(uint16_t *out, const float *x, unsigned n)
{
    unsigned i = block_index() * n_threads() + thread_index();

    if (i < n)
        out[i] = (uint16_t)bf16_pack(x[i], 0);
}

template <class E>
__global__ static void __launch_bounds__(256)
    bias_kernel(E *out, const float *bias, size_t M, unsigned N)
{
    for (struct walk w = walk_begin(N / 8); w.row < M; walk_on(&w)) {
        E *at = out + w.row * N + 8 * w.piece;
        float v[8], b[8];

        load8(v, at);
        load8(b, bias + 8 * w.piece);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] += b[k];
        store8(at, v);
    }
}

static void add_bias(struct dnas_cuda *d, const struct dnas_cuda_product *p)
{
    size_t blocks = dnas_cuda_grid(p->M * (p->N / 8), 256);

    if (p->out_type == DNAS_CUDA_BF16)
        LAUNCH(d, (bias_kernel<bf16>), blocks, 256, 0, (bf16 *)p->out, p->bias, p->M,
               (unsigned)p->N);
    else
        LAUNCH(d, (bias_kernel<float>), blocks, 256, 0, (float *)p->out, p->bias, p->M,
               (unsigned)p->N);
}

void dnas_cuda_multiply(struct dnas_cuda *d, const struct dnas_cuda_product *p)
{
    float one = 1, beta = p->add ? 1.0f : 0.0f;
    struct description x;
    const struct plan *k;

    if (p->N % 8 != 0 || (p->sum_of_tokens ? p->M : p->K) % 8 != 0) {
        CUDA_FAIL(d, "a product of [%zu,%zu] and [%zu,%zu]: not multiples of 8", p->M, p->K, p->K,
                  p->N);
        return;
    }
    if (p->M == 0 || p->N == 0 || p->K == 0 || !(k = plan_of(d, p)))
        return;
    if (k->way == BIAS_BF16 && !LAUNCH(d, round_kernel, (p->N + 255) / 256, 256, 0,
                                       d->products->bias, p->bias, (unsigned)p->N))
        return;
    if (describe(d, &x, p, p->M, p->K, k->way))
        CUBLAS_CHECK(d, cublasLtMatmul(d->products->handle, x.product, &one, p->b, x.a, p->a, x.b,
                                       &beta, p->add ? p->add : p->out, x.out, p->out, x.out,
                                       &k->algorithm, d->products->workspace, WORKSPACE_BYTES,
                                       d->queue));
    forget(&x);
    if (k->way == BIAS_AFTER && d->error[0] == '\0')
        add_bias(d, p);
}

void dnas_cuda_linear_fwd(struct dnas_cuda *d, void *out, const void *x, const void *w,
                          const float *bias, const void *add, size_t T, size_t O, size_t I,
                          enum dnas_cuda_type type)
{
    struct dnas_cuda_product p = {};

    if (!dnas_cuda_enter(d))
        return;
    p.out = out;
    p.a = x;
    p.b = w;
    p.add = add;
    p.bias = bias;
    p.M = T;
    p.N = O;
    p.K = I;
    p.b_transposed = true;
    p.type = p.out_type = type;
    dnas_cuda_multiply(d, &p);
}
