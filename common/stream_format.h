/* SPDX-License-Identifier: MIT
 *
 * stream_format.h - the stream's bytes, for its reader and its writer only.
 */
#ifndef DNAS_STREAM_FORMAT_H
#define DNAS_STREAM_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define STREAM_MAGIC                                                                               \
    "\x89"                                                                                         \
    "DNAS\r\n\x1a" /* PNG's idea: text-mode damage shows at once */
#define STREAM_MAGIC_SIZE 8
#define STREAM_ALIGN 64
#define STREAM_BLOCK_HEADER_SIZE 64
#define STREAM_CRITICAL 1u

/* A block header as it stands in memory; little-endian in the file:
 *   0 type[4] · 4 u32 flags · 8 u64 first row · 16 u64 rows · 24 u64 payload bytes
 *   32 u64 XXH3 of the payload · 40 zeros · 56 u64 XXH3 of bytes 0..55
 * The end has type "END ", the total of rows in `first_row`, the number of
 * ROWS blocks in `rows`, and in `payload_hash` the XXH3 of their payload
 * hashes, one after the other. */
struct stream_block_header {
    char type[5];
    uint32_t flags;
    uint64_t first_row, rows, payload_bytes, payload_hash;
};

static inline uint64_t stream_pad(uint64_t n)
{
    return (n + STREAM_ALIGN - 1) / STREAM_ALIGN * STREAM_ALIGN;
}

static inline void stream_put32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

static inline void stream_put64(unsigned char *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

static inline uint32_t stream_get32(const unsigned char *p)
{
    uint32_t x = 0;

    for (int i = 3; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static inline uint64_t stream_get64(const unsigned char *p)
{
    return (uint64_t)stream_get32(p + 4) << 32 | stream_get32(p);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "columns are mapped from little-endian payloads: this machine needs a swap on reading"
#endif

#endif
