/* SPDX-License-Identifier: MIT
 *
 * fuzz_seq.c - FASTA, FASTQ and tables of sequences, as they are and packed.
 *
 * The first two bytes say with which options and in which compression the rest
 * is read, so that a changed text still comes in whole frames.
 */
#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include "common/seq.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/weights_files.h"

enum packing { PLAIN, GZIP, BGZF_BLOCKS, ZSTD, N_PACKINGS };

/* ---- packing ---- */

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* A gzip member with one stored block of deflate (RFC 1951, 1952), 65535 bytes
 * at most; as a block of BGZF where wanted (SAM specification, 4.1). */
static void put_member(struct buf *b, const uint8_t *data, size_t n, bool bgzf)
{
    put(b, "\x1f\x8b\x08", 3);
    put_number(b, bgzf ? 4 : 0, 1);
    put_number(b, 0, 4);
    put_number(b, 0xff00, 2);
    if (bgzf) {
        put_number(b, 6, 2);
        put_text(b, "BC");
        put_number(b, 2, 2);
        put_number(b, 18 + 5 + n + 8 - 1, 2);
    }
    put_number(b, 1, 1);
    put_number(b, n, 2);
    put_number(b, ~n & 0xffff, 2);
    put(b, data, n);
    put_number(b, crc32_of(data, n), 4);
    put_number(b, n, 4);
}

static struct buf pack(const uint8_t *data, size_t n, enum packing how, size_t piece)
{
    struct buf b = {0};

    switch (how) {
    case PLAIN:
    case N_PACKINGS:
        put(&b, data, n);
        break;
    case GZIP:
    case BGZF_BLOCKS:
        for (size_t at = 0; at < n || at == 0; at += piece)
            put_member(&b, data + at, n - at < piece ? n - at : piece, how == BGZF_BLOCKS);
        if (how == BGZF_BLOCKS)
            put(&b, "\x1f\x8b\x08\4\0\0\0\0\0\xff\6\0BC\2\0\x1b\0\3\0\0\0\0\0\0\0\0\0", 28);
        break;
    case ZSTD:
        b.p = dnas_xalloc(ZSTD_compressBound(n), 1);
        b.n = ZSTD_compress(b.p, ZSTD_compressBound(n), data, n, 1);
        break;
    }
    return b;
}

/* ---- reading ---- */

static int read_pieces(struct dnas_seq *s, unsigned how, struct dnas_err *err)
{
    const struct dnas_batch_options options[] = {
        {.letters = 1, .whole = true},
        {.letters = 20, .window_bp = 7, .min_window_bp = 3},
        {.letters = 50, .overlap = 3},
    };
    struct dnas_batch b = {0};
    int status;

    while ((status = dnas_batch_fill(&b, s, &options[how], err)) == 1)
        for (size_t i = 0; i < b.n_pieces; i++) {
            const struct dnas_piece *p = &b.pieces[i];

            if (p->letters + p->n > b.n_letters || p->n_new > p->n || p->id >= b.n_text)
                DNAS_BUG("a piece outside its batch");
        }
    dnas_batch_release(&b);
    return status;
}

static int read_letters(struct dnas_seq *s, struct dnas_err *err)
{
    char buf[5];
    ptrdiff_t got = 0;
    int status = 0;

    while (got >= 0 && (status = dnas_seq_next(s, err)) == 1)
        while ((got = dnas_seq_read(s, buf, sizeof(buf), err)) > 0)
            if (buf[got - 1] <= ' ')
                DNAS_BUG("byte %d is no letter", buf[got - 1]);
    return got < 0 ? -1 : status;
}

int fuzz_try(const uint8_t *data, size_t n)
{
    unsigned how = n > 0 ? data[0] : 0, packing = n > 1 ? data[1] : 0;
    struct dnas_seq_options options = {.keep_case = how & 1,
                                       .allow_duplicate_ids = how >> 1 & 1,
                                       .truncate_bp = how & 4 ? 5 : 0,
                                       .shard = how & 8 ? 1 : 0,
                                       .n_shards = how & 8 ? 2 : 0};
    size_t skipped = n < 2 ? n : 2;
    struct buf b =
        pack(data + skipped, n - skipped, packing % N_PACKINGS, 1 + packing / N_PACKINGS);
    char *path = (char *)(uintptr_t)fuzz_file(b.p, b.n);
    struct dnas_err err = {""};
    struct dnas_seq *s = dnas_seq_open(NULL, &path, 1, &options, &err);
    int status = -1;

    if (s)
        status = how >> 6 == 3 ? read_letters(s, &err) : read_pieces(s, how >> 6, &err);
    dnas_seq_close(s);
    free(b.p);
    return status == 0 ? 1 : fuzz_refused(&err);
}

/* ---- samples ---- */

static const char *const texts[] = {
    ">one label=x\nACGTACGTNN\nacgu\n\n>two species=y z\r\nACG-T*\r\n",
    "@r1\nACGT\n+\nIIII\n@r2 x\nAC\nGT\n+r2\n@@\n>>\n",
    "sequence\tlabel\nACGT\ta b\nACGTACGTACGT\tb\n",
    "ACGT,ACGTT\nAAACCCGGG,TTT\n",
    "\xef\xbb\xbf>a\nACGT\n",
};
#define N_TEXTS (sizeof(texts) / sizeof(texts[0]))

/* Each text with options and packings of all kinds, then packed ones as plain
 * bytes, so that their frames are damaged, too. */
uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const uint8_t how[][2] = {
        {0, PLAIN},   {0x40, GZIP | 9 << 2}, {0x86, BGZF_BLOCKS | 6 << 2},
        {0xc1, ZSTD}, {0x4a, PLAIN},         {0xc4, PLAIN}};
    const size_t n_hows = sizeof(how) / sizeof(how[0]);
    struct buf b = {0};

    if (i >= N_TEXTS * n_hows + N_PACKINGS - 1)
        return NULL;
    if (i < N_TEXTS * n_hows) {
        put(&b, how[i % n_hows], 2);
        put_text(&b, texts[i / n_hows]);
    } else {
        struct buf packed = pack((const uint8_t *)texts[0], strlen(texts[0]),
                                 (enum packing)(1 + i - N_TEXTS * n_hows), 20);

        put(&b, "\0\0", 2);
        put(&b, packed.p, packed.n);
        free(packed.p);
    }
    *n = b.n;
    return b.p;
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data;
    (void)max;
    return n; /* fuzz_try packs the bytes itself */
}
