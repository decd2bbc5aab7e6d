/* SPDX-License-Identifier: MIT
 *
 * linear.c - matrix products on the CPU.  Contract: kernels.h.
 *
 * The one file that names oneDNN.  dnnl_sgemm has the same signature in 2.x
 * and 3.x.
 */
#include "kernels/kernels.h"

#include <stdbool.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "common/err.h"

/* libgomp's; declared here since clang's omp.h comes with another runtime. */
void omp_set_num_threads(int n_threads);

void dnas_cpu_matmul(float *out, const float *a, const float *b, size_t M, size_t N, size_t K,
                     size_t ld_out, size_t ld_a, size_t ld_b, float scale, float keep,
                     int b_transposed)
{
    dnnl_status_t status;

    if (M == 0 || N == 0)
        return;
    /* A setting of the calling thread: the split over threads would change the bits. */
    omp_set_num_threads(1);
    status =
        dnnl_sgemm('N', b_transposed ? 'T' : 'N', (dnnl_dim_t)M, (dnnl_dim_t)N, (dnnl_dim_t)K,
                   scale, a, (dnnl_dim_t)ld_a, b, (dnnl_dim_t)ld_b, keep, out, (dnnl_dim_t)ld_out);
    if (status != dnnl_success)
        DNAS_BUG("dnnl_sgemm of %zu x %zu x %zu: status %d", M, N, K, (int)status);
}

void dnas_cpu_matmul_nt(float *out, const float *a, const float *b, size_t M, size_t N, size_t K)
{
    if (K == 0)
        memset(out, 0, M * N * sizeof(*out));
    else
        dnas_cpu_matmul(out, a, b, M, N, K, N, K, K, 1, 0, 1);
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
