/* SPDX-License-Identifier: MIT
 *
 * test_packed.c - the network on a GPU against numbers from the original code.
 *
 * The GPU is emulated; with the argument `gpu` it is a real one, and longer
 * sequences are run.  tests/data/golden/dnabert2_tiny/README.md says how the
 * numbers were made.
 */
#include "tests/model/on_gpu.h"

#include "common/backbone.h"
#include "common/packed.h"
#include "common/xmem.h"
#include "kernels/backend.h"
#include "tests/unit/npz.h"

#define GOLDEN "tests/data/golden/dnabert2_tiny"
#define DIMS ((size_t)96)
#define MOST 8 /* sequences of a batch */

static struct dnas_network *network;

/* Sequences one after the other. */
struct batch {
    uint16_t *ids;
    uint32_t offset[MOST + 1];
    size_t B;
};

/* Runs a batch; its means [B,DIMS], to be freed. */
static double *run(const struct dnas_packed *p, const struct batch *b)
{
    const struct dnas_cuda_api *api = gpu.api;
    size_t T = b->offset[b->B];
    uint16_t *ids = api->host_alloc(gpu.device, T * sizeof(*ids));
    uint32_t *offset = api->host_alloc(gpu.device, sizeof(b->offset));
    double *means = api->host_alloc(gpu.device, b->B * DIMS * sizeof(*means));
    uint16_t *ids_there = api->alloc(gpu.device, T * sizeof(*ids));
    double *means_there = api->alloc(gpu.device, b->B * DIMS * sizeof(*means));
    void *scratch = api->alloc(gpu.device, dnas_packed_scratch(p, T));
    struct dnas_cuda_pack *pack = dnas_packed_pack_new(p, T, b->B);
    double *out = dnas_xalloc(b->B * DIMS, sizeof(*out));
    const void *hidden;

    memcpy(ids, b->ids, T * sizeof(*ids));
    memcpy(offset, b->offset, sizeof(b->offset));
    api->copy_in(gpu.device, ids_there, ids, T * sizeof(*ids));
    api->pack_set(gpu.device, pack, offset, b->B);
    hidden = dnas_packed_forward(p, scratch, ids_there, pack, T);
    api->meanpool_fwd(gpu.device, means_there, hidden, pack, DIMS, p->type);
    api->copy_out(gpu.device, means, means_there, b->B * DIMS * sizeof(*means));
    if (api->wait(gpu.device) != 0)
        CHECK_FAIL("%s", api->error(gpu.device));
    memcpy(out, means, b->B * DIMS * sizeof(*out));
    api->host_free(gpu.device, ids);
    api->host_free(gpu.device, offset);
    api->host_free(gpu.device, means);
    api->free(gpu.device, ids_there);
    api->free(gpu.device, means_there);
    api->free(gpu.device, scratch);
    api->pack_free(gpu.device, pack);
    return out;
}

/* Lengths of golden's sequences: 1, 7, 64, 513, 700; the emulator takes the shorter ones. */
static size_t n_golden(enum dnas_cuda_type type)
{
    return is_real ? 5 : type == DNAS_CUDA_F32 ? 4 : 3;
}

static double *golden_means(struct batch *b, size_t n)
{
    struct dnas_npy ids = npz_read(GOLDEN "/forward.npz", "input_ids", DNAS_NPY_AS_I64);
    struct dnas_npy lengths = npz_read(GOLDEN "/forward.npz", "lengths", DNAS_NPY_AS_I64);
    struct dnas_npy means = npz_read(GOLDEN "/forward.npz", "embedding_f64", DNAS_NPY_AS_F64);
    double *out = dnas_xalloc(n * DIMS, sizeof(*out));

    b->ids = dnas_xalloc(n * ids.shape[1], sizeof(*b->ids));
    b->offset[0] = 0;
    b->B = n;
    for (size_t i = 0; i < n; i++) {
        size_t T = (size_t)lengths.i64[i], at = b->offset[i];

        for (size_t t = 0; t < T; t++)
            b->ids[at + t] = (uint16_t)ids.i64[i * ids.shape[1] + t];
        b->offset[i + 1] = (uint32_t)(at + T);
    }
    memcpy(out, means.f64, n * DIMS * sizeof(*out));
    dnas_npy_release(&ids);
    dnas_npy_release(&lengths);
    dnas_npy_release(&means);
    return out;
}

static void against_golden(enum dnas_cuda_type type)
{
    struct dnas_packed *p = dnas_packed_new(network, &gpu, type, &why);
    struct batch b;
    double *want = golden_means(&b, n_golden(type)), *got;

    if (!p) {
        CHECK_FAIL("%s", why.msg);
        return;
    }
    got = run(p, &b);
    for (size_t i = 0; i < b.B; i++) {
        double xy = 0, xx = 0, yy = 0, dd = 0;

        for (size_t c = i * DIMS; c < (i + 1) * DIMS; c++) {
            xy += want[c] * got[c];
            xx += want[c] * want[c];
            yy += got[c] * got[c];
            dd += (want[c] - got[c]) * (want[c] - got[c]);
        }
        if (type == DNAS_CUDA_F32)
            CHECK_NEAR(sqrt(dd / xx), 0, 1e-5);
        CHECK_NEAR(xy / sqrt(xx * yy), 1, type == DNAS_CUDA_F32 ? 1e-9 : 5e-4);
    }
    free(want);
    free(got);
    free(b.ids);
    dnas_packed_free(p);
}

GPU_TEST(test_golden_f32)
{
    against_golden(DNAS_CUDA_F32);
}

GPU_TEST(test_golden_bf16)
{
    against_golden(DNAS_CUDA_BF16);
}

/* Sequences among others, in another order, and alone: the same bits. */
static void alone_and_packed(enum dnas_cuda_type type, const uint32_t *lengths, size_t n)
{
    struct dnas_packed *p = dnas_packed_new(network, &gpu, type, &why);
    struct batch b = {.B = n}, turned = {.B = n};
    double *want, *got;

    if (!p) {
        CHECK_FAIL("%s", why.msg);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        b.offset[i + 1] = b.offset[i] + lengths[i];
        turned.offset[i + 1] = turned.offset[i] + lengths[n - 1 - i];
    }
    b.ids = dnas_xalloc(b.offset[n], sizeof(*b.ids));
    turned.ids = dnas_xalloc(b.offset[n], sizeof(*b.ids));
    for (size_t t = 0; t < b.offset[n]; t++)
        b.ids[t] = (uint16_t)(t * 7919 % 251);
    for (size_t i = 0; i < n; i++)
        memcpy(turned.ids + turned.offset[n - 1 - i], b.ids + b.offset[i],
               lengths[i] * sizeof(*b.ids));
    want = run(p, &b);
    got = run(p, &turned);
    for (size_t i = 0; i < n; i++) {
        struct batch one = {.ids = b.ids + b.offset[i], .offset = {0, lengths[i]}, .B = 1};
        double *alone = run(p, &one);

        CHECK(memcmp(want + i * DIMS, alone, DIMS * sizeof(*want)) == 0);
        CHECK(memcmp(want + i * DIMS, got + (n - 1 - i) * DIMS, DIMS * sizeof(*want)) == 0);
        free(alone);
    }
    free(want);
    free(got);
    free(b.ids);
    free(turned.ids);
    dnas_packed_free(p);
}

static void test_alone_and_packed(void)
{
    static const uint32_t some[] = {5, 64, 1, 33}, many[] = {2000, 1, 20000, 63, 129, 4097};

    if (!has_gpu())
        SKIP(why.msg);
    alone_and_packed(DNAS_CUDA_F32, some, 4);
    alone_and_packed(DNAS_CUDA_BF16, some, 4);
    if (is_real) {
        alone_and_packed(DNAS_CUDA_F32, many, 6);
        alone_and_packed(DNAS_CUDA_BF16, many, 6);
    }
}

/* With the kernels that only GPUs of compute capability 9.0 have, where they fit. */
GPU_TEST(test_golden_sm90)
{
    static const uint32_t some[] = {5, 64, 1, 33};
    struct dnas_gpu other = gpu;

    setenv("DNAS_CUDA_KERNELS", "sm90", 1);
    if (dnas_gpu_open(&gpu, 0, &why) == 0) {
        against_golden(DNAS_CUDA_BF16);
        alone_and_packed(DNAS_CUDA_BF16, some, 4);
        dnas_gpu_close(&gpu);
    } else {
        CHECK_FAIL("%s", why.msg);
    }
    unsetenv("DNAS_CUDA_KERNELS");
    gpu = other;
}

/* Needs no GPU: what the kernels do not take is said before one is opened. */
static void test_check(void)
{
    struct dnas_network odd = *network;
    struct dnas_err err = {""};

    CHECK_INT(dnas_packed_check(network, DNAS_CUDA_BF16, &err), 0);
    odd.shape.H = 8;
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_BF16, &err), -1);
    CHECK(strstr(err.msg, "heads of 16, 32, 64 or 128 channels, not of 12") != NULL);
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_F32, &err), 0);
    odd.shape.C = 100;
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_F32, &err), -1);
    CHECK(strstr(err.msg, "100 channels and a width of 192 are not multiples of 8") != NULL);
    odd.shape.C = 256;
    odd.shape.H = 1;
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_F32, &err), -1);
    CHECK(strstr(err.msg, "128 channels at most, not 256") != NULL);
    odd.shape.C = 1032;
    odd.shape.H = 43;
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_F32, &err), -1);
    CHECK(strstr(err.msg, "1024 channels at most, not 1032") != NULL);
    odd = *network;
    odd.output = DNAS_OUTPUT_LOGITS;
    CHECK_INT(dnas_packed_check(&odd, DNAS_CUDA_F32, &err), -1);
}

static void test_device_names(void)
{
    static const struct {
        const char *text;
        enum dnas_device_kind kind;
        int number;
    } good[] = {{"auto", DNAS_DEVICE_AUTO, 0},
                {"cpu", DNAS_DEVICE_CPU, 0},
                {"cuda", DNAS_DEVICE_CUDA, 0},
                {"cuda:0", DNAS_DEVICE_CUDA, 0},
                {"cuda:17", DNAS_DEVICE_CUDA, 17}};
    static const char *const bad[] = {"",
                                      "gpu",
                                      "cuda:",
                                      "cuda:-1",
                                      "cuda: 1",
                                      "cuda:1x",
                                      "cuda:+1",
                                      "cuda1",
                                      "CUDA",
                                      "cpu:0",
                                      "cuda:99999999999999999999",
                                      "cuda:2147483648"};
    struct dnas_device d;
    struct dnas_err err;

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        CHECK(dnas_device_parse(&d, good[i].text, &err) == 0);
        CHECK_INT(d.kind, good[i].kind);
        CHECK_INT(d.number, good[i].number);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        CHECK(dnas_device_parse(&d, bad[i], &err) == -1);
}

int main(int argc, char **argv)
{
    gpu_begin(argc, argv);
    network = dnas_network_open(GOLDEN, DNAS_PRECISION_F32, &why);
    if (!network) {
        printf("Bail out! %s\n", why.msg);
        return 99;
    }
    RUN(test_golden_f32);
    RUN(test_golden_bf16);
    RUN(test_alone_and_packed);
    RUN(test_golden_sm90);
    RUN(test_check);
    RUN(test_device_names);
    dnas_gpu_close(&gpu);
    dnas_network_close(network);
    return check_done();
}
