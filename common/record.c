/* SPDX-License-Identifier: MIT
 *
 * record.c - names and sizes of kinds and types.  Contract: record.h.
 */
#include "common/record.h"

#include <string.h>

static const char *const kind_name[DNAS_N_KINDS] = {"PAIRS", "TOKENS", "EMBEDDINGS", "LABELS"};

static const struct {
    const char *name;
    size_t size;
} type_info[DNAS_N_TYPES] = {
    [DNAS_UTF8] = {"utf8", 1}, [DNAS_U8] = {"u8", 1},     [DNAS_U16] = {"u16", 2},
    [DNAS_U32] = {"u32", 4},   [DNAS_I32] = {"i32", 4},   [DNAS_I64] = {"i64", 8},
    [DNAS_F32] = {"f32", 4},   [DNAS_BF16] = {"bf16", 2},
};

const char *dnas_kind_name(enum dnas_kind kind)
{
    return kind_name[kind];
}

int dnas_kind_from_name(const char *name)
{
    for (int i = 0; i < DNAS_N_KINDS; i++)
        if (strcmp(kind_name[i], name) == 0)
            return i;
    return -1;
}

const char *dnas_type_name(enum dnas_type type)
{
    return type_info[type].name;
}

int dnas_type_from_name(const char *name)
{
    for (int i = 0; i < DNAS_N_TYPES; i++)
        if (strcmp(type_info[i].name, name) == 0)
            return i;
    return -1;
}

size_t dnas_type_size(enum dnas_type type)
{
    return type_info[type].size;
}

uint16_t dnas_bf16_from_f32(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    if ((u & 0x7fffffffu) > 0x7f800000u) /* a NaN: rounding could make it infinite */
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float dnas_f32_from_bf16(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

/* The length of the UTF-8 character at s, or 0; RFC 3629, section 4. */
static size_t utf8_char(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] == 0 || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

bool dnas_is_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint64_t w;
        size_t len;

        if (n - i >= 8) { /* eight plain ASCII characters at once */
            memcpy(&w, s + i, 8);
            if (((w | (w - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) == 0) {
                i += 8;
                continue;
            }
        }
        len = utf8_char((const unsigned char *)s + i, n - i);

        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

bool dnas_is_plain_text(const char *s, size_t n)
{
    bool control = false;

    for (size_t i = 0; i < n; i++)
        control |= (unsigned char)s[i] < 0x20;
    return !control && dnas_is_utf8(s, n);
}
