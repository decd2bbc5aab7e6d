/* SPDX-License-Identifier: MIT
 *
 * linear.c - matrix products on the CPU.  Contract: kernels.h.
 *
 * The one file that names oneDNN, and that knows how its versions 2 and 3
 * differ: in f32 not at all (dnnl_sgemm), in bf16 in how a product is described.
 */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "common/err.h"
#include "kernels/isa.h"

/* libgomp's; declared here since clang's omp.h comes with another runtime. */
void omp_set_num_threads(int n_threads);

__attribute__((noreturn)) static void failed(dnnl_status_t status, size_t M, size_t N, size_t K)
{
    if (status == dnnl_out_of_memory)
        dnas_out_of_memory("a product of oneDNN's");
    DNAS_BUG("oneDNN's product of %zu x %zu x %zu: status %d", M, N, K, (int)status);
}

static void sgemm(char a_form, char b_form, float *out, const float *a, const float *b, size_t M,
                  size_t N, size_t K, size_t ld_out, size_t ld_a, size_t ld_b, float scale,
                  float keep)
{
    dnnl_status_t status;

    if (M == 0 || N == 0)
        return;
    /* A setting of the calling thread: the split over threads would change the bits. */
    omp_set_num_threads(1);
    status = dnnl_sgemm(a_form, b_form, (dnnl_dim_t)M, (dnnl_dim_t)N, (dnnl_dim_t)K, scale, a,
                        (dnnl_dim_t)ld_a, b, (dnnl_dim_t)ld_b, keep, out, (dnnl_dim_t)ld_out);
    if (status != dnnl_success)
        failed(status, M, N, K);
}

void dnas_cpu_matmul(float *out, const float *a, const float *b, size_t M, size_t N, size_t K,
                     size_t ld_out, size_t ld_a, size_t ld_b, float scale, float keep,
                     int b_transposed)
{
    sgemm('N', b_transposed ? 'T' : 'N', out, a, b, M, N, K, ld_out, ld_a, ld_b, scale, keep);
}

void dnas_cpu_matmul_tn(float *out, const float *a, const float *b, size_t M, size_t N, size_t K,
                        size_t ld_out, size_t ld_a, size_t ld_b, float scale, float keep)
{
    sgemm('T', 'N', out, a, b, M, N, K, ld_out, ld_a, ld_b, scale, keep);
}

void dnas_cpu_matmul_nt(float *out, const float *a, const float *b, size_t M, size_t N, size_t K)
{
    if (K == 0)
        memset(out, 0, M * N * sizeof(*out));
    else
        dnas_cpu_matmul(out, a, b, M, N, K, N, K, K, 1, 0, 1);
}

void dnas_cpu_add_rows(float *out, const float *bias, const float *residual, size_t N, size_t O)
{
    for (size_t row = 0; (bias || residual) && row < N; row++)
        for (size_t i = 0; i < O; i++)
            out[row * O + i] += (bias ? bias[i] : 0) + (residual ? residual[row * O + i] : 0);
}

void dnas_cpu_linear_fwd(float *out, const float *y, const float *w, const float *bias,
                         const float *residual, size_t N, size_t O, size_t I)
{
    bool filled = bias || residual;

    for (size_t row = 0; filled && row < N; row++)
        for (size_t i = 0; i < O; i++)
            out[row * O + i] = (bias ? bias[i] : 0) + (residual ? residual[row * O + i] : 0);
    dnas_cpu_matmul(out, y, w, N, O, I, O, I, I, 1, filled ? 1 : 0, 1);
}

void dnas_cpu_linear_bwd(float *dx, const float *dout, const float *w, const float *add, size_t N,
                         size_t O, size_t I)
{
    if (add)
        memcpy(dx, add, N * I * sizeof(*dx));
    dnas_cpu_matmul(dx, dout, w, N, I, O, I, O, I, 1, add ? 1 : 0, 0);
}

void dnas_cpu_linear_bwd_weight(float *dw, float *dbias, const float *dout, const float *y,
                                size_t N, size_t O, size_t I)
{
    if (N > 0)
        dnas_cpu_matmul_tn(dw, dout, y, O, I, N, I, O, I, 1, 1);
    if (dbias)
        dnas_cpu_columns_sum(dbias, dout, N, O);
}

/* ---- bf16 ---- */

int dnas_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    return dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core_bf16 &&
           dnas_isa() == DNAS_ISA_AVX512;
#else
    return 0;
#endif
}

static dnnl_engine_t engine; /* made once, never freed: it has no state of ours */

static void make_engine(void)
{
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        DNAS_BUG("oneDNN has no engine for the processor");
}

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t described;

static dnnl_status_t describe(described *d, size_t rows, size_t columns, size_t row_stride,
                              size_t column_stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};

    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *p, described src, described weights,
                                      described dst, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(p, engine, src, weights, NULL, dst, attr);
}

static dnnl_status_t append_sum(dnnl_post_ops_t then)
{
    return dnnl_post_ops_append_sum(then, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t make_memory(dnnl_memory_t *m, described d, const void *data)
{
    return dnnl_memory_create(m, d, engine, (void *)data);
}

static void release_described(described d)
{
    dnnl_memory_desc_destroy(d);
}
#else
typedef dnnl_memory_desc_t described;

static dnnl_status_t describe(described *d, size_t rows, size_t columns, size_t row_stride,
                              size_t column_stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};

    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *p, described src, described weights,
                                      described dst, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t product;
    dnnl_status_t status = dnnl_matmul_desc_init(&product, &src, &weights, NULL, &dst);

    return status == dnnl_success ? dnnl_primitive_desc_create(p, &product, attr, engine, NULL)
                                  : status;
}

static dnnl_status_t append_sum(dnnl_post_ops_t then)
{
    return dnnl_post_ops_append_sum(then, 1);
}

static dnnl_status_t make_memory(dnnl_memory_t *m, described d, const void *data)
{
    return dnnl_memory_create(m, &d, engine, (void *)data);
}

static void release_described(described d)
{
    (void)d;
}
#endif

/* Runs the primitive on the three arrays; oneDNN keeps primitives of a shape
 * in a cache of its own. */
static dnnl_status_t run_product(dnnl_primitive_t primitive, dnnl_memory_t *memory)
{
    const int names[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_exec_arg_t args[3];
    dnnl_stream_t stream;
    dnnl_status_t status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);

    if (status != dnnl_success)
        return status;
    for (int i = 0; i < 3; i++)
        args[i] = (dnnl_exec_arg_t){names[i], memory[i]};
    status = dnnl_primitive_execute(primitive, stream, 3, args);
    if (status == dnnl_success)
        status = dnnl_stream_wait(stream);
    dnnl_stream_destroy(stream);
    return status;
}

/* What the sum that is there already needs; NULL on an error. */
static dnnl_primitive_attr_t adding(void)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t then = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);

    if (status == dnnl_success)
        status = dnnl_post_ops_create(&then);
    if (status == dnnl_success)
        status = append_sum(then);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attr, then);
    if (then)
        dnnl_post_ops_destroy(then);
    if (status != dnnl_success)
        DNAS_BUG("a sum cannot be described");
    return attr;
}

int dnas_cpu_matmul_bf16(float *out, const uint16_t *a, const uint16_t *b, size_t M, size_t N,
                         size_t K, int a_transposed, int b_transposed, int add)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const void *data[3] = {a, b, out};
    described shape[3];
    dnnl_memory_t memory[3] = {NULL};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t product = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_status_t status;

    if (M == 0 || N == 0)
        return 0;
    if (K == 0) {
        if (!add)
            memset(out, 0, M * N * sizeof(*out));
        return 0;
    }
    attr = add ? adding() : NULL;
    omp_set_num_threads(1);
    pthread_once(&once, make_engine);
    if (describe(&shape[0], M, K, a_transposed ? 1 : K, a_transposed ? M : 1, dnnl_bf16) !=
            dnnl_success ||
        describe(&shape[1], K, N, b_transposed ? 1 : N, b_transposed ? K : 1, dnnl_bf16) !=
            dnnl_success ||
        describe(&shape[2], M, N, N, 1, dnnl_f32) != dnnl_success)
        DNAS_BUG("a product of %zu x %zu x %zu cannot be described", M, N, K);
    status = describe_product(&product, shape[0], shape[1], shape[2], attr);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&primitive, product);
    for (int i = 0; status == dnnl_success && i < 3; i++)
        status = make_memory(&memory[i], shape[i], data[i]);
    if (status == dnnl_success)
        status = run_product(primitive, memory);
    for (int i = 0; i < 3; i++) {
        if (memory[i])
            dnnl_memory_destroy(memory[i]);
        release_described(shape[i]);
    }
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (product)
        dnnl_primitive_desc_destroy(product);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success && status != dnnl_unimplemented)
        failed(status, M, N, K);
    return status == dnnl_success ? 0 : -1;
}
