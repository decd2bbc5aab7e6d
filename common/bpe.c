/* SPDX-License-Identifier: MIT
 *
 * bpe.c - encoding, and what a vocabulary says of itself.  Contract: bpe.h.
 *
 * The fast encoder searches forward: take the longest token that begins here
 * and is compatible with the one before (bpe_fast.c), else a shorter one, else
 * go back one token.  Each prefix of a text has one encoding only, so no
 * position is reached twice and the search is linear.  A step is short but its
 * loads wait for each other; so a long run is cut into segments that are
 * searched side by side as if each began the text, and are joined where the
 * search coming from the left meets a boundary of the next segment with a
 * compatible pair: all adjacent pairs are then compatible, which makes it the
 * encoding of the whole.
 */
#include "common/bpe.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/bpe_impl.h"
#include "common/xmem.h"

enum {
    N_LANES = 8,        /* hides the latency of a step; 4 is slower, 16 no faster */
    SEGMENT_MIN = 256,  /* a join costs some ten steps */
    SEGMENT_MAX = 4096, /* 8 KiB of tokens a lane: all lanes stay in L2 */
    RUN_MAX = INT_MAX,
    BITS_PAD = 40, /* a look-up at the end reads a longest token and a word further */
};

/* A search, with the tokens so far; tok[0] stands for the start. */
struct chain {
    size_t pos;    /* letters before here are covered by tokens */
    uint16_t *tok; /* [n] numbers of struct bpe_fast */
    size_t n;
    unsigned cand;      /* what to try next at pos */
    size_t start, stop; /* of a lane's segment */
};

struct dnas_bpe_encoder *dnas_bpe_encoder_new(void)
{
    struct dnas_bpe_encoder *enc = dnas_xzalloc(1, sizeof(*enc));

    enc->segment_min = SEGMENT_MIN;
    return enc;
}

void dnas_bpe_encoder_free(struct dnas_bpe_encoder *enc)
{
    if (!enc)
        return;
    free(enc->bits);
    free(enc->lane_tok);
    free(enc->symbol);
    free(enc->heap);
    free(enc);
}

static void ids_reserve(struct dnas_ids *ids, size_t more)
{
    ids->v = dnas_xgrow(ids->v, &ids->cap, ids->n + more, sizeof(*ids->v));
}

static void ids_push(struct dnas_ids *ids, unsigned id)
{
    if (ids->n == ids->cap)
        ids_reserve(ids, 1);
    ids->v[ids->n++] = (uint16_t)id;
}

/* n <= 8 bytes, the first lowest; zero behind them. */
static inline uint64_t load_le(const void *p, size_t n)
{
    uint64_t x = 0;

    memcpy(&x, p, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* Packs the run of A, C, G and T at the beginning of text into enc->bits, which
 * holds n/4 + BITS_PAD bytes; returns its length. */
static size_t pack_run(struct dnas_bpe_encoder *enc, const char *text, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint8_t *out = enc->bits;
    uint64_t bad = 0;
    size_t i = 0;

    while (i < n && !bad) {
        uint64_t w = load_le(text + i, n - i < 8 ? n - i : 8), x = w >> 1 & 3 * ones;

        /* 'A' + 2 code is the letter again, but for T, which is 15 higher. */
        bad = w ^ ('A' * ones + 2 * x + 15 * (x >> 1 & ~x & ones));
        x = (x | x >> 6) & UINT64_C(0x000F000F000F000F);
        x = (x | x >> 12) & UINT64_C(0x000000FF000000FF);
        *out++ = (uint8_t)x;
        *out++ = (uint8_t)(x >> 32);
        i += bad ? (size_t)__builtin_ctzll(bad) / 8 : 8;
    }
    memset(out, 0, BITS_PAD - 2);
    return i;
}

/* The longest token that begins at pos, by the trie. */
static unsigned walk(const struct bpe_fast *f, const uint8_t *bits, size_t pos)
{
    unsigned longest = f->n;
    uint32_t node = 0;

    do {
        node = f->child[node][bits[pos / 4] >> (2 * (pos % 4)) & 3];
        if (f->node_token[node] != f->n)
            longest = f->node_token[node];
        pos++;
    } while (node);
    return longest;
}

static inline unsigned longest_at(const struct bpe_fast *f, const uint8_t *bits, size_t pos)
{
    uint32_t word = (uint32_t)load_le(bits + pos / 4, 4) >> (2 * (pos % 4));
    unsigned longest = f->longest8[word & 0xffff];

    if (__builtin_expect(longest == BPE_FAST_LONG, 0))
        longest = walk(f, bits, pos);
    return longest;
}

static inline bool compatible(const struct bpe_fast *f, unsigned a, unsigned b)
{
    unsigned col = f->tok[b].col;

    return f->compat[f->tok[a].row * f->stride + col / 8] >> (col % 8) & 1;
}

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ /* where the fields of struct bpe_token lie in a word   \
                                            */
enum { BPE_ROW = 48, BPE_COL = 32, BPE_SHORTER = 16, BPE_LEN = 0 };
#else
enum { BPE_ROW = 0, BPE_COL = 16, BPE_SHORTER = 32, BPE_LEN = 48 };
#endif
_Static_assert(sizeof(struct bpe_token) == sizeof(uint64_t), "a token is one word");

static inline uint64_t load_token(const struct bpe_fast *f, unsigned t)
{
    uint64_t word;

    memcpy(&word, &f->tok[t], sizeof(word));
    return word;
}

/* One step of the search: the candidate is taken, or makes way for a shorter
 * one, or, when there is none, the last token makes way for a shorter one.
 * Which it will be is as good as random, so masks take the place of branches
 * (compilers make branches of ?: here). */
static inline void step(const struct bpe_fast *f, const uint8_t *bits, struct chain *c)
{
    /* Whole words: eight narrow loads would take as long as all the rest. */
    uint64_t last = load_token(f, c->tok[c->n - 1]), cand = load_token(f, c->cand);
    unsigned col = (unsigned)(cand >> BPE_COL & 0xffff), longest;
    unsigned shorter = (unsigned)(cand >> BPE_SHORTER & 0xffff);
    uint64_t bit = f->compat[(last >> BPE_ROW & 0xffff) * f->stride + col / 8] >> (col % 8) & 1;
    uint64_t taken = -bit, back = -(uint64_t)(shorter == f->n) & ~taken;

    c->tok[c->n] = (uint16_t)c->cand;
    c->n += bit + back;
    if (__builtin_expect(c->n == 0, 0))
        DNAS_BUG("the tables have no encoding for a text of their letters");
    c->pos += (cand >> BPE_LEN & 0xffff & taken) - (last >> BPE_LEN & 0xffff & back);
    longest = longest_at(f, bits, c->pos);
    shorter ^= (shorter ^ (unsigned)(last >> BPE_SHORTER & 0xffff)) & (unsigned)back;
    c->cand = shorter ^ ((shorter ^ longest) & (unsigned)taken);
}

/* Searches each segment up to the first boundary at or behind its end. */
static void search_lanes(const struct bpe_fast *f, const uint8_t *bits, struct chain *lane,
                         unsigned n_lanes)
{
    struct chain *busy[N_LANES];

    for (unsigned i = 0; i < n_lanes; i++)
        busy[i] = &lane[i];
    while (n_lanes > 0)
        for (unsigned i = 0; i < n_lanes; i++) {
            step(f, bits, busy[i]);
            if (busy[i]->pos >= busy[i]->stop)
                busy[i] = busy[--n_lanes];
        }
}

/* The search from the left, whose tokens lie in ids->v from `base` on. */
struct run {
    const struct bpe_fast *f;
    const uint8_t *bits;
    size_t n;
    struct dnas_ids *ids;
    size_t base;
    struct chain c;
    size_t joined; /* index of the token at the last join: none before it may change */
    bool failed;   /* one before it had to change: the joins are void */
};

/* Makes a candidate that reaches beyond the end of the run a shorter one. */
static void run_fit(struct run *r)
{
    while (r->f->tok[r->c.cand].len > r->n - r->c.pos)
        r->c.cand = r->f->tok[r->c.cand].shorter;
}

static void run_step(struct run *r)
{
    struct chain *c = &r->c;

    r->ids->n = r->base + c->n;
    if (r->ids->n == r->ids->cap)
        ids_reserve(r->ids, 1);
    c->tok = r->ids->v + r->base;
    step(r->f, r->bits, c);
    run_fit(r);
    r->failed = c->n <= r->joined;
}

/* Goes on to a boundary of the lane from which its tokens can be taken over,
 * or to the lane's end. */
static void join(struct run *r, const struct chain *lane)
{
    const struct bpe_token *tok = r->f->tok;
    size_t pos = lane->start, i = 1; /* token i of the lane begins at pos */

    while (r->c.pos < lane->pos && !r->failed) {
        while (pos < r->c.pos)
            pos += tok[lane->tok[i++]].len;
        while (pos > r->c.pos && i > 1)
            pos -= tok[lane->tok[--i]].len;
        if (pos == r->c.pos && compatible(r->f, r->c.tok[r->c.n - 1], lane->tok[i])) {
            size_t more = lane->n - i;

            r->ids->n = r->base + r->c.n;
            ids_reserve(r->ids, more + 1);
            r->c.tok = r->ids->v + r->base;
            memcpy(r->c.tok + r->c.n, lane->tok + i, more * sizeof(*lane->tok));
            r->joined = r->c.n;
            r->c.n += more;
            r->c.pos = lane->pos;
            r->c.cand = lane->cand;
            run_fit(r);
            return;
        }
        run_step(r);
    }
}

static void run_restart(struct run *r)
{
    r->c.pos = 0;
    r->c.n = 1;
    r->joined = 0;
    r->failed = false;
    r->c.cand = longest_at(r->f, r->bits, 0);
    run_fit(r);
}

/* Searches up to N_LANES segments from the current position on, none of which
 * comes so near to the end that a token could reach beyond it. */
static void search_segments(struct run *r, struct dnas_bpe_encoder *enc, size_t end)
{
    struct chain lane[N_LANES];
    size_t room = SEGMENT_MAX + r->f->max_len + 1, pos = r->c.pos, n_lanes, len;

    n_lanes = (end - pos) / enc->segment_min;
    n_lanes = n_lanes < N_LANES ? n_lanes : N_LANES;
    len = (end - pos) / n_lanes;
    len = len < SEGMENT_MAX ? len : SEGMENT_MAX;
    enc->lane_tok =
        dnas_xgrow(enc->lane_tok, &enc->lane_cap, N_LANES * room, sizeof(*enc->lane_tok));
    for (size_t i = 0; i < n_lanes; i++) {
        size_t start = pos + i * len;

        lane[i] = (struct chain){
            .pos = start,
            .tok = enc->lane_tok + i * room,
            .n = 1,
            .cand = longest_at(r->f, r->bits, start),
            .start = start,
            .stop = start + len,
        };
        lane[i].tok[0] = (uint16_t)(r->f->n + 1);
    }
    search_lanes(r->f, r->bits, lane, (unsigned)n_lanes);
    for (size_t i = 0; i < n_lanes && !r->failed; i++)
        join(r, &lane[i]);
}

/* Appends the encoding of the n >= 1 letters in enc->bits. */
static void encode_run(const struct bpe_fast *f, struct dnas_bpe_encoder *enc, size_t n,
                       struct dnas_ids *ids)
{
    struct run r = {.f = f, .bits = enc->bits, .n = n, .ids = ids, .base = ids->n};
    size_t end = n > f->max_len ? n - f->max_len : 0;

    ids_reserve(ids, 2);
    r.c.tok = ids->v + r.base;
    r.c.tok[0] = (uint16_t)(f->n + 1);
    run_restart(&r);
    while (!r.failed && r.c.pos + 2 * enc->segment_min <= end)
        search_segments(&r, enc, end);
    if (r.failed)
        run_restart(&r);
    while (r.c.pos < n) {
        run_step(&r);
        if (r.failed)
            run_restart(&r);
    }
    for (size_t i = 1; i < r.c.n; i++)
        ids->v[r.base + i - 1] = f->id[r.c.tok[i]];
    ids->n = r.base + r.c.n - 1;
}

static bool before(const struct bpe_candidate *a, const struct bpe_candidate *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

/* Adds the merge of the symbols at `at` and behind it, if there is one. */
static void heap_push(const struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, int32_t at)
{
    const struct bpe_symbol *s = enc->symbol;
    struct bpe_candidate c;
    size_t i = enc->heap_n;

    if (at < 0 || s[at].next < 0)
        return;
    c.left = (uint16_t)s[at].id;
    c.right = (uint16_t)s[s[at].next].id;
    c.at = at;
    c.rank = bpe_rank(bpe, c.left, c.right);
    if (c.rank == BPE_NO_RANK)
        return;
    enc->heap = dnas_xgrow(enc->heap, &enc->heap_cap, ++enc->heap_n, sizeof(*enc->heap));
    for (; i > 0 && before(&c, &enc->heap[(i - 1) / 2]); i = (i - 1) / 2)
        enc->heap[i] = enc->heap[(i - 1) / 2];
    enc->heap[i] = c;
}

static struct bpe_candidate heap_pop(struct dnas_bpe_encoder *enc)
{
    struct bpe_candidate *h = enc->heap, top = h[0], last = h[--enc->heap_n];
    size_t i = 0, n = enc->heap_n;

    for (size_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && before(&h[child + 1], &h[child]))
            child++;
        if (!before(&h[child], &last))
            break;
        h[i] = h[child];
        i = child;
    }
    h[i] = last;
    return top;
}

/* Appends the encoding of n >= 1 letters, any vocabulary: the merge of lowest
 * rank first, from the left among equals. */
static void encode_general(const struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc,
                           const char *text, size_t n, struct dnas_ids *ids)
{
    struct bpe_symbol *s = enc->symbol =
        dnas_xgrow(enc->symbol, &enc->symbol_cap, n, sizeof(*enc->symbol));

    for (size_t i = 0; i < n; i++)
        s[i] = (struct bpe_symbol){bpe->ascii[(unsigned char)text[i]], (int32_t)i - 1,
                                   i + 1 < n ? (int32_t)i + 1 : -1};
    enc->heap_n = 0;
    for (size_t i = 0; i < n; i++)
        heap_push(bpe, enc, (int32_t)i);
    while (enc->heap_n > 0) {
        struct bpe_candidate c = heap_pop(enc);
        int32_t next = s[c.at].next;

        if (s[c.at].id != c.left || next < 0 || s[next].id != c.right)
            continue; /* one of the two has been merged since */
        s[c.at].id = bpe->merge[c.rank].result;
        s[c.at].next = s[next].next;
        s[next].id = -1;
        if (s[next].next >= 0)
            s[s[next].next].prev = c.at;
        heap_push(bpe, enc, s[c.at].prev);
        heap_push(bpe, enc, c.at);
    }
    for (int32_t i = 0; i >= 0; i = s[i].next)
        ids_push(ids, (unsigned)s[i].id);
}

/* The longest added token that begins the text, or NULL. */
static const struct bpe_added *added_at(const struct dnas_bpe *bpe, const char *text, size_t n)
{
    if (!bpe->added_first[(unsigned char)*text])
        return NULL;
    for (size_t i = 0; i < bpe->n_added; i++)
        if (bpe->added[i].len <= n && !memcmp(bpe->added[i].text, text, bpe->added[i].len))
            return &bpe->added[i];
    return NULL;
}

/* Decodes the character that begins text (n >= 1) into *c and returns its
 * bytes; a broken one is U+FFFD and as long as its maximal part (Unicode 15,
 * table 3-7 and section 3.9). */
static size_t decode(uint32_t *c, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned lo = 0x80, hi = 0xBF, len = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;

    *c = 0xFFFD;
    if ((s[0] >= 0x80 && s[0] < 0xC2) || s[0] > 0xF4)
        return 1;
    if (s[0] == 0xE0)
        lo = 0xA0;
    else if (s[0] == 0xED)
        hi = 0x9F;
    else if (s[0] == 0xF0)
        lo = 0x90;
    else if (s[0] == 0xF4)
        hi = 0x8F;
    for (unsigned i = 1; i < len; i++, lo = 0x80, hi = 0xBF)
        if (i == n || s[i] < lo || s[i] > hi)
            return i;
    *c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
    for (unsigned i = 1; i < len; i++)
        *c = *c << 6 | (s[i] & 0x3F);
    return len;
}

/* White_Space of Unicode, which is \s of the library's regular expressions. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* Appends what one character that merges do not touch becomes; returns its
 * length in bytes. */
static size_t encode_character(const struct dnas_bpe *bpe, const char *text, size_t n,
                               struct dnas_ids *ids, uint64_t *n_unk)
{
    char utf8[5] = "";
    uint32_t c;
    size_t len = decode(&c, text, n);
    int id;

    if (bpe->whitespace && is_space(c))
        return len;
    if (c < 128) {
        id = bpe->ascii[c];
    } else {
        memcpy(utf8, c == 0xFFFD ? "\xEF\xBF\xBD" : text, c == 0xFFFD ? 3 : len);
        id = dnas_bpe_id(bpe, utf8);
    }
    if (id < 0 && n_unk)
        ++*n_unk;
    ids_push(ids, id < 0 ? bpe->unk : (unsigned)id);
    return len;
}

/* The length of the run of letters at the beginning of text. */
static size_t run_length(const struct dnas_bpe *bpe, const char *text, size_t n)
{
    size_t i = 0;

    while (i < n && bpe->in_run[(unsigned char)text[i]] && !added_at(bpe, text + i, n - i))
        i++;
    return i;
}

void dnas_bpe_encode(const struct dnas_bpe *bpe, struct dnas_bpe_encoder *enc, const char *text,
                     size_t n, struct dnas_ids *ids, uint64_t *n_unk)
{
    if (bpe->fast && n > 0)
        enc->bits = dnas_xgrow(enc->bits, &enc->bits_cap, n / 4 + BITS_PAD, 1);
    for (size_t i = 0; i < n;) {
        size_t len = bpe->fast ? pack_run(enc, text + i, n - i) : run_length(bpe, text + i, n - i);
        const struct bpe_added *added;

        if (len > RUN_MAX)
            DNAS_BUG("a run of %zu letters to encode", len);
        if (len > 0 && bpe->fast) {
            encode_run(bpe->fast, enc, len, ids);
        } else if (len > 0) {
            encode_general(bpe, enc, text + i, len, ids);
        } else if ((added = added_at(bpe, text + i, n - i)) != NULL) {
            ids_push(ids, added->id);
            len = added->len;
        } else {
            len = encode_character(bpe, text + i, n - i, ids, n_unk);
        }
        i += len;
    }
}

void dnas_bpe_wrap(const struct dnas_bpe *bpe, struct dnas_ids *ids, size_t start,
                   size_t max_tokens)
{
    size_t n_specials = bpe->n_before + bpe->n_after;

    if ((max_tokens > 0 && max_tokens < n_specials) || start > ids->n)
        DNAS_BUG("ids %zu to %zu to wrap into %zu", start, ids->n, max_tokens);
    if (max_tokens > 0 && ids->n - start > max_tokens - n_specials)
        ids->n = start + max_tokens - n_specials;
    if (n_specials == 0)
        return;
    ids_reserve(ids, n_specials);
    memmove(ids->v + start + bpe->n_before, ids->v + start, (ids->n - start) * sizeof(*ids->v));
    memcpy(ids->v + start, bpe->special, bpe->n_before * sizeof(*ids->v));
    ids->n += bpe->n_before;
    memcpy(ids->v + ids->n, bpe->special + bpe->n_before, bpe->n_after * sizeof(*ids->v));
    ids->n += bpe->n_after;
}

size_t dnas_bpe_size(const struct dnas_bpe *bpe)
{
    return bpe->n_ids;
}

const char *dnas_bpe_text(const struct dnas_bpe *bpe, size_t id)
{
    return id < bpe->n_ids ? bpe->text[id] : NULL;
}

int dnas_bpe_id(const struct dnas_bpe *bpe, const char *text)
{
    size_t lo = 0, hi = bpe->n_tokens;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(text, bpe->text[bpe->by_text[mid]]);

        if (order == 0)
            return bpe->by_text[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return -1;
}

int dnas_bpe_unk(const struct dnas_bpe *bpe)
{
    return bpe->unk;
}

size_t dnas_bpe_n_specials(const struct dnas_bpe *bpe)
{
    return bpe->n_before + bpe->n_after;
}

const char *dnas_bpe_hash(const struct dnas_bpe *bpe)
{
    return bpe->hash;
}
