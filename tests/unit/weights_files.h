/* SPDX-License-Identifier: MIT
 *
 * weights_files.h - files of weights, put together byte by byte, so that each of
 * their fields can lie: safetensors, and torch.save's zip and pickle.
 */
#ifndef DNAS_TEST_WEIGHTS_FILES_H
#define DNAS_TEST_WEIGHTS_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmem.h"

struct buf {
    unsigned char *p;
    size_t n, cap;
};

static inline void put(struct buf *b, const void *bytes, size_t n)
{
    b->p = dnas_xgrow(b->p, &b->cap, b->n + n, 1);
    if (n > 0)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
}

static inline void put_text(struct buf *b, const char *s)
{
    put(b, s, strlen(s));
}

static inline void put_number(struct buf *b, uint64_t x, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char byte = (unsigned char)(i < 8 ? x >> (8 * i) : 0);

        put(b, &byte, 1);
    }
}

/* open_mem on a block of just the right size, so that a sanitizer sees a byte
 * read too many.  Free *copy once the weights are closed. */
/* ---- safetensors ---- */

static inline struct buf make_safetensors(const char *header, const void *data, size_t n)
{
    struct buf b = {0};

    put_number(&b, strlen(header), 8);
    put_text(&b, header);
    put(&b, data, n);
    return b;
}

/* ---- torch: zip ---- */

struct member {
    const char *name;
    const void *data;
    size_t n;
    /* lies; 0 and NULL: none */
    const char *local_name;
    unsigned flags, method;
    uint32_t local_size, directory_size, compressed_size;
    int moved; /* added to where the directory says it is */
};

static inline void put_local(struct buf *b, const struct member *m, bool with_sizes)
{
    const char *name = m->local_name ? m->local_name : m->name;
    uint32_t size = m->local_size ? m->local_size : with_sizes ? (uint32_t)m->n : 0;

    put_number(b, 0x04034b50, 4);
    put_number(b, 0, 2);
    put_number(b, m->flags | (with_sizes ? 0 : 8), 2);
    put_number(b, m->method, 2);
    put_number(b, 0, 8); /* time, date, CRC */
    put_number(b, size, 4);
    put_number(b, size, 4);
    put_number(b, strlen(name), 2);
    put_number(b, 6, 2);
    put_text(b, name);
    put_text(b, "FB\2");
    put(b, "\0ZZ", 3);
    put(b, m->data, m->n);
}

static inline void put_central(struct buf *b, const struct member *m, uint64_t at, bool with_sizes,
                               bool zip64)
{
    uint64_t size = m->directory_size ? m->directory_size : m->n;

    at += (uint64_t)(int64_t)m->moved;
    put_number(b, 0x02014b50, 4);
    put_number(b, 0, 4);
    put_number(b, m->flags | (with_sizes ? 0 : 8), 2);
    put_number(b, m->method, 2);
    put_number(b, 0, 8);
    put_number(b, zip64 ? 0xffffffff : m->compressed_size ? m->compressed_size : size, 4);
    put_number(b, zip64 ? 0xffffffff : size, 4);
    put_number(b, strlen(m->name), 2);
    put_number(b, zip64 ? 28 : 0, 2);
    put_number(b, 0, 10);
    put_number(b, zip64 ? 0xffffffff : at, 4);
    put_text(b, m->name);
    if (zip64) {
        put_number(b, 1, 2);
        put_number(b, 24, 2);
        put_number(b, size, 8);
        put_number(b, size, 8);
        put_number(b, at, 8);
    }
}

/* A zip as torch writes it (zip64), or as zip(1) does. */
static inline struct buf make_zip(const struct member *members, size_t n, bool zip64)
{
    struct buf b = {0};
    uint64_t at[16] = {0}, directory_at, end;

    for (size_t i = 0; i < n; i++) {
        at[i] = b.n;
        put_local(&b, &members[i], !zip64);
    }
    directory_at = b.n;
    for (size_t i = 0; i < n; i++)
        put_central(&b, &members[i], at[i], !zip64, zip64);
    end = b.n;
    if (zip64) {
        put_number(&b, 0x06064b50, 4);
        put_number(&b, 44, 8);
        put_number(&b, 0, 12);
        put_number(&b, n, 8);
        put_number(&b, n, 8);
        put_number(&b, end - directory_at, 8);
        put_number(&b, directory_at, 8);
        put_number(&b, 0x07064b50, 4);
        put_number(&b, 0, 4);
        put_number(&b, end, 8);
        put_number(&b, 1, 4);
    }
    put_number(&b, 0x06054b50, 4);
    put_number(&b, 0, 4);
    put_number(&b, n, 2);
    put_number(&b, n, 2);
    put_number(&b, end - directory_at, 4);
    put_number(&b, zip64 ? 0xffffffff : directory_at, 4);
    put_number(&b, 0, 2);
    return b;
}

/* ---- torch: pickle ---- */

#define HEAD "\x80\x02"
#define DICT "ccollections\nOrderedDict\n)R"

static inline void put_word(struct buf *b, const char *s)
{
    put_text(b, "X");
    put_number(b, strlen(s), 4);
    put_text(b, s);
}

/* -1, as UINT64_MAX, takes one byte, like Python's. */
static inline void put_int(struct buf *b, uint64_t x)
{
    size_t n_bytes = x < 256 || x == UINT64_MAX ? 1 : x < 65536 ? 2 : 8;

    put_text(b, x < 256 ? "K" : n_bytes == 2 ? "M" : n_bytes == 1 ? "\x8a\1" : "\x8a\x08");
    put_number(b, x, n_bytes);
}

static inline void put_ints(struct buf *b, const uint64_t *x, size_t n)
{
    put_text(b, "(");
    for (size_t i = 0; i < n; i++)
        put_int(b, x[i]);
    put_text(b, "t");
}

struct view {
    const char *name, *key;
    uint64_t n_storage, offset;
    size_t n_dims;
    uint64_t shape[9], stride[9];
};

static inline void put_tensor(struct buf *b, const struct view *v)
{
    put_word(b, v->name);
    put_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_word(b, "storage");
    put_text(b, "ctorch\nFloatStorage\n");
    put_word(b, v->key);
    put_word(b, "cpu");
    put_int(b, v->n_storage);
    put_text(b, "tQ");
    put_int(b, v->offset);
    put_ints(b, v->shape, v->n_dims);
    put_ints(b, v->stride, v->n_dims);
    put_text(b, "\x89" DICT "tR");
}

static inline struct buf make_pickle(const struct view *views, size_t n)
{
    struct buf b = {0};

    put_text(&b, HEAD DICT "q");
    put_number(&b, 0, 1);
    put_text(&b, "(");
    for (size_t i = 0; i < n; i++)
        put_tensor(&b, &views[i]);
    put_text(&b, "u}");
    put_word(&b, "_metadata");
    put_text(&b, DICT "sb.");
    return b;
}

/* Two names for one tensor, in the opcodes of protocol 4. */
static const char protocol_4[] = "\x80\x04\x95\xff\0\0\0\0\0\0\0}\x94\x8c\1a\x94"
                                 "\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94"
                                 "((\x8c\7storage\x94\x8c\5torch\x94\x8c\x0c"
                                 "FloatStorage\x94\x93\x94\x8c\1"
                                 "0\x94"
                                 "\x8c\3cpu\x94\x8a\1\6t\x94Q"
                                 "\x8a\0K\2J\3\0\0\0\x86K\3\x4d\1\0\x86\x88"
                                 "\x8c\x0b"
                                 "collections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94t\x94R\x94s"
                                 "\x8c\1"
                                 "bh\x11s.";

static const float six[] = {0, 1, 2, 3, 4, 5};

static inline struct buf make_torch_from(const struct buf *pickle, bool zip64)
{
    const struct member members[] = {{.name = "m/data.pkl", .data = pickle->p, .n = pickle->n},
                                     {.name = "m/byteorder", .data = "little", .n = 6},
                                     {.name = "m/data/0", .data = six, .n = sizeof(six)},
                                     {.name = "m/version", .data = "3\n", .n = 2}};

    return make_zip(members, 4, zip64);
}

static inline struct buf make_torch(const struct view *views, size_t n, bool zip64)
{
    struct buf pickle = make_pickle(views, n), b = make_torch_from(&pickle, zip64);

    free(pickle.p);
    return b;
}

static const struct view good_views[] = {
    {"whole", "0", 6, 0, 2, {2, 3}, {3, 1}},  {"tied", "0", 6, 0, 2, {2, 3}, {3, 1}},
    {"turned", "0", 6, 0, 2, {3, 2}, {1, 3}}, {"tail", "0", 6, 4, 1, {2}, {1}},
    {"number", "0", 6, 5, 0, {0}, {0}},       {"none", "0", 6, 6, 2, {0, 3}, {3, 1}},
    {"spread", "0", 6, 1, 2, {2, 2}, {0, 2}}, {"ones", "0", 6, 0, 3, {1, 6, 1}, {77, 1, 99}},
};
#define N_GOOD (sizeof(good_views) / sizeof(good_views[0]))

/* ---- torch: checkpoints of runs ---- */

static const struct view state_views[] = {
    {"model.a.weight", "0", 6, 0, 2, {2, 3}, {3, 1}},
    {"model.b.bias", "0", 6, 4, 1, {2}, {1}},
};

/* What may stand beside a state dict in the checkpoint of a run: keys and values,
 * in the opcodes that Python 3 writes for lists, sets, bytes, numbers, objects and
 * calls. */
static const struct {
    const char *bytes;
    size_t n;
} beside[] = {
#define BESIDE(bytes)                                                                              \
    {                                                                                              \
        bytes, sizeof(bytes) - 1                                                                   \
    }
    BESIDE("X\5\0\0\0epochK\3"),
    BESIDE("X\4\0\0\0rateG?\xb9\x99\x99\x99\x99\x99\x9a"),
    BESIDE("X\4\0\0\0list](K\1]NaG\0\0\0\0\0\0\0\0e"),
    BESIDE("X\4\0\0\0loop]q\7h\7a"),
    BESIDE("X\3\0\0\0set\x8f(K\1K\2\x90"),
    BESIDE("X\6\0\0\0frozen(K\1K\2\x91"),
    BESIDE("X\6\0\0\0latin1c_codecs\nencode\nX\5\0\0\0\0\xc3\xbf\1\0X\6\0\0\0latin1\x86R"),
    BESIDE("X\7\0\0\0strangeX\3\0\0\0\xed\xa0\x80"),
    BESIDE("X\5\0\0\0bytesC\3\0\xff\1"),
    BESIDE("X\5\0\0\0BytesB\3\0\0\0\0\xff\1"),
    BESIDE("X\5\0\0\0array\x96\3\0\0\0\0\0\0\0\0\xff\1"),
    BESIDE("X\3\0\0\0big\x8a\x09"
           "123456789"),
    BESIDE("X\6\0\0\0bigger\x8b\x09\0\0\0"
           "123456789"),
    BESIDE("X\5\0\0\0steps}(K\0K\1K\1K\2u"),                /* a dict with numbers as keys */
    BESIDE("X\5\0\0\0keyed}(K\1K\2\x86Nu"),                 /* and with tuples */
    BESIDE("K\7X\5\0\0\0seven"),                            /* in the dict itself */
    BESIDE("(K\1K\1K\1K\1K\1K\1K\1K\1K\1K\1tK\0"),          /* a tuple of 10: "state_dict" has 10 */
    BESIDE("X\5\0\0\0pathsc__main__\nPath\n(X\1\0\0\0/tR"), /* a call */
    BESIDE("X\6\0\0\0configcomegaconf\nDictConfig\n)\x81}X\1\0\0\0aK\1sb"), /* an object */
    BESIDE("X\6\0\0\0withkwcm\nC\n)}\x92"),
    BESIDE("X\4\0\0\0dictccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\1Ns"),
    BESIDE("X\5\0\0\0dequeccollections\ndeque\n)R(K\1K\2e"),
    BESIDE("X\5\0\0\0boundc__builtin__\ngetattr\ncm\nC\nX\1\0\0\0f\x86R)R"),
    BESIDE("X\4\0\0\0evilcos\nsystem\nX\x0b\0\0\0touch EVIL!\x85R"),
    BESIDE("X\6\0\0\0storedctorch\nLongStorage\n"),
    BESIDE("X\5\0\0\0longsctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nLongStorage"
           "\nX\1\0\0\0009X\3\0\0\0cpuK\6tQK\0K\6\x85K\1\x85\x89)tR"),
    BESIDE("X\5\0\0\0paramctorch._utils\n_rebuild_parameter\nN\x88N\x87R"),
    BESIDE("X\6\0\0\0module(X\6\0\0\0modulecm\nC\nX\1\0\0\0ftQ"),
    BESIDE("X\6\0\0\0popped(K\1K\2\x31K\0K\1\x30"),
    BESIDE("X\5\0\0\0laterX\x0a\0\0\0state_dict"), /* the name as a value */
#undef BESIDE
};
#define N_BESIDE (sizeof(beside) / sizeof(beside[0]))

static inline void put_state(struct buf *b, const struct view *views, size_t n)
{
    put_word(b, "state_dict");
    put_text(b, DICT "(");
    for (size_t i = 0; i < n; i++)
        put_tensor(b, &views[i]);
    put_text(b, "u}");
    put_word(b, "_metadata");
    put_text(b, DICT "sb");
}

/* {first, state_dict, last}; the two are keys and values. */
static inline struct buf make_checkpoint_pickle(const void *first, size_t n_first, const void *last,
                                                size_t n_last)
{
    struct buf b = {0};

    put_text(&b, "\x80\x04}(");
    put(&b, first, n_first);
    put_state(&b, state_views, 2);
    put(&b, last, n_last);
    put_text(&b, "u.");
    return b;
}

/* All of these in one. */
static inline struct buf make_whole_checkpoint_pickle(void)
{
    struct buf all = {0}, b;

    for (size_t i = 0; i < N_BESIDE; i++)
        put(&all, beside[i].bytes, beside[i].n);
    b = make_checkpoint_pickle(all.p, all.n, all.p, all.n);
    free(all.p);
    return b;
}

#endif
