/* SPDX-License-Identifier: MIT
 *
 * sm90.h - what kernels use of GPUs of compute capability 9.0 alone, beside simt.h: products
 * by groups of four warps (wgmma), loads of boxes by the device (TMA), barriers in shared
 * memory.  For files *_sm90.cu, which are compiled for sm_90a only.
 *
 * Under nvcc these are PTX instructions, under another compiler emulator/groups.h.  Facts
 * are of the PTX ISA 8.0 and later; layouts are the same in CuTe's mma_traits_sm90_gmma.hpp.
 *
 * A product is queued and runs by itself, reading shared memory and the registers of its left
 * operand, and leaving its sums, at any time between issue and wait:
 *   group_fence     before the first product, and after anything else touched its registers
 *   group_multiply  any number of them; those on the same sums run in order
 *   group_commit    ends a set
 *   group_wait<N>   until all sets but the last N are done; then group_hold what was waited for
 */
#ifndef DNAS_CUDA_SM90_H
#define DNAS_CUDA_SM90_H

#include "kernels/cuda/simt.h"

#define GROUP_THREADS 128

/* A tile for products has rows of 64 values (128 bytes, the reach of the swizzling), one after
 * the other, from a multiple of 1,024 bytes on: eight rows are one pattern. */
#define TILE_COLUMNS 64
#define PATTERN_BYTES 1024

#ifdef __CUDACC__

#include <cuda.h>

/* ---- barriers in shared memory ("mbarrier") ----
 * One has phases, the first of parity 0.  A phase ends when as many arrivals as it was made for
 * and all bytes that were announced have come. */

DEVICE void barrier_init(uint64_t *b, unsigned arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
                 : "memory");
}
/* By the thread that made them, before the barrier of the block after which others use them. */
DEVICE void barriers_ready(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
DEVICE void barrier_arrive(uint64_t *b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
/* Announces so many bytes of loads, and arrives. */
DEVICE void barrier_arrive_expecting(uint64_t *b, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
                 "r"(bytes)
                 : "memory");
}
/* Until the phase of that parity has ended: at once where it is the one before the present. */
DEVICE void barrier_wait(uint64_t *b, unsigned parity)
{
    uint32_t done;

    do {
        asm volatile("{.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;}"
                     : "=r"(done)
                     : "r"(shared_address(b)), "r"(parity)
                     : "memory");
    } while (!done);
}

/* ---- loads ("cp.async.bulk.tensor") ---- */

DEVICE void map_prefetch(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/* The box of the map from that column and row on, to a multiple of 1,024 bytes; beyond the array
 * zeros.  By one thread; all bytes of the box count at the barrier, wherever it lies. */
DEVICE void box_load(void *to, const CUtensorMap *map, int column, int row, uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                 "l"(map), "r"(column), "r"(row), "r"(shared_address(b))
                 : "memory");
}

/* What this thread did to shared memory comes before what products and loads then do there; for
 * other threads' products a barrier must follow. */
DEVICE void async_fence(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* ---- warps of a block among themselves ---- */

/* Barriers 1 to 15, of so many threads: those that wait and those that only signal. */
DEVICE void named_wait(unsigned id, unsigned n)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory");
}
DEVICE void named_signal(unsigned id, unsigned n)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n) : "memory");
}
/* Registers a thread from here on, by all warps of a group: multiples of 8 from 24 to 256, all
 * groups together no more than the block began with. */
template <int N> DEVICE void registers_more(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> DEVICE void registers_fewer(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

/* ---- products ---- */

DEVICE void group_fence(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
DEVICE void group_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> DEVICE void group_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
/* The compiler must not take sums for known before the wait. */
template <int J> DEVICE void group_hold(float (&d)[J][4])
{
#pragma unroll
    for (int j = 0; j < J; j++)
        asm volatile("" : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])::"memory");
}
/* Keeps the computing of x, which is never below 0, in front of the next wait.  ptxas moves a wait
 * up as far as it can, so that what should run meanwhile is left behind it; it moves none over a
 * branch. */
DEVICE void group_wait_after(float x)
{
    if (x < 0)
        asm volatile("nanosleep.u32 0;" ::: "memory");
}

#define SUMS4(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define SUMS32(j)                                                                                  \
    SUMS4(j), SUMS4(j + 1), SUMS4(j + 2), SUMS4(j + 3), SUMS4(j + 4), SUMS4(j + 5), SUMS4(j + 6),  \
        SUMS4(j + 7)
#define LIST32                                                                                     \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"               \
    "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define LIST128                                                                                    \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"               \
    "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,"             \
    "%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,"             \
    "%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,"             \
    "%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,"                \
    "%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,"             \
    "%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/* d (+)= a b^T for 64 x 16 by 64 x 16, a in registers: a warp has its 16 rows as in mma_bf16, d as
 * its sums, one after the other by 8 columns.  RIGHT_TURNED: b lies as 16 x 64. */
template <bool RIGHT_TURNED, bool ADDS>
DEVICE void group_multiply(float (&d)[8][4], const uint32_t a[4], uint64_t b)
{
    asm volatile("{.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" LIST32 "},"
                 "{%32,%33,%34,%35}, %36, p, 1, 1, %38;}"
                 : SUMS32(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"((int)ADDS),
                   "n"((int)RIGHT_TURNED));
}
/* d (+)= a b^T for 64 x 16 by 256 x 16, both in shared memory. */
template <bool ADDS> DEVICE void group_multiply(float (&d)[32][4], uint64_t a, uint64_t b)
{
    asm volatile("{.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" LIST128 "},"
                 "%128, %129, p, 1, 1, 0, 0;}"
                 : SUMS32(0), SUMS32(8), SUMS32(16), SUMS32(24)
                 : "l"(a), "l"(b), "n"((int)ADDS));
}

#undef SUMS4
#undef SUMS32
#undef LIST32
#undef LIST128

#else

#include "kernels/cuda/emulator/groups.h"

DEVICE uint32_t shared_address(const void *p)
{
    return emulator::shared_address(p);
}
DEVICE void barrier_init(uint64_t *b, unsigned arrivals)
{
    emulator::barrier_init(b, arrivals);
}
DEVICE void barriers_ready(void)
{
    emulator::barriers_ready();
}
DEVICE void barrier_arrive(uint64_t *b)
{
    emulator::barrier_arrive(b);
}
DEVICE void barrier_arrive_expecting(uint64_t *b, unsigned bytes)
{
    emulator::barrier_arrive_expecting(b, bytes);
}
DEVICE void barrier_wait(uint64_t *b, unsigned parity)
{
    emulator::barrier_wait(b, parity);
}
DEVICE void map_prefetch(const CUtensorMap *)
{
}
DEVICE void box_load(void *to, const CUtensorMap *map, int column, int row, uint64_t *b)
{
    emulator::box_load(to, map, column, row, b);
}
DEVICE void async_fence(void)
{
    emulator::async_fence();
}
DEVICE void named_wait(unsigned id, unsigned n)
{
    emulator::named_barrier(id, n, true);
}
DEVICE void named_signal(unsigned id, unsigned n)
{
    emulator::named_barrier(id, n, false);
}
template <int N> DEVICE void registers_more(void)
{
    emulator::registers_set(N);
}
template <int N> DEVICE void registers_fewer(void)
{
    emulator::registers_set(N);
}
DEVICE void group_fence(void)
{
    emulator::group_fence();
}
DEVICE void group_commit(void)
{
    emulator::group_commit();
}
template <int N> DEVICE void group_wait(void)
{
    emulator::group_wait(N);
}
template <int J> DEVICE void group_hold(float (&)[J][4])
{
}
DEVICE void group_wait_after(float)
{
}
template <bool RIGHT_TURNED, bool ADDS>
DEVICE void group_multiply(float (&d)[8][4], const uint32_t a[4], uint64_t b)
{
    emulator::group_product(d[0], 64, a, 0, b, RIGHT_TURNED, ADDS);
}
template <bool ADDS> DEVICE void group_multiply(float (&d)[32][4], uint64_t a, uint64_t b)
{
    emulator::group_product(d[0], 256, nullptr, a, b, false, ADDS);
}

#endif

/* ---- of the above ---- */

/* Describes an operand from `at` on to a product ("Matrix Descriptor Format": address, leading and
 * stride offset in 16 bytes from bits 0, 16 and 32 on; 1 in bits 62 and 63: 128-byte swizzling;
 * bits 49 to 51 are 0 as patterns begin at multiples of 1,024).  The stride is between groups of
 * eight rows; the leading offset counts for nothing here, as no operand is wider than a tile. */
DEVICE uint64_t operand_at(const void *at)
{
    return (uint64_t)((shared_address(at) & 0x3FFFF) >> 4) | (uint64_t)1 << 16 |
           (uint64_t)(PATTERN_BYTES >> 4) << 32 | (uint64_t)1 << 62;
}
/* The operand `bytes` further on: 32 for the next 16 columns of a tile, 2,048 for its next 16
 * rows.  The swizzling goes by address, so that a start within a row needs nothing else. */
DEVICE uint64_t operand_plus(uint64_t operand, unsigned bytes)
{
    return operand + (bytes >> 4);
}
/* Where 16 bytes lie in a tile: piece `piece` (8 values) of a row. */
DEVICE bf16 *swizzled_at(bf16 *tile, unsigned row, unsigned piece)
{
    return tile + row * TILE_COLUMNS + 8 * (piece ^ row % 8);
}

#endif
