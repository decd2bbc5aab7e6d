/* SPDX-License-Identifier: MIT
 *
 * simt.h - what kernels use of a GPU: one source for nvcc and for the emulator.
 *
 * Under nvcc these are PTX instructions; under another compiler fibers on the CPU play
 * the lanes (emulator/lanes.h), so that wrong indices, barriers and waits are found
 * without a GPU.  Kernels take all shared memory from shared_memory() and are launched
 * by SIMT_LAUNCH; warps are whole.
 */
#ifndef DNAS_CUDA_SIMT_H
#define DNAS_CUDA_SIMT_H

#include <cuda_runtime.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static __device__ __forceinline__

/* Of activations in memory. */
struct bf16 {
    uint16_t bits;
};

#ifdef __CUDACC__

#define SIMT_LAUNCH(name, kernel, n_blocks, n_threads, shared_bytes, stream, ...)                  \
    (kernel)<<<(unsigned)(n_blocks), (unsigned)(n_threads), shared_bytes, stream>>>(__VA_ARGS__)

extern __shared__ __align__(1024) unsigned char simt_shared[];

DEVICE unsigned char *shared_memory(void)
{
    return simt_shared;
}
DEVICE unsigned thread_index(void)
{
    return threadIdx.x;
}
DEVICE unsigned block_index(void)
{
    return blockIdx.x;
}
DEVICE unsigned n_threads(void)
{
    return blockDim.x;
}
DEVICE unsigned n_blocks(void)
{
    return gridDim.x;
}
DEVICE void block_barrier(void)
{
    __syncthreads();
}
DEVICE void warp_barrier(void)
{
    __syncwarp();
}
DEVICE float shuffle(float x, unsigned from)
{
    return __shfl_sync(~0u, x, (int)from);
}
DEVICE float shuffle_xor(float x, unsigned mask)
{
    return __shfl_xor_sync(~0u, x, (int)mask);
}
DEVICE double shuffle_xor(double x, unsigned mask)
{
    return __shfl_xor_sync(~0u, x, (int)mask);
}
DEVICE uint32_t shuffle_xor(uint32_t x, unsigned mask)
{
    return __shfl_xor_sync(~0u, x, (int)mask);
}
DEVICE bool warp_any(bool x)
{
    return __any_sync(~0u, x) != 0;
}
DEVICE uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
/* Four 8 x 8 matrices of 16 bits from shared memory: lane 8 m + r gives the address of row r of
 * matrix m; r[m] gets columns 2 (lane % 4) and the next of row lane / 4. */
DEVICE void matrices_load(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/* The same, each matrix transposed. */
DEVICE void matrices_load_turned(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/* c += a b for 16 x 16 by 16 x 8, in bf16 with f32 sums.  Lane 4 g + t has, of a, rows g, g + 8, g,
 * g + 8 at columns 2t, 2t, 2t + 8, 2t + 8 and the next; of b column g, rows 2t and 2t + 8 and the
 * next; of c rows g, g, g + 8, g + 8 at columns 2t, 2t + 1, 2t, 2t + 1. */
DEVICE void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/* 16 bytes to shared memory, or zeros where not inside (`from` is then any valid address). */
DEVICE void copy_async16(void *shared, const void *from, bool inside)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
                 : "memory");
}
/* Ends a group of copies. */
DEVICE void copy_async_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Waits for this thread's copies but for the last N groups; other threads' need a barrier. */
template <int N> DEVICE void copy_async_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
/* 2^x to 2 units in the last place; below 2^-126: 0. */
DEVICE float exp2_fast(float x)
{
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* Two values rounded to bf16, to nearest, ties to even. */
DEVICE uint32_t bf16_pack(float low, float high)
{
    uint32_t r;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
DEVICE float bits_float(uint32_t bits)
{
    return __uint_as_float(bits);
}
/* 16 bytes at a multiple of 16. */
DEVICE uint4 load16(const void *p)
{
    return *(const uint4 *)p;
}
DEVICE void store16(void *p, uint4 v)
{
    *(uint4 *)p = v;
}

#else

#include "kernels/cuda/emulator/lanes.h"

#define SIMT_LAUNCH(name, kernel, n_blocks, n_threads, shared_bytes, stream, ...)                  \
    emulated_call(name, kernel, n_blocks, n_threads, shared_bytes, stream, __VA_ARGS__)

DEVICE unsigned char *shared_memory(void)
{
    return emulator::here.shared;
}
DEVICE unsigned thread_index(void)
{
    return emulator::here.thread;
}
DEVICE unsigned block_index(void)
{
    return emulator::here.block;
}
DEVICE unsigned n_threads(void)
{
    return emulator::here.n_threads;
}
DEVICE unsigned n_blocks(void)
{
    return emulator::here.n_blocks;
}
DEVICE void block_barrier(void)
{
    emulator::block_barrier();
}
DEVICE void warp_barrier(void)
{
    emulator::warp_barrier();
}
template <class T> DEVICE T emulated_shuffle(T x, unsigned from)
{
    uint64_t bits = 0;

    memcpy(&bits, &x, sizeof(x));
    bits = emulator::shuffle(bits, from);
    memcpy(&x, &bits, sizeof(x));
    return x;
}
DEVICE float shuffle(float x, unsigned from)
{
    return emulated_shuffle(x, from);
}
DEVICE float shuffle_xor(float x, unsigned mask)
{
    return emulated_shuffle(x, thread_index() % 32 ^ mask);
}
DEVICE double shuffle_xor(double x, unsigned mask)
{
    return emulated_shuffle(x, thread_index() % 32 ^ mask);
}
DEVICE uint32_t shuffle_xor(uint32_t x, unsigned mask)
{
    return emulated_shuffle(x, thread_index() % 32 ^ mask);
}
DEVICE bool warp_any(bool x)
{
    return emulator::any(x);
}
DEVICE void matrices_load(uint32_t r[4], const void *row)
{
    emulator::matrices_load(r, row, false);
}
DEVICE void matrices_load_turned(uint32_t r[4], const void *row)
{
    emulator::matrices_load(r, row, true);
}
DEVICE void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    emulator::mma_bf16(c, a, b0, b1);
}
DEVICE void copy_async16(void *shared, const void *from, bool inside)
{
    emulator::copy_async16(shared, from, inside);
}
DEVICE void copy_async_commit(void)
{
    emulator::copy_async_commit();
}
template <int N> DEVICE void copy_async_wait(void)
{
    emulator::copy_async_wait(N);
}
DEVICE float exp2_fast(float x)
{
    return x < -126 ? 0 : exp2f(x);
}
DEVICE uint32_t emulated_round(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if (x != x)
        return 0x7FFF;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
DEVICE uint32_t bf16_pack(float low, float high)
{
    return emulated_round(low) | emulated_round(high) << 16;
}
DEVICE float bits_float(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}
DEVICE uint4 load16(const void *p)
{
    emulator::check_aligned(p, 16);
    return *(const uint4 *)p;
}
DEVICE void store16(void *p, uint4 v)
{
    emulator::check_aligned(p, 16);
    *(uint4 *)p = v;
}

#endif

/* ---- of the above ---- */

DEVICE unsigned lane_index(void)
{
    return thread_index() % 32;
}
DEVICE unsigned warp_index(void)
{
    return thread_index() / 32;
}
DEVICE float bf16_low(uint32_t pair)
{
    return bits_float(pair << 16);
}
DEVICE float bf16_high(uint32_t pair)
{
    return bits_float(pair & 0xFFFF0000u);
}

/* Over the lanes of a warp, in an order that is always the same; each lane gets the result. */
template <class T> DEVICE T warp_sum(T x)
{
#pragma unroll
    for (unsigned mask = 16; mask > 0; mask /= 2)
        x += shuffle_xor(x, mask);
    return x;
}
DEVICE float warp_max(float x)
{
#pragma unroll
    for (unsigned mask = 16; mask > 0; mask /= 2)
        x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}

/* Eight values at a multiple of 8 of a row whose length is one. */
DEVICE void load8(float v[8], const float *p)
{
#pragma unroll
    for (int k = 0; k < 2; k++) {
        uint4 u = load16(p + 4 * k);

        v[4 * k] = bits_float(u.x);
        v[4 * k + 1] = bits_float(u.y);
        v[4 * k + 2] = bits_float(u.z);
        v[4 * k + 3] = bits_float(u.w);
    }
}
DEVICE void load8(float v[8], const bf16 *p)
{
    uint4 u = load16(p);

    v[0] = bf16_low(u.x), v[1] = bf16_high(u.x);
    v[2] = bf16_low(u.y), v[3] = bf16_high(u.y);
    v[4] = bf16_low(u.z), v[5] = bf16_high(u.z);
    v[6] = bf16_low(u.w), v[7] = bf16_high(u.w);
}
DEVICE uint32_t float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}
DEVICE void store8(float *p, const float v[8])
{
#pragma unroll
    for (int k = 0; k < 2; k++)
        store16(p + 4 * k, make_uint4(float_bits(v[4 * k]), float_bits(v[4 * k + 1]),
                                      float_bits(v[4 * k + 2]), float_bits(v[4 * k + 3])));
}
DEVICE void store8(bf16 *p, const float v[8])
{
    store16(p, make_uint4(bf16_pack(v[0], v[1]), bf16_pack(v[2], v[3]), bf16_pack(v[4], v[5]),
                          bf16_pack(v[6], v[7])));
}

#endif
