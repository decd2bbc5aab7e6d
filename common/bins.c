/* SPDX-License-Identifier: MIT
 *
 * bins.c - bins for other programs.  Contract: bins.h.
 */
#include "common/bins.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/idmap.h"
#include "common/msg.h"
#include "common/seq.h"
#include "common/text.h"
#include "common/xmem.h"

#define LINE 80
#define LETTERS (64 * LINE * 8) /* read at once; whole lines */

struct dnas_bins_out {
    const struct dnas_bins_opt *o;
    struct dnas_out *contig2bin, *bioboxes, *table; /* NULL: not wanted */
    struct dnas_bins_folder *folder;
};

/* What is known of a bin. */
struct bin {
    size_t n, begin; /* rows, and where they are in `length` */
    uint64_t bp, n_gc, n_acgt;
    double score;
};

struct work {
    struct dnas_bins_out *out;
    const struct dnas_binned *b;
    struct dnas_idmap ids; /* of the rows */
    struct bin *bin;       /* [n_bins] */
    size_t n_bins;         /* one more than the largest number */
    uint64_t *length_bp;   /* [N], of the sequences */
    bool *is_seen;         /* [N], whether the sequence was read */
};

struct dnas_binned dnas_binned_embeddings(const struct dnas_embeddings *e, const int32_t *bin,
                                          const float *score)
{
    struct dnas_binned b = {.N = e->N, .bin = bin, .score = score, .id = e->id};
    int column = dnas_header_find(&e->header, "length_bp");

    b.rows = dnas_table_block(&e->rest);
    if (column >= 0 && e->header.columns[column].type == DNAS_U32 &&
        !e->header.columns[column].ragged && e->header.columns[column].dim == 1)
        b.length_bp = b.rows.cells[column].values;
    return b;
}

static int open_file(struct dnas_out **out, const char *path, struct dnas_err *err)
{
    *out = path ? dnas_out_open(path, false, err) : NULL;
    return path && !*out ? -1 : 0;
}

struct dnas_bins_out *dnas_bins_out_open(const struct dnas_bins_opt *options, struct dnas_err *err)
{
    struct dnas_bins_out *out = dnas_xzalloc(1, sizeof(*out));

    out->o = options;
    if (open_file(&out->contig2bin, options->contig2bin, err) == 0 &&
        open_file(&out->bioboxes, options->bioboxes, err) == 0 &&
        open_file(&out->table, options->table, err) == 0) {
        if (options->bins)
            out->folder = dnas_bins_folder_open(options->bins, options->gzip, err);
        if (!options->bins || out->folder)
            return out;
    }
    dnas_bins_out_abandon(out);
    return NULL;
}

void dnas_bins_out_abandon(struct dnas_bins_out *out)
{
    if (!out)
        return;
    dnas_out_abandon(out->contig2bin, false);
    dnas_out_abandon(out->bioboxes, false);
    dnas_out_abandon(out->table, false);
    dnas_bins_folder_abandon(out->folder);
    free(out);
}

static bool is_wanted(const struct dnas_bins_out *out)
{
    return out->contig2bin || out->bioboxes || out->table || out->folder;
}

/* ---- rows ---- */

static const char *id_of(const struct dnas_binned *b, size_t row, size_t *n)
{
    return dnas_block_ragged(&b->rows, b->id, (uint32_t)row, n);
}

/* Numbers the ids: a file that says where a sequence belongs must name it once. */
static int number_ids(struct work *w, struct dnas_err *err)
{
    for (size_t row = 0; row < w->b->N; row++) {
        size_t n;
        const char *id = id_of(w->b, row, &n);

        if (dnas_idmap_add(&w->ids, id, n) != row)
            return dnas_err_set(err,
                                "row %zu has the id '%.*s' of an earlier row: files of bins need "
                                "ids that differ",
                                row + 1, n < 200 ? (int)n : 200, id);
    }
    return 0;
}

static void count_rows(struct work *w)
{
    const struct dnas_binned *b = w->b;
    size_t begin = 0;

    for (size_t row = 0; row < b->N; row++)
        if (b->bin[row] >= 0 && (size_t)b->bin[row] >= w->n_bins)
            w->n_bins = (size_t)b->bin[row] + 1;
    w->bin = dnas_xzalloc(w->n_bins, sizeof(*w->bin));
    for (size_t row = 0; row < b->N; row++)
        if (b->bin[row] >= 0) {
            w->bin[b->bin[row]].n++;
            w->bin[b->bin[row]].score += (double)b->score[row];
        }
    for (size_t k = 0; k < w->n_bins; k++) {
        w->bin[k].begin = begin;
        begin += w->bin[k].n;
    }
}

/* ---- the sequences ---- */

/* Letters of the record in lines, and what they are. */
static int copy_letters(struct work *w, struct dnas_seq *seq, int32_t bin, uint64_t *length_bp,
                        struct dnas_text *text, char *buf, struct dnas_err *err)
{
    struct bin none = {0}, *k = bin >= 0 ? &w->bin[bin] : &none;
    ptrdiff_t n;

    while ((n = dnas_seq_read(seq, buf, LETTERS, err)) > 0) {
        for (ptrdiff_t i = 0; i < n; i++) {
            const char c = (char)(buf[i] & ~0x20); /* upper case */

            k->n_gc += c == 'G' || c == 'C';
            k->n_acgt += c == 'A' || c == 'C' || c == 'G' || c == 'T' || c == 'U';
        }
        *length_bp += (uint64_t)n;
        text->n = 0;
        for (ptrdiff_t i = 0; w->out->folder && i < n; i += LINE) {
            dnas_text_append(text, buf + i, n - i < LINE ? (size_t)(n - i) : LINE);
            dnas_text_append(text, "\n", 1);
        }
        if (text->n > 0 &&
            dnas_bins_folder_append(w->out->folder, bin, text->data, text->n, err) != 0)
            return -1;
        if (n < LETTERS)
            break;
    }
    return n < 0 ? -1 : 0;
}

static int copy_record(struct work *w, struct dnas_seq *seq, struct dnas_text *text, char *buf,
                       struct dnas_err *err)
{
    const char *id = dnas_seq_id(seq);
    size_t row = dnas_idmap_find(&w->ids, id, strlen(id));
    int32_t bin = row == SIZE_MAX ? -1 : w->b->bin[row];
    uint64_t length_bp = 0;

    text->n = 0;
    dnas_text_printf(text, ">%s\n", id);
    if (w->out->folder &&
        dnas_bins_folder_append(w->out->folder, bin, text->data, text->n, err) != 0)
        return -1;
    if (copy_letters(w, seq, bin, &length_bp, text, buf, err) != 0)
        return -1;
    if (row != SIZE_MAX) {
        w->is_seen[row] = true;
        w->length_bp[row] = length_bp;
    }
    return 0;
}

static int check_all_seen(const struct work *w, struct dnas_err *err)
{
    for (size_t row = 0; row < w->b->N; row++) {
        size_t n;
        const char *id = id_of(w->b, row, &n);

        if (!w->is_seen[row])
            return dnas_err_set(err, "%s: has no sequence '%.*s'; give the FASTA that was embedded",
                                w->out->o->sequences, n < 200 ? (int)n : 200, id);
    }
    return 0;
}

static int read_sequences(struct work *w, struct dnas_err *err)
{
    char *path = dnas_xstrdup(w->out->o->sequences), *buf = dnas_xalloc(LETTERS, 1);
    const struct dnas_seq_options options = {.keep_case = true};
    struct dnas_seq *seq = dnas_seq_open(NULL, &path, 1, &options, err);
    struct dnas_text text = {0};
    int status = seq ? 1 : -1;

    w->is_seen = dnas_xzalloc(w->b->N, sizeof(*w->is_seen));
    w->length_bp = dnas_xzalloc(w->b->N, sizeof(*w->length_bp));
    while (status == 1)
        if ((status = dnas_seq_next(seq, err)) == 1 && copy_record(w, seq, &text, buf, err) != 0)
            status = -1;
    if (status == 0)
        status = check_all_seen(w, err);
    if (status == 0 && w->out->folder)
        status = dnas_bins_folder_finish(w->out->folder, err);
    dnas_seq_close(seq);
    free(text.data);
    free(buf);
    free(path);
    return status;
}

/* ---- the files ---- */

static int write_text(struct dnas_out *out, struct dnas_text *t, struct dnas_err *err)
{
    int status = t->n > 0 ? dnas_out_write(out, t->data, t->n, err) : 0;

    free(t->data);
    *t = (struct dnas_text){0};
    return status;
}

/* id<TAB>bin.N of each row in a bin. */
static void append_pairs(struct dnas_text *t, const struct dnas_binned *b)
{
    for (size_t row = 0; row < b->N; row++) {
        size_t n;
        const char *id = id_of(b, row, &n);

        if (b->bin[row] < 0)
            continue;
        dnas_text_append(t, id, n);
        dnas_text_printf(t, "\tbin.%" PRId32 "\n", b->bin[row]);
    }
}

/* AMBER's reader takes what follows a # for a comment. */
static void warn_of_hashes(const struct dnas_binned *b, const char *path)
{
    size_t n_hashes = 0, n;

    for (size_t row = 0; row < b->N; row++) {
        const char *id = id_of(b, row, &n);

        n_hashes += b->bin[row] >= 0 && memchr(id, '#', n) != NULL;
    }
    if (n_hashes > 0)
        dnas_msg_warn("%s: %zu ids have a '#', from which on AMBER does not read them", path,
                      n_hashes);
}

static int falling(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x < y) - (x > y);
}

/* The length of the shortest of the longest sequences that together are half of all. */
static uint64_t n50_of(uint64_t *length, size_t n, uint64_t bp)
{
    uint64_t sum = 0;

    qsort(length, n, sizeof(*length), falling);
    for (size_t i = 0; i < n; i++) {
        sum += length[i];
        if (sum >= bp - sum)
            return length[i];
    }
    return 0;
}

static bool knows_lengths(const struct work *w)
{
    return w->length_bp || w->b->length_bp;
}

/* Free it: the lengths of the rows in bins, a bin after the other. */
static uint64_t *lengths_by_bin(struct work *w)
{
    uint64_t *length = dnas_xalloc(w->b->N, sizeof(*length));

    for (size_t row = 0; knows_lengths(w) && row < w->b->N; row++) {
        struct bin *k;

        if (w->b->bin[row] < 0)
            continue;
        k = &w->bin[w->b->bin[row]];
        length[k->begin] = w->length_bp ? w->length_bp[row] : w->b->length_bp[row];
        k->bp += length[k->begin++];
    }
    for (size_t i = 0; knows_lengths(w) && i < w->n_bins; i++)
        w->bin[i].begin -= w->bin[i].n;
    return length;
}

static void append_table(struct dnas_text *t, struct work *w)
{
    uint64_t *length = lengths_by_bin(w);

    dnas_text_printf(t, "bin\tsequences\tbp\tn50\tgc\tmean_score\n");
    for (size_t i = 0; i < w->n_bins; i++) {
        const struct bin *k = &w->bin[i];

        if (k->n == 0)
            continue;
        dnas_text_printf(t, "bin.%zu\t%zu\t", i, k->n);
        if (knows_lengths(w))
            dnas_text_printf(t, "%" PRIu64 "\t%" PRIu64 "\t", k->bp,
                             n50_of(length + k->begin, k->n, k->bp));
        else
            dnas_text_printf(t, "NA\tNA\t");
        if (k->n_acgt > 0)
            dnas_text_printf(t, "%.9g\t", (double)k->n_gc / (double)k->n_acgt);
        else
            dnas_text_printf(t, "NA\t");
        dnas_text_printf(t, "%.9g\n", k->score / (double)k->n);
    }
    free(length);
}

static int write_all(struct work *w, struct dnas_err *err)
{
    struct dnas_bins_out *out = w->out;
    struct dnas_text t = {0};

    if (out->contig2bin) {
        append_pairs(&t, w->b);
        if (write_text(out->contig2bin, &t, err) != 0)
            return -1;
    }
    if (out->bioboxes) {
        warn_of_hashes(w->b, out->o->bioboxes);
        dnas_text_printf(&t, "@Version:0.9.1\n@SampleID:%s\n@@SEQUENCEID\tBINID\n",
                         out->o->sample_id);
        append_pairs(&t, w->b);
        if (write_text(out->bioboxes, &t, err) != 0)
            return -1;
    }
    if (out->table) {
        append_table(&t, w);
        return write_text(out->table, &t, err);
    }
    return 0;
}

static int commit_file(struct dnas_out **out, struct dnas_err *err)
{
    struct dnas_out *o = *out;

    *out = NULL;
    return o ? dnas_out_commit(o, err) : 0;
}

static int commit_all(struct dnas_bins_out *out, struct dnas_err *err)
{
    struct dnas_bins_folder *folder = out->folder;

    out->folder = NULL;
    if (folder && dnas_bins_folder_commit(folder, err) != 0)
        return -1;
    if (commit_file(&out->contig2bin, err) != 0 || commit_file(&out->bioboxes, err) != 0)
        return -1;
    return commit_file(&out->table, err);
}

int dnas_bins_out_write(struct dnas_bins_out *out, const struct dnas_binned *b,
                        struct dnas_err *err)
{
    struct work w = {.out = out, .b = b};
    int status = 0;

    if (is_wanted(out))
        status = number_ids(&w, err);
    count_rows(&w);
    if (status == 0 && out->o->sequences)
        status = read_sequences(&w, err);
    if (status == 0)
        status = write_all(&w, err);
    if (status == 0)
        status = commit_all(out, err);
    dnas_bins_out_abandon(out); /* what has not been committed */
    dnas_idmap_release(&w.ids);
    free(w.bin);
    free(w.length_bp);
    free(w.is_seen);
    return status;
}
