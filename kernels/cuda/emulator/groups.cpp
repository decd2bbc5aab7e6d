/* SPDX-License-Identifier: MIT
 *
 * groups.cpp - products of four warps.  Contract: groups.h.
 *
 * A warp's 16 rows of a product depend on no other warp, so that each warp is played alone;
 * that the four ask for the same is looked at.
 */
#include "kernels/cuda/emulator/groups.h"

#include <stdio.h>
#include <string.h>

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "kernels/cuda/emulator/lanes.h"
#include "kernels/cuda/emulator/shared_use.h"

#if defined(__clang__) || defined(__GNUC__)
/* Registers of a lane are read when their scope may have ended. */
#define ANY_STACK __attribute__((no_sanitize("address")))
#endif

namespace emulator
{

namespace
{

constexpr unsigned max_warps = 32, n_lanes = 32;
constexpr uint32_t in_flight = 0x7FEDDEAD; /* a NaN: sums between issue and wait */

/* Sums of a warp while products work on them; d: where the lanes keep them. */
struct sums {
    uint32_t *d[n_lanes];
    unsigned n_words;
    std::vector<float> value; /* [n_lanes, n_words] */
    unsigned n_products;      /* that are not done */
};

struct product {
    std::shared_ptr<sums> to;
    const uint32_t *a[n_lanes]; /* NULL: left is in shared memory */
    uint32_t a_was[n_lanes][4];
    uint64_t left, right;
    unsigned n;
    bool right_turned, adds;
    std::vector<double> a_early, b_early; /* read at the issue, in some blocks */
};

/* Registers that were part of a product, and what was in them at the last fence. */
struct seen {
    std::vector<uint32_t> at_fence;
    const uint32_t *at[n_lanes];
    unsigned n_words;
};

struct request {
    uint64_t left, right;
    unsigned n;
    bool from_registers, right_turned, adds;
};

struct warp {
    bool fenced;
    size_t n_requests;
    std::vector<product> open; /* not yet committed */
    std::deque<std::vector<product>> groups;
    std::map<const uint32_t *, std::shared_ptr<sums>> busy; /* by the first lane's */
    std::map<const uint32_t *, seen> known;
    unsigned registers; /* a thread; 0: as it began */
};

warp warps[max_warps];
std::vector<request> requests[max_warps / 4];
bool reads_early;

ANY_STACK void copy_words(uint32_t *to, const volatile uint32_t *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to[i] = from[i];
}

ANY_STACK bool same_words(const uint32_t *a, const volatile uint32_t *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

warp *mine(void)
{
    return &warps[here.thread / n_lanes];
}

/* Where element (i, k) of an operand lies in shared memory, i along M or N.  PTX ISA, "Shared
 * Memory Matrix Layout" and "Matrix Descriptor Format", which give for 128-byte swizzling, in
 * elements of 128 bits, ((8,m),(T,2k)):((8T,SBO),(1,T)) where K is contiguous and
 * ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO)) where M or N is: an address of offsets that add up, of
 * which bits 4 to 6 are then turned by bits 7 to 9. */
size_t element_at(uint64_t described, unsigned i, unsigned k, bool turned)
{
    uint32_t start = (uint32_t)(described & 0x3FFF) << 4;
    uint32_t leading = (uint32_t)(described >> 16 & 0x3FFF) << 4;
    uint32_t stride = (uint32_t)(described >> 32 & 0x3FFF) << 4;
    uint32_t at;

    if (turned)
        at = start + i / 64 * leading + i % 64 * 2 + k / 8 * stride + k % 8 * 128;
    else
        at = start + i / 8 * stride + i % 8 * 128 + k * 2;
    at &= 0x3FFFF;
    at ^= (at >> 7 & 7) << 4;
    return (size_t)at - SHARED_BEGINS;
}

void check_operand(uint64_t described, unsigned rows, bool turned)
{
    if (described >> 62 != 1 || (described >> 49 & 7) != 0)
        fault("thread %u: an operand that is not of 128-byte swizzling from a multiple of 1,024",
              here.thread);
    /* K may be entered in the midst of a row of 128 bytes, and rows only at a pattern's first. */
    if ((described << 4 & (turned ? 1023 : 1023 - 127)) != 0)
        fault("thread %u: an operand at %u, within the pattern that its swizzling repeats",
              here.thread, (unsigned)(described << 4 & 0x3FFFF));
    for (unsigned i = 0; i < rows; i++)
        for (unsigned k = 0; k < 16; k++) {
            size_t at = element_at(described, i, k, turned);

            if (at + 2 > here.shared_bytes)
                fault("thread %u: an operand at byte %td of %zu of shared memory", here.thread,
                      (ptrdiff_t)at, here.shared_bytes);
        }
}

/* The pieces of 16 bytes that a warp's part of the product reads. */
void use_operands(const product *p, bool begins)
{
    unsigned first = here.thread / n_lanes % 4 * 16;

    for (unsigned i = 0; i < p->n; i += p->right_turned ? 8 : 1)
        for (unsigned k = 0; k < 16; k += p->right_turned ? 1 : 8)
            shared_read(element_at(p->right, i, k, p->right_turned), begins);
    for (unsigned i = 0; i < 16 && !p->a[0]; i++)
        for (unsigned k = 0; k < 16; k += 8)
            shared_read(element_at(p->left, first + i, k, false), begins);
}

double element(uint64_t described, unsigned i, unsigned k, bool turned)
{
    uint16_t bits;

    memcpy(&bits, here.shared + element_at(described, i, k, turned), sizeof(bits));
    return bf16_value(bits);
}

/* a [16][16] and b [n][16] of the warp. */
void read_operands(const product *p, std::vector<double> *a, std::vector<double> *b)
{
    unsigned first = here.thread / n_lanes % 4 * 16;

    a->resize(16 * 16);
    b->resize((size_t)p->n * 16);
    for (unsigned i = 0; i < p->n; i++)
        for (unsigned k = 0; k < 16; k++)
            (*b)[i * 16 + k] = element(p->right, i, k, p->right_turned);
    if (!p->a[0]) {
        for (unsigned i = 0; i < 16; i++)
            for (unsigned k = 0; k < 16; k++)
                (*a)[i * 16 + k] = element(p->left, first + i, k, false);
        return;
    }
    /* "Register Fragments" for m64nNk16: rows g and g + 8, columns 2 t and the next, and 8 more. */
    for (unsigned l = 0; l < n_lanes; l++)
        for (unsigned r = 0; r < 4; r++)
            for (unsigned half = 0; half < 2; half++)
                (*a)[(l / 4 + 8 * (r & 1)) * 16 + 2 * (l % 4) + half + 8 * (r >> 1)] =
                    bf16_value(p->a_was[l][r] >> (16 * half) & 0xFFFF);
}

/* Accumulators of m64nNk16: element 4 j + e is row l / 4 + 8 (e / 2), column 8 j + 2 (l % 4) +
 * e % 2. */
void multiply(const product *p, const double *a, const double *b)
{
    sums *to = p->to.get();

    for (unsigned l = 0; l < n_lanes; l++)
        for (unsigned w = 0; w < p->n / 2; w++) {
            const double *row = a + (l / 4 + 8 * (w / 2 % 2)) * 16;
            const double *column = b + (w / 4 * 8 + 2 * (l % 4) + w % 2) * 16;
            float *sum = &to->value[l * to->n_words + w];
            double s = 0;

            for (unsigned k = 0; k < 16; k++)
                s += row[k] * column[k];
            *sum = (p->adds ? *sum : 0) + (float)s;
        }
}

void finish(product *p)
{
    sums *to = p->to.get();

    for (unsigned l = 0; l < n_lanes && p->a[0]; l++)
        if (!same_words(p->a_was[l], p->a[l], 4))
            fault("lane %u changed the left operand of a product that was under way", l);
    if (!reads_early)
        read_operands(p, &p->a_early, &p->b_early);
    use_operands(p, false);
    multiply(p, p->a_early.data(), p->b_early.data());
    if (--to->n_products > 0)
        return;
    for (unsigned l = 0; l < n_lanes; l++)
        for (unsigned w = 0; w < to->n_words; w++) {
            volatile uint32_t *d = to->d[l] + w;

            if (*d != in_flight)
                fault("lane %u changed sums of a product that was under way", l);
            memcpy((void *)(to->d[l] + w), &to->value[l * to->n_words + w], 4);
        }
    mine()->busy.erase(to->d[0]);
}

void fence_all(void *const *)
{
    warp *w = mine();

    w->fenced = true;
    for (auto &k : w->known) {
        seen *s = &k.second;

        for (unsigned l = 0; l < n_lanes; l++)
            copy_words(&s->at_fence[l * s->n_words], s->at[l], s->n_words);
    }
}

/* Registers that are part of a product must be as they were at the fence. */
void check_fenced(uint32_t *const at[n_lanes], unsigned n_words)
{
    warp *w = mine();
    auto found = w->known.find(at[0]);

    if (found != w->known.end() && found->second.n_words == n_words) {
        for (unsigned l = 0; l < n_lanes; l++)
            if (!same_words(&found->second.at_fence[l * n_words], at[l], n_words))
                fault("lane %u wrote registers of a product after the fence before it", l);
        return;
    }
    seen s;
    s.n_words = n_words;
    s.at_fence.resize((size_t)n_lanes * n_words);
    for (unsigned l = 0; l < n_lanes; l++) {
        s.at[l] = at[l];
        copy_words(&s.at_fence[l * n_words], at[l], n_words);
    }
    w->known[at[0]] = s;
}

struct asked {
    float *d;
    const uint32_t *a;
    request what;
};

void check_request(const request *r)
{
    std::vector<request> *all = &requests[here.thread / n_lanes / 4];
    size_t i = mine()->n_requests++;

    if (i == all->size())
        all->push_back(*r);
    const request *o = &(*all)[i];
    if (o->left != r->left || o->right != r->right || o->n != r->n || o->adds != r->adds ||
        o->from_registers != r->from_registers || o->right_turned != r->right_turned)
        fault("warp %u asks for another product than the others of its group",
              here.thread / n_lanes);
}

void issue_all(void *const each[n_lanes])
{
    const asked *first = (const asked *)each[0];
    uint32_t *d[n_lanes], *a[n_lanes];
    warp *w = mine();
    product p = {};

    if (here.n_threads < here.thread / 128 * 128 + 128)
        fault("thread %u is of no whole group of 128", here.thread);
    check_request(&first->what);
    if (!w->fenced)
        fault("warp %u: a product with no fence since the last wait", here.thread / n_lanes);
    p.left = first->what.left;
    p.right = first->what.right;
    p.n = first->what.n;
    p.right_turned = first->what.right_turned;
    p.adds = first->what.adds;
    check_operand(p.right, p.n, p.right_turned);
    for (unsigned l = 0; l < n_lanes; l++) {
        const asked *q = (const asked *)each[l];

        if (q->what.left != p.left || q->what.right != p.right)
            fault("lane %u asks for another product than the others of its warp", l);
        d[l] = (uint32_t *)q->d;
        a[l] = (uint32_t *)q->a;
        p.a[l] = q->a;
        if (q->a)
            copy_words(p.a_was[l], q->a, 4);
    }
    if (first->a)
        check_fenced(a, 4);
    else
        check_operand(p.left, 64, false);
    use_operands(&p, true);
    auto found = w->busy.find(d[0]);
    if (found != w->busy.end()) {
        p.to = found->second;
        if (p.to->n_words != p.n / 2)
            fault("warp %u: products of different shapes on the same sums", here.thread / n_lanes);
    } else {
        if (p.adds)
            check_fenced(d, p.n / 2);
        p.to = std::make_shared<sums>();
        p.to->n_words = p.n / 2;
        p.to->value.resize((size_t)n_lanes * p.n / 2);
        for (unsigned l = 0; l < n_lanes; l++) {
            p.to->d[l] = d[l];
            copy_words((uint32_t *)&p.to->value[l * p.n / 2], d[l], p.n / 2);
            for (unsigned i = 0; i < p.n / 2; i++)
                *(volatile uint32_t *)(d[l] + i) = in_flight;
        }
        w->busy[d[0]] = p.to;
    }
    p.to->n_products++;
    if (reads_early)
        read_operands(&p, &p.a_early, &p.b_early);
    w->open.push_back(std::move(p));
}

void commit_all(void *const *)
{
    warp *w = mine();

    w->groups.push_back(std::move(w->open));
    w->open.clear();
}

void nothing(void *const *)
{
}

void wait_all(void *const each[n_lanes])
{
    unsigned left = *(const unsigned *)each[0];
    warp *w = mine();

    while (w->groups.size() > left) {
        for (product &p : w->groups.front())
            finish(&p);
        w->groups.pop_front();
        w->fenced = false;
    }
}

void count_registers(void *const each[n_lanes])
{
    mine()->registers = *(const unsigned *)each[0];
}

} // namespace

void group_fence(void)
{
    join_warp(fence_all, nullptr);
}

void group_commit(void)
{
    join_warp(commit_all, nullptr);
}

void group_wait(unsigned groups_left)
{
    join_warp(nothing, nullptr);
    if (!reads_early && mine()->groups.size() > groups_left)
        stand_back();
    join_warp(wait_all, &groups_left);
}

void group_product(float *d, unsigned n, const uint32_t *a, uint64_t left, uint64_t right,
                   bool right_turned, bool adds)
{
    asked mine = {d, a, {left, right, n, a != nullptr, right_turned, adds}};

    join_warp(issue_all, &mine);
}

void registers_set(unsigned n)
{
    if (n % 8 != 0 || n < 24 || n > 256)
        fault("thread %u: %u registers is not a multiple of 8 from 24 to 256", here.thread, n);
    join_warp(count_registers, &n);
}

void groups_block_begins(bool early, bool stands_back)
{
    reads_early = early;
    for (warp &w : warps)
        w = warp();
    for (auto &r : requests)
        r.clear();
    shared_block_begins(early, stands_back);
}

void groups_lane_ends(void)
{
    warp *w = mine();

    if (!w->open.empty() || !w->groups.empty())
        fault("thread %u ended with products that it did not wait for", here.thread);
}

void groups_block_ends(void)
{
    unsigned n = here.n_threads / n_lanes, total = 0;

    for (unsigned i = 0; i < n; i++) {
        const warp *w = &warps[i];

        if (w->n_requests != requests[i / 4].size())
            block_fault("warp %u asked for %zu products and others of its group for %zu", i,
                        w->n_requests, requests[i / 4].size());
        if (w->registers != warps[i / 4 * 4].registers)
            block_fault("warp %u has %u registers and others of its group %u", i, w->registers,
                        warps[i / 4 * 4].registers);
        total += n_lanes * w->registers;
    }
    if (total > 65536)
        block_fault("%u registers were asked for, and there are 65,536", total);
    shared_block_ends();
}

} // namespace emulator
