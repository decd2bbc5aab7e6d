/* SPDX-License-Identifier: MIT
 *
 * fuzz_safetensors.c - .safetensors files.
 */
#include "tests/fuzz/fuzz_weights.h"
#include "tests/unit/weights_files.h"

int fuzz_try(const uint8_t *data, size_t n)
{
    return fuzz_weights(data, n);
}

static const struct {
    const char *header;
    size_t n_data;
} samples[] = {
    {"{\"__metadata__\":{\"format\":\"pt\"},"
     "\"wide\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[22,38]},"
     "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
     "\"none\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[8,8]},"
     "\"half\":{\"dtype\":\"F16\",\"shape\":[5],\"data_offsets\":[8,18]},"
     "\"brain\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[18,20]},"
     "\"bytes\":{\"dtype\":\"U8\",\"shape\":[1,1,2],\"data_offsets\":[20,22]}}  ",
     38},
    {"{\"x.weight\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[0,16]},"
     "\"y.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]}}",
     20},
    {"{}", 0},
};

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const uint8_t data[64] = {0, 0, 0x80, 0x3f, 1, 2, 3, 4};
    struct buf b;

    if (i >= sizeof(samples) / sizeof(samples[0]))
        return NULL;
    b = make_safetensors(samples[i].header, data, samples[i].n_data);
    *n = b.n;
    return b.p;
}

/* The length of the header: to where its braces close, and spaces after them. */
size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    int depth = 0;
    bool quoted = false;
    size_t at = 8;

    (void)max;
    for (; at < n; at++) {
        if (quoted && data[at] == '\\')
            at++;
        else if (data[at] == '"')
            quoted = !quoted;
        else if (!quoted && data[at] == '{')
            depth++;
        else if (!quoted && data[at] == '}' && --depth == 0)
            break;
    }
    if (at >= n)
        return n;
    for (at++; at < n && data[at] == ' '; at++)
        ;
    for (size_t i = 0; i < 8; i++)
        data[i] = (uint8_t)((uint64_t)(at - 8) >> (8 * i));
    return n;
}
