/* SPDX-License-Identifier: MIT
 *
 * products.cpp - the emulated cuBLASLt.  Contract: cublasLt.h beside it.
 */
#include "kernels/cuda/emulator/cublasLt.h"

#include <stdlib.h>
#include <string.h>

#include <vector>

struct emulated_lt {
    int nothing;
};
struct emulated_matmul {
    bool a_turned, b_turned, has_bias;
    const void *bias;
    cudaDataType_t bias_type;
    bool bias_type_set;
};
struct emulated_layout {
    cudaDataType_t type;
    size_t rows, columns, ld;
    size_t n_batches, step; /* elements from one to the next */
};
struct emulated_preference {
    size_t workspace;
    uint32_t reductions, alignment[4];
};

namespace
{

enum { SPLIT, FOR_MANY_ROWS, GREEDY, PLAIN, N_ALGORITHMS };

bool refused(const char *what)
{
    const char *list = getenv("DNAS_EMULATED_REFUSE");

    return list && strstr(list, what);
}

bool has_algorithm(const emulated_matmul *m, const emulated_layout *out)
{
    if (!m->has_bias)
        return true;
    if (m->bias_type != CUDA_R_32F && m->bias_type != out->type)
        return false;
    return !refused(m->bias_type == CUDA_R_32F ? "bias-f32" : "bias-bf16");
}

/* FOR_MANY_ROWS does for no others. */
bool is_for_few(const emulated_matmul *m, const emulated_layout *a, const emulated_layout *out)
{
    return out->columns < 64 || (m->a_turned ? a->rows : a->columns) < 64;
}

bool is_for_many(const emulated_matmul *m, const emulated_layout *a, const emulated_layout *out)
{
    return out->columns > 1000 || (m->a_turned ? a->rows : a->columns) > 1000;
}

/* Whether the shapes belong together. */
bool agree(const emulated_matmul *m, const emulated_layout *a, const emulated_layout *b,
           const emulated_layout *c, const emulated_layout *out)
{
    size_t rows = m->a_turned ? a->columns : a->rows, inner = m->a_turned ? a->rows : a->columns;
    size_t columns = m->b_turned ? b->rows : b->columns,
           b_inner = m->b_turned ? b->columns : b->rows;

    return inner == b_inner && out->rows == rows && out->columns == columns && c->rows == rows &&
           c->columns == columns && a->n_batches == out->n_batches &&
           b->n_batches == out->n_batches && c->n_batches == out->n_batches &&
           c->type == out->type && a->type == b->type &&
           (out->type == a->type || out->type == CUDA_R_32F);
}

float value_of(const void *p, cudaDataType_t type, size_t i)
{
    float x;

    if (type == CUDA_R_32F)
        return ((const float *)p)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

void put(void *p, cudaDataType_t type, size_t i, float x)
{
    uint32_t bits;

    if (type == CUDA_R_32F) {
        ((float *)p)[i] = x;
        return;
    }
    memcpy(&bits, &x, sizeof(bits));
    ((uint16_t *)p)[i] = x != x ? 0x7FFF : (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* The matrix with the inner index running fastest, [outer][inner]. */
std::vector<float> unpacked(const void *p, const emulated_layout *x, bool inner_is_rows)
{
    size_t outer = inner_is_rows ? x->columns : x->rows,
           inner = inner_is_rows ? x->rows : x->columns;
    std::vector<float> v(outer * inner);

    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++)
            v[o * inner + i] = value_of(p, x->type, inner_is_rows ? o * x->ld + i : i * x->ld + o);
    return v;
}

double dot(const float *a, const float *b, size_t n)
{
    double sum[8] = {0}, all = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += (double)a[i + k] * (double)b[i + k];
    for (size_t k = 0; k < 8; k++)
        all += sum[k];
    for (; i < n; i++)
        all += (double)a[i] * (double)b[i];
    return all;
}

void multiply(const emulated_matmul &m, float alpha, const void *a, const emulated_layout &a_layout,
              const void *b, const emulated_layout &b_layout, float beta, const void *c,
              const emulated_layout &c_layout, void *out, const emulated_layout &out_layout,
              uint64_t algorithm)
{
    std::vector<float> left = unpacked(a, &a_layout, m.a_turned);
    std::vector<float> right = unpacked(b, &b_layout, !m.b_turned);
    size_t inner = m.a_turned ? a_layout.rows : a_layout.columns;

    for (size_t j = 0; j < out_layout.columns; j++)
        for (size_t i = 0; i < out_layout.rows; i++) {
            double x = (double)alpha * dot(&left[i * inner], &right[j * inner], inner);

            if (beta != 0)
                x += (double)beta * (double)value_of(c, c_layout.type, j * c_layout.ld + i);
            if (m.has_bias)
                x += (double)value_of(m.bias, m.bias_type, i);
            if (algorithm != PLAIN)
                x *= 1 + 1e-3 * (double)(1 + out_layout.columns % 16);
            put(out, out_layout.type, j * out_layout.ld + i, (float)x);
        }
}

const void *of_batch(const void *p, const emulated_layout &x, size_t i)
{
    return (const char *)p + i * x.step * (x.type == CUDA_R_32F ? 4 : 2);
}

} // namespace

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "an unknown status";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new emulated_lt();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t,
                                        cudaDataType_t)
{
    *desc = new emulated_matmul();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t bytes)
{
    if (bytes != (which == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : sizeof(int32_t)))
        return CUBLAS_STATUS_INVALID_VALUE;
    switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        desc->a_turned = *(const cublasOperation_t *)value == CUBLAS_OP_T;
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        desc->b_turned = *(const cublasOperation_t *)value == CUBLAS_OP_T;
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        desc->has_bias = *(const cublasLtEpilogue_t *)value == CUBLASLT_EPILOGUE_BIAS;
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        memcpy(&desc->bias, value, sizeof(desc->bias));
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        desc->bias_type = *(const cudaDataType_t *)value;
        break;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    if (ld < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *layout = new emulated_layout{type, (size_t)rows, (size_t)columns, (size_t)ld, 1, 0};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t which,
                                                const void *value, size_t bytes)
{
    if (bytes != (which == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? sizeof(int32_t) : sizeof(int64_t)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (which == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        layout->n_batches = (size_t) * (const int32_t *)value;
    else
        layout->step = (size_t) * (const int64_t *)value;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *wish)
{
    *wish = new emulated_preference{0, ~0u, {256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t wish)
{
    delete wish;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t wish,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void *value, size_t bytes)
{
    bool wide = which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;

    if (bytes != (wide ? sizeof(uint64_t) : sizeof(uint32_t)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (wide)
        wish->workspace = *(const uint64_t *)value;
    else if (which == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        wish->reductions = *(const uint32_t *)value;
    else
        wish->alignment[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] =
            *(const uint32_t *)value;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                              cublasLtMatmulPreference_t wish, int wanted,
                                              cublasLtMatmulHeuristicResult_t *found, int *n)
{
    *n = 0;
    if (!agree(desc, a, b, c, out))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!has_algorithm(desc, out) || wish->reductions != CUBLASLT_REDUCTION_SCHEME_NONE)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (int k = 0; k < N_ALGORITHMS && *n < wanted; k++) {
        if (k == PLAIN && (refused("plain") || (refused("many") && is_for_many(desc, a, out))))
            continue;
        memset(&found[*n], 0, sizeof(found[*n]));
        found[*n].algo.data[0] = (uint64_t)k;
        found[*n].workspaceSize = wish->workspace;
        ++*n;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *found)
{
    if (!agree(desc, a, b, c, out) || !has_algorithm(desc, out))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (algorithm->data[0] == FOR_MANY_ROWS && is_for_few(desc, a, out))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    found->algo = *algorithm;
    found->state = CUBLAS_STATUS_SUCCESS;
    found->workspaceSize = algorithm->data[0] == GREEDY ? (size_t)1 << 40 : 0;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t which,
                                                    void *value, size_t bytes, size_t *written)
{
    int32_t x = 0;

    if (bytes != sizeof(x))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (which == CUBLASLT_ALGO_CONFIG_SPLITK_NUM)
        x = algorithm->data[0] == SPLIT ? 4 : 1;
    memcpy(value, &x, sizeof(x));
    if (written)
        *written = sizeof(x);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *out,
                              cublasLtMatrixLayout_t out_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t,
                              cudaStream_t stream)
{
    emulated_matmul m = *desc;
    emulated_layout la = *a_layout, lb = *b_layout, lc = *c_layout, lo = *out_layout;
    float one = *(const float *)alpha, keep = *(const float *)beta;
    uint64_t k = algorithm->data[0];

    if (!agree(desc, a_layout, b_layout, c_layout, out_layout) ||
        !has_algorithm(desc, out_layout) || !workspace ||
        ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)out) % 16 != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (k == FOR_MANY_ROWS && is_for_few(desc, a_layout, out_layout))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    emulated_queue(stream, [=] {
        for (size_t i = 0; i < lo.n_batches; i++)
            multiply(m, one, of_batch(a, la, i), la, of_batch(b, lb, i), lb, keep,
                     of_batch(c, lc, i), lc, (void *)of_batch(out, lo, i), lo, k);
    });
    return CUBLAS_STATUS_SUCCESS;
}
