/* SPDX-License-Identifier: MIT
 *
 * test_sm90.cu - the instructions of sm90.h by themselves, one at a time.
 *
 * What lies where is computed here again from the documents' tables: CuTe's layouts of operands
 * in shared memory and in registers (include/cute/atom/mma_traits_sm90_gmma.hpp).  On a GPU of
 * compute capability 9.0 this says whether sm90.h is right; under the emulator, whether that
 * plays such a GPU, and whether it notices what would go wrong there.
 */
#include <stdlib.h>

#include "kernels/cuda/ring.cuh"
#include "tests/unit/check.h"

#ifdef __CUDACC__
#define EMULATED false
#else
#define EMULATED true
#endif

static cudaStream_t queue;
static const char *absent, *unfit; /* why there is no device to run on, or it has no such things */

#define CUDA_TEST(test)                                                                            \
    static void test##_there(void);                                                                \
    static void test(void)                                                                         \
    {                                                                                              \
        if (unfit)                                                                                 \
            SKIP(unfit);                                                                           \
        else if (!absent)                                                                          \
            test##_there();                                                                        \
        else if (getenv("DNAS_REQUIRE") && strstr(getenv("DNAS_REQUIRE"), "cuda"))                 \
            CHECK_FAIL("%s", absent);                                                              \
        else                                                                                       \
            SKIP(absent);                                                                          \
    }                                                                                              \
    static void test##_there(void)

static void fine(cudaError_t e)
{
    if (e != cudaSuccess)
        CHECK_FAIL("%s", cudaGetErrorString(e));
}

/* Waits; the error, or "". */
static const char *outcome(void)
{
    cudaError_t e = cudaStreamSynchronize(queue);

    return e == cudaSuccess ? "" : cudaGetErrorString(e);
}

/* n bytes on the device, copied from there if not NULL. */
static void *device_bytes(const void *from, size_t n)
{
    void *there = nullptr, *stage = nullptr;

    fine(cudaMalloc(&there, n));
    if (!from)
        return there;
    fine(cudaHostAlloc(&stage, n, cudaHostAllocDefault));
    memcpy(stage, from, n);
    fine(cudaMemcpyAsync(there, stage, n, cudaMemcpyHostToDevice, queue));
    CHECK_STR(outcome(), "");
    fine(cudaFreeHost(stage));
    return there;
}

static void fetch(void *to, const void *from, size_t n)
{
    void *stage = nullptr;

    fine(cudaHostAlloc(&stage, n, cudaHostAllocDefault));
    fine(cudaMemcpyAsync(stage, from, n, cudaMemcpyDeviceToHost, queue));
    CHECK_STR(outcome(), "");
    memcpy(to, stage, n);
    fine(cudaFreeHost(stage));
}

/* Small whole numbers: exact in bf16, and so are sums of their products in f32. */
static float number(unsigned i, unsigned k, unsigned salt)
{
    return (float)((i * 7 + k * 13 + i * k % 11 + salt) % 17) - 8;
}
static uint16_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return (uint16_t)(bits >> 16);
}

/* The place of 16-bit element `linear` in a tile that is swizzled by 128 bytes: pieces of eight
 * elements change places within rows of eight, by the number of the row. */
static size_t swizzled(size_t linear)
{
    size_t row = linear / 64, piece = linear % 64 / 8;

    return row * 64 + (piece ^ row % 8) * 8 + linear % 8;
}

/* ---- products ---- */

enum operands { KEYS, VALUES, BOTH }; /* registers by K-major, by N-major; both in shared memory */

/* out f32 [128, n / 2]: the sums of each thread for K = 64, of the operands in image: left [64, 64]
 * (or the threads' registers [128, 4, 4]), then right. */
template <int WHAT>
__global__ static void __launch_bounds__(128)
    product_kernel(float *out, const uint4 *image, const uint32_t *registers, unsigned n_bytes)
{
    constexpr int n = WHAT == BOTH ? 256 : 64;
    unsigned char *shared = shared_memory();
    float d[n / 8][4];
    uint32_t a[4][4];

    for (unsigned i = thread_index(); i < n_bytes / 16; i += n_threads())
        store16(shared + 16 * i, load16(image + i));
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 4; r++)
            a[k][r] = registers[(thread_index() * 4 + (unsigned)k) * 4 + (unsigned)r];
    for (int j = 0; j < n / 8; j++)
        for (int e = 0; e < 4; e++)
            d[j][e] = 1000;
    async_fence();
    block_barrier();

    const uint64_t left = operand_at(shared), right = operand_at(shared + 8192);
    group_fence();
    if constexpr (WHAT == KEYS) {
        group_multiply<false, false>(d, a[0], right);
#pragma unroll
        for (int k = 1; k < 4; k++)
            group_multiply<false, true>(d, a[k], operand_plus(right, 32 * (unsigned)k));
    } else if constexpr (WHAT == VALUES) {
#pragma unroll
        for (int k = 0; k < 4; k++)
            group_multiply<true, true>(d, a[k], operand_plus(right, 2048 * (unsigned)k));
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++)
            group_multiply<true>(d, operand_plus(left, 32 * (unsigned)k),
                                 operand_plus(right, 32 * (unsigned)k));
    }
    group_commit();
    group_wait<0>();
    group_hold(d);
#pragma unroll
    for (int j = 0; j < n / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            out[thread_index() * (n / 2) + (unsigned)(4 * j + e)] = d[j][e];
}

/* Row and column of value v of thread t, by the strides of CLayout_64xN: threads (4,8,4) by
 * (128,1,16), values (2,2,n/8) by (64,8,512), in columns of 64. */
static void place_of(unsigned t, unsigned v, unsigned *row, unsigned *column)
{
    unsigned at =
        t % 4 * 128 + t / 4 % 8 * 1 + t / 32 * 16 + v % 2 * 64 + v / 2 % 2 * 8 + v / 4 * 512;

    *row = at % 64;
    *column = at / 64;
}

template <int WHAT> static void check_product(void)
{
    constexpr unsigned n = WHAT == BOTH ? 256 : 64;
    const size_t n_bytes = 8192 + n * 128;
    uint16_t *image = (uint16_t *)calloc(1, n_bytes);
    uint32_t *registers = (uint32_t *)calloc(128 * 16, 4);
    float *got = (float *)calloc(128 * n / 2, sizeof(float));
    unsigned n_wrong = 0;

    for (unsigned i = 0; i < 64; i++)
        for (unsigned k = 0; k < 64; k++)
            image[swizzled(i * 64 + k)] = bits_of(number(i, k, 0));
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < 64; k++)
            image[4096 + swizzled(WHAT == VALUES ? k * 64 + i : i * 64 + k)] =
                bits_of(number(i, k, 3));
    for (unsigned t = 0; t < 128; t++)
        for (unsigned v = 0; v < 32; v++) { /* ALayout_64x16 is CLayout_64x16 */
            unsigned i, k;

            place_of(t, v % 8, &i, &k);
            k += v / 8 * 16;
            registers[t * 16 + v / 2] |= (uint32_t)bits_of(number(i, k, 0)) << v % 2 * 16;
        }

    uint4 *dimage = (uint4 *)device_bytes(image, n_bytes);
    uint32_t *dregisters = (uint32_t *)device_bytes(registers, 128 * 16 * 4);
    float *dout = (float *)device_bytes(nullptr, 128 * n / 2 * sizeof(float));
    fine(cudaFuncSetAttribute(product_kernel<WHAT>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              (int)n_bytes));
    SIMT_LAUNCH("product", product_kernel<WHAT>, 1, 128, n_bytes, queue, dout, dimage, dregisters,
                (unsigned)n_bytes);
    fine(cudaGetLastError());
    fetch(got, dout, 128 * n / 2 * sizeof(float));
    for (unsigned t = 0; t < 128; t++)
        for (unsigned v = 0; v < n / 2; v++) {
            double want = WHAT == KEYS ? 0 : 1000;
            unsigned i, j;

            place_of(t, v, &i, &j);
            for (unsigned k = 0; k < 64; k++)
                want += (double)number(i, k, 0) * (double)number(j, k, 3);
            if (!((double)got[t * (n / 2) + v] == want) && n_wrong++ == 0)
                CHECK_FAIL("row %u, column %u (thread %u, value %u) is %g, not %g", i, j, t, v,
                           (double)got[t * (n / 2) + v], want);
        }
    CHECK_INT(n_wrong, 0);
    fine(cudaFree(dimage));
    fine(cudaFree(dregisters));
    fine(cudaFree(dout));
    free(image);
    free(registers);
    free(got);
}

CUDA_TEST(test_products)
{
    for (int i = 0; i < 4; i++) { /* the emulator's ways to be late */
        check_product<KEYS>();
        check_product<VALUES>();
        check_product<BOTH>();
    }
}

/* ---- loads ---- */

typedef CUresult encoder(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *base,
                         const cuuint64_t *sizes, const cuuint64_t *pitches, const cuuint32_t *box,
                         const cuuint32_t *steps, CUtensorMapInterleave interleave,
                         CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                         CUtensorMapFloatOOBfill fill);

static CUtensorMap map_of(void *base, unsigned rows, unsigned columns, unsigned box_rows)
{
    const cuuint64_t sizes[2] = {columns, rows}, pitches[1] = {columns * 2};
    const cuuint32_t box[2] = {TILE_COLUMNS, box_rows}, steps[2] = {1, 1};
    cudaDriverEntryPointQueryResult found;
    void *function = nullptr;
    encoder *encode;
    CUtensorMap map;

    fine(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                          cudaEnableDefault, &found));
    memcpy(&encode, &function, sizeof(encode));
    CHECK_INT(encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, base, sizes, pitches, box, steps,
                     CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
              CUDA_SUCCESS);
    return map;
}

/* out [n, 64]: what a box of n rows leaves in shared memory. */
__global__ static void __launch_bounds__(128)
    box_kernel(uint16_t *out, const __grid_constant__ CUtensorMap map, int column, int row,
               unsigned n)
{
    uint16_t *tile = (uint16_t *)shared_memory();
    uint64_t *b = (uint64_t *)(void *)(tile + n * 64);

    if (thread_index() == 0) {
        barrier_init(b, 1);
        barriers_ready();
    }
    block_barrier();
    if (thread_index() == 0) {
        barrier_arrive_expecting(b, n * 128);
        box_load(tile, &map, column, row, b);
    }
    barrier_wait(b, 0);
    for (unsigned i = thread_index(); i < n * 64; i += n_threads())
        out[i] = tile[i];
}

CUDA_TEST(test_boxes)
{
    enum { ROWS = 70, COLUMNS = 200, N = 64 };
    static const int from[][2] = {{0, 0},  {64, 3},  {128, 0}, {192, 20},
                                  {8, 69}, {200, 0}, {0, 70},  {-8, -5}};
    uint16_t x[ROWS * COLUMNS], got[N * 64], *dx, *dout;

    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        x[i] = (uint16_t)(i * 3 + 1);
    dx = (uint16_t *)device_bytes(x, sizeof(x));
    dout = (uint16_t *)device_bytes(nullptr, sizeof(got));
    CUtensorMap map = map_of(dx, ROWS, COLUMNS, N);
    for (size_t f = 0; f < 4 * sizeof(from) / sizeof(*from); f++) {
        const int column = from[f / 4][0], row = from[f / 4][1];
        unsigned n_wrong = 0;

        SIMT_LAUNCH("box", box_kernel, 1, 128, N * 128 + 8, queue, dout, map, column, row,
                    (unsigned)N);
        fine(cudaGetLastError());
        fetch(got, dout, sizeof(got));
        for (int r = 0; r < N; r++)
            for (int c = 0; c < 64; c++) {
                bool inside =
                    row + r >= 0 && row + r < ROWS && column + c >= 0 && column + c < COLUMNS;
                uint16_t want = inside ? x[(row + r) * COLUMNS + column + c] : 0;

                n_wrong += got[swizzled((size_t)(r * 64 + c))] != want;
            }
        CHECK_INT(n_wrong, 0);
    }
    fine(cudaFree(dx));
    fine(cudaFree(dout));
}

/* ---- what goes wrong ---- */

enum fault {
    NONE,
    NO_GROUP_FENCE,
    ONE_GROUP_FENCE,
    NO_WAIT,
    WAIT_FOR_OLDER,
    WRITES_SUMS,
    WRITES_LEFT,
    WRITES_AFTER_FENCE,
    NO_ASYNC_FENCE,
    NO_LOAD_WAIT,
    WRONG_PARITY,
    TOO_FEW_BYTES,
    TOO_MANY_BYTES,
    NO_BARRIERS_READY,
    NO_BLOCK_BARRIER,
    LOAD_TOO_SOON,
    NOT_SWIZZLED_START,
    OTHER_GROUP,
    NOT_NAMED
};

/* A tile comes by a load, another by ordinary stores; two products and a second load. */
template <int FAULT>
__global__ static void __launch_bounds__(160)
    fault_kernel(float *out, const __grid_constant__ CUtensorMap map)
{
    unsigned char *shared = shared_memory();
    uint64_t *full = (uint64_t *)(void *)(shared + 16384), *empty = full + 1;
    float d[8][4], other[8][4];
    uint32_t a[4] = {0x3F803F80, 0x3F803F80, 0x3F803F80, 0x3F803F80}; /* ones */

    if (thread_index() == 0) {
        barrier_init(full, 1);
        barrier_init(empty, 4);
        if (FAULT != NO_BARRIERS_READY)
            barriers_ready();
    }
    if (FAULT != NO_BLOCK_BARRIER)
        block_barrier();
    if (warp_index() == 4) {
        for (int round = 0; round < 2 && lane_index() == 0; round++) {
            if (round > 0 && FAULT != LOAD_TOO_SOON)
                barrier_wait(empty, 0);
            barrier_arrive_expecting(full, FAULT == TOO_FEW_BYTES    ? 4096
                                           : FAULT == TOO_MANY_BYTES ? 16384
                                                                     : 8192);
            box_load(shared, &map, 0, 0, full);
        }
        return;
    }
    for (unsigned i = thread_index(); i < 8192 / 4; i += 128)
        ((uint32_t *)(void *)(shared + 8192))[i] = 0x3F803F80;
    if (FAULT != NO_ASYNC_FENCE)
        async_fence();
    named_wait(3, FAULT == NOT_NAMED && thread_index() < 32 ? 64 : 128);
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            d[j][e] = other[j][e] = 1;
    for (int round = 0; round < 2; round++) {
        if (FAULT != NO_LOAD_WAIT)
            barrier_wait(full, FAULT == WRONG_PARITY ? 1 : (unsigned)round);
        if (FAULT != NO_GROUP_FENCE && (FAULT != ONE_GROUP_FENCE || round == 0))
            group_fence();
        if (FAULT == WRITES_AFTER_FENCE && round == 1)
            a[0] = 0;
        group_multiply<false, true>(
            d, a,
            operand_plus(operand_at(shared), FAULT == NOT_SWIZZLED_START                 ? 128
                                             : FAULT == OTHER_GROUP && warp_index() == 1 ? 32
                                                                                         : 0));
        group_commit();
        group_multiply<true, true>(other, a, operand_at(shared + 8192));
        group_commit();
        if (FAULT == WRITES_LEFT)
            a[1] = 0;
        if (FAULT == WRITES_SUMS)
            d[0][0] = 0;
        if (FAULT == WAIT_FOR_OLDER)
            group_wait<1>();
        else if (FAULT != NO_WAIT)
            group_wait<0>();
        group_hold(d);
        group_hold(other);
        if (lane_index() == 0 && round == 0)
            barrier_arrive(empty);
    }
    out[thread_index()] = d[0][0] + other[7][3];
}

#ifndef __CUDACC__
/* Every fault must show in one of four launches, and in none where there is no fault. */
template <int FAULT> static void check_fault(const char *want)
{
    uint16_t x[64 * 64];
    const char *said = "";

    for (unsigned i = 0; i < 64 * 64; i++)
        x[i] = bits_of(2);
    fine(cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking));
    void *dx = device_bytes(x, sizeof(x)), *dout = device_bytes(nullptr, 128 * 4);
    CUtensorMap map = map_of(dx, 64, 64, 64);
    for (int i = 0; i < 12 && !*said; i++) {
        SIMT_LAUNCH("fault", fault_kernel<FAULT>, 1, 160, 16384 + 16, queue, (float *)dout, map);
        said = outcome();
    }
    if (FAULT == NONE) {
        float got[128];

        CHECK_STR(said, "");
        fetch(got, dout, sizeof(got));
        for (int t = 0; t < 128; t++)
            CHECK_NEAR(got[t], 1 + 2 * 16 * 2 + 1 + 2 * 16, 0);
    } else if (!strstr(said, want)) {
        CHECK_FAIL("fault %d: '%s', and not '%s'", FAULT, said, want);
    }
    (void)cudaFree(dx);
    (void)cudaFree(dout);
    (void)cudaStreamDestroy(queue); /* the fault ends with it */
    queue = nullptr;
}

/* Registers of three groups, and of one whose warps differ. */
template <int FEWER, int MORE> __global__ static void registers_kernel(unsigned odd)
{
    if (warp_index() < 4)
        registers_fewer<FEWER>();
    else if (warp_index() != odd)
        registers_more<MORE>();
    else
        registers_more<232>();
}

template <int FEWER, int MORE> static void check_registers(const char *want)
{
    fine(cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking));
    SIMT_LAUNCH("registers", (registers_kernel<FEWER, MORE>), 1, 384, 0, queue, 5u);
    CHECK(want ? strstr(outcome(), want) != nullptr : *outcome() == '\0');
    (void)cudaStreamDestroy(queue);
    queue = nullptr;
}

static void test_registers(void)
{
    check_registers<40, 232>(nullptr);
    check_registers<168, 232>("80896 registers were asked for, and there are 65,536");
    check_registers<40, 240>("warp 5 has 232 registers and others of its group 240");
    check_registers<20, 232>("20 registers is not a multiple of 8 from 24 to 256");
}

static void test_faults_show(void)
{
    check_fault<NONE>("");
    check_fault<NO_GROUP_FENCE>("a product with no fence since the last wait");
    check_fault<ONE_GROUP_FENCE>("a product with no fence since the last wait");
    check_fault<NO_WAIT>("a load to byte 0 of shared memory, which a product reads");
    check_fault<WAIT_FOR_OLDER>("ended with products that it did not wait for");
    check_fault<WRITES_SUMS>("changed sums of a product that was under way");
    check_fault<WRITES_LEFT>("changed the left operand of a product that was under way");
    check_fault<WRITES_AFTER_FENCE>("wrote registers of a product after the fence before it");
#ifndef __SANITIZE_ADDRESS__ /* stores are not looked at then */
    check_fault<NO_ASYNC_FENCE>("wrote with no fence of the proxy behind");
#endif
    check_fault<NO_LOAD_WAIT>("while a load is on its way");
    check_fault<WRONG_PARITY>("while a load is on its way");
    check_fault<TOO_FEW_BYTES>("wait for what never comes");
    check_fault<TOO_MANY_BYTES>("wait for what never comes");
    check_fault<NO_BARRIERS_READY>("with a barrier that no fence made known");
    check_fault<NO_BLOCK_BARRIER>("with no barrier of the block between");
    check_fault<LOAD_TOO_SOON>("once too often");
    check_fault<NOT_SWIZZLED_START>("within the pattern that its swizzling repeats");
    check_fault<OTHER_GROUP>("asks for another product than the others of its group");
    check_fault<NOT_NAMED>("barrier 3 is of ");
}
#endif

static void open_device(void)
{
    cudaDeviceProp p;
    int n = 0;

    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0)
        absent = "there is no GPU";
    else if (cudaGetDeviceProperties(&p, 0) != cudaSuccess)
        absent = "the GPU does not say what it is";
    else if (p.major != 9 || p.minor != 0)
        unfit = "the GPU is not of compute capability 9.0";
    else if (cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking) != cudaSuccess)
        absent = "the GPU takes no work";
}

int main(void)
{
    open_device();
    RUN(test_products);
    RUN(test_boxes);
    if (queue)
        (void)cudaStreamDestroy(queue);
#ifndef __CUDACC__
    RUN(test_faults_show);
    RUN(test_registers);
#endif
    return check_done();
}
