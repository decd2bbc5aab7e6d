/* SPDX-License-Identifier: MIT
 *
 * binning_read.c - bins and the truth about them.  Contract: binning_read.h.
 */
#include "common/binning_read.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bioboxes.h"
#include "common/stream.h"
#include "common/xmem.h"

/* In a sample: pairs of base pairs are counted in 128 bits, and a sequence in four bins counts
 * four times. */
#define MAX_BP (UINT64_C(1) << 60)

enum list { GENOMES, BINS };

struct loader {
    struct dnas_binning_set *set;
    const char *truth_name;   /* of the truth's file; NULL: the bins' own labels */
    struct dnas_reader *bins; /* LABELS */
    struct dnas_idset ids;    /* of LABELS */
    char *bound;              /* name of the bins' only sample, where the truth has one too */
    bool *is_met;             /* [n_samples] */
};

/* ---- samples ---- */

static struct dnas_binning_sample *add_sample(struct dnas_binning_set *set, const char *name)
{
    struct dnas_binning_sample *s;

    set->samples = dnas_xgrow(set->samples, &set->cap, set->n_samples + 1, sizeof(*set->samples));
    s = &set->samples[set->n_samples++];
    *s = (struct dnas_binning_sample){.name = dnas_xstrdup(name)};
    return s;
}

static struct dnas_binning_sample *find_sample(struct dnas_binning_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_samples; i++)
        if (strcmp(set->samples[i].name, name) == 0)
            return &set->samples[i];
    return NULL;
}

/* Makes room for sequence number i, and for it alone. */
static int add_sequence(struct dnas_binning_sample *s, size_t i, struct dnas_err *err)
{
    if (i < s->n_sequences)
        return 0;
    if (i >= UINT32_MAX - 1)
        return dnas_err_set(err, "more than 2^32 - 2 sequences");
    s->n_sequences = i + 1;
    s->length_bp = dnas_xgrow(s->length_bp, &s->length_cap, i + 1, sizeof(*s->length_bp));
    s->is_listed = dnas_xgrow(s->is_listed, &s->listed_cap, i + 1, sizeof(*s->is_listed));
    s->length_bp[i] = 0;
    s->is_listed[i] = false;
    for (int k = 0; k < 2; k++) {
        s->last[k] = dnas_xgrow(s->last[k], &s->last_cap[k], i + 1, sizeof(*s->last[k]));
        s->last[k][i] = UINT32_MAX;
    }
    return 0;
}

/* Puts the sequence into a group; *is_new false if it was there. */
static int join(struct dnas_binning_sample *s, enum list list, size_t sequence, const char *name,
                size_t n_name, bool *is_new, struct dnas_err *err)
{
    struct dnas_idmap *map = list == GENOMES ? &s->genome_ids : &s->bin_ids;
    struct dnas_member **members = list == GENOMES ? &s->genome_of : &s->bin_of;
    size_t *n = list == GENOMES ? &s->n_genome_of : &s->n_bin_of;
    size_t *cap = list == GENOMES ? &s->genome_cap : &s->bin_cap;
    uint32_t group = (uint32_t)dnas_idmap_add(map, name, n_name);

    *is_new = true;
    for (uint32_t m = s->last[list][sequence]; m != UINT32_MAX; m = s->next[list][m])
        if ((*members)[m].group == group)
            *is_new = false;
    if (!*is_new)
        return 0;
    if (*n >= UINT32_MAX - 1)
        return dnas_err_set(err, "more than 2^32 - 2 rows");
    *members = dnas_xgrow(*members, cap, *n + 1, sizeof(**members));
    s->next[list] = dnas_xgrow(s->next[list], &s->next_cap[list], *n + 1, sizeof(*s->next[list]));
    (*members)[*n] = (struct dnas_member){(uint32_t)sequence, group};
    s->next[list][*n] = s->last[list][sequence];
    s->last[list][sequence] = (uint32_t)(*n)++;
    return 0;
}

static int set_length(struct dnas_binning_sample *s, size_t sequence, uint64_t length_bp,
                      const char *id, struct dnas_err *err)
{
    uint64_t *known = &s->length_bp[sequence];

    if (length_bp > 0 && *known > 0 && *known != length_bp)
        return dnas_err_set(err, "'%.200s' has the length %" PRIu64 ", and %" PRIu64 " elsewhere",
                            id, length_bp, *known);
    if (length_bp > 0)
        *known = length_bp;
    return 0;
}

/* ---- the truth ---- */

static int gold_row(void *ctx, const struct dnas_bioboxes_row *row, struct dnas_err *err)
{
    struct dnas_binning_set *set = ctx;
    struct dnas_binning_sample *s = find_sample(set, row->sample);
    size_t sequence;
    bool is_new;

    if (!s)
        s = add_sample(set, row->sample);
    if (!row->id)
        return 0;
    sequence = dnas_idmap_add(&s->ids, row->id, strlen(row->id));
    if (add_sequence(s, sequence, err) != 0 ||
        set_length(s, sequence, row->length_bp, row->id, err) != 0)
        return dnas_err_at(err, "line %" PRIu64 ": ", row->line);
    return join(s, GENOMES, sequence, row->bin, strlen(row->bin), &is_new, err);
}

static int labels_to_set(struct dnas_binning_set *set, const struct dnas_labels *l,
                         struct dnas_err *err)
{
    struct dnas_binning_sample *s = add_sample(set, "");

    for (size_t i = 0; i < l->ids.n; i++) {
        const char *id = dnas_idmap_text(&l->ids, i);
        const char *label = dnas_idmap_text(&l->names, l->name_of[i]);
        size_t sequence;
        bool is_new;

        if (!*label)
            continue;
        sequence = dnas_idmap_add(&s->ids, id, strlen(id));
        if (add_sequence(s, sequence, err) != 0 ||
            join(s, GENOMES, sequence, label, strlen(label), &is_new, err) != 0)
            return -1;
    }
    return 0;
}

static int load_truth(struct dnas_binning_set *set, const char *path, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(path, err);
    struct dnas_labels labels = {0};
    int status = in ? dnas_in_is_bioboxes(in, err) : -1;

    set->is_named = status == 1;
    if (status == 1)
        status = dnas_bioboxes_read(in, gold_row, set, err);
    else if (status == 0 && (status = dnas_labels_read(&labels, in, err)) == 0)
        status = labels_to_set(set, &labels, err);
    dnas_labels_release(&labels);
    dnas_in_close(in);
    return status;
}

/* ---- bins from bioboxes ---- */

/* The truth's sample for one of the bins; *sample NULL: the row has none. */
static int bind_sample(struct loader *l, struct dnas_binning_sample **sample,
                       const struct dnas_bioboxes_row *row, struct dnas_err *err)
{
    struct dnas_binning_set *set = l->set;

    if (set->n_samples == 1) {
        *sample = &set->samples[0];
        if (!l->bound)
            l->bound = dnas_xstrdup(row->sample);
        if (strcmp(l->bound, row->sample) == 0)
            return 0;
        return dnas_err_set(err, "line %" PRIu64 ": has a second sample, '%.200s', but %s has one",
                            row->line, row->sample, l->truth_name);
    }
    *sample = find_sample(set, row->sample);
    if (*sample)
        return 0;
    return dnas_err_set(err, "line %" PRIu64 ": the sample '%.200s' is not in %s", row->line,
                        row->sample, l->truth_name);
}

/* The sequence of this id, or of its first word: some programs write whole header lines. */
static size_t find_sequence(const struct dnas_binning_sample *s, const char *id)
{
    size_t sequence = dnas_idmap_find(&s->ids, id, strlen(id)), word = strcspn(id, " ");

    if (sequence == SIZE_MAX && id[word])
        sequence = dnas_idmap_find(&s->ids, id, word);
    return sequence;
}

static int bin_row(void *ctx, const struct dnas_bioboxes_row *row, struct dnas_err *err)
{
    struct loader *l = ctx;
    struct dnas_binning_sample *s;
    size_t sequence;
    bool is_new;

    if (bind_sample(l, &s, row, err) != 0)
        return -1;
    l->is_met[s - l->set->samples] = true;
    if (!row->id)
        return 0;
    l->set->n_rows++;
    sequence = find_sequence(s, row->id);
    if (sequence == SIZE_MAX) {
        l->set->n_unlabelled++;
        return 0;
    }
    s->is_listed[sequence] = true;
    if (set_length(s, sequence, row->length_bp, row->id, err) != 0)
        return dnas_err_at(err, "line %" PRIu64 ": ", row->line);
    if (join(s, BINS, sequence, row->bin, strlen(row->bin), &is_new, err) != 0)
        return -1;
    l->set->n_repeated += !is_new;
    return 0;
}

static int load_bioboxes(struct loader *l, struct dnas_in *in, struct dnas_err *err)
{
    struct dnas_binning_set *set = l->set;
    int status;

    if (!l->truth_name)
        return dnas_err_set(err, "%s: says nothing of genomes: give the gold standard with --truth",
                            dnas_in_name(in));
    set->all_listed = true;
    l->is_met = dnas_xzalloc(set->n_samples, sizeof(*l->is_met));
    status = dnas_bioboxes_read(in, bin_row, l, err);
    for (size_t i = 0; status == 0 && i < set->n_samples; i++)
        set->n_absent += !l->is_met[i];
    free(l->is_met);
    free(l->bound);
    return status;
}

/* ---- bins from LABELS ---- */

/* Finds the row's sequence, or makes one of its own label; SIZE_MAX: it has no true label. */
static int sequence_of_row(struct loader *l, size_t *sequence, const struct dnas_block *b,
                           uint32_t row, int id_column, int label_column, struct dnas_err *err)
{
    struct dnas_binning_sample *s = &l->set->samples[0];
    size_t n_id, n_label = 0;
    const char *id = dnas_block_ragged(b, id_column, row, &n_id), *label = NULL;
    bool is_new;

    *sequence = SIZE_MAX;
    if (l->truth_name) {
        if (!dnas_idset_add(&l->ids, id, n_id))
            return dnas_err_set(err, "%s: the id '%.*s' comes twice, so --truth cannot be joined",
                                dnas_reader_name(l->bins), (int)(n_id < 200 ? n_id : 200), id);
        *sequence = dnas_idmap_find(&s->ids, id, n_id);
        return 0;
    }
    label = dnas_block_ragged(b, label_column, row, &n_label);
    if (n_label == 0)
        return 0;
    *sequence = s->n_sequences;
    if (add_sequence(s, *sequence, err) != 0 ||
        join(s, GENOMES, *sequence, label, n_label, &is_new, err) != 0)
        return dnas_err_at(err, "%s: ", dnas_reader_name(l->bins));
    return 0;
}

static int add_block(struct loader *l, const struct dnas_block *b, struct dnas_err *err)
{
    const struct dnas_header *h = dnas_reader_header(l->bins);
    struct dnas_binning_sample *s = &l->set->samples[0];
    int id_column = dnas_header_find(h, "id"), label_column = dnas_header_find(h, "label");
    int length_column = dnas_header_find(h, "length_bp");
    const int32_t *cluster = b->cells[dnas_header_find(h, "cluster")].values;
    const uint32_t *length_bp = NULL;

    if (length_column >= 0 && h->columns[length_column].type == DNAS_U32)
        length_bp = b->cells[length_column].values;
    for (uint32_t row = 0; row < b->n_rows; row++) {
        char name[16];
        size_t sequence;
        bool is_new;

        if (cluster[row] < -1)
            return dnas_err_set(err, "%s: row %" PRIu64 " has cluster %" PRId32 ", below -1",
                                dnas_reader_name(l->bins), b->first_row + row + 1, cluster[row]);
        if (sequence_of_row(l, &sequence, b, row, id_column, label_column, err) != 0)
            return -1;
        l->set->n_rows++;
        l->set->n_unlabelled += sequence == SIZE_MAX;
        if (sequence == SIZE_MAX)
            continue;
        s->is_listed[sequence] = true;
        if (length_bp && s->length_bp[sequence] == 0)
            s->length_bp[sequence] = length_bp[row];
        snprintf(name, sizeof(name), "%" PRId32, cluster[row]);
        if (cluster[row] >= 0 && join(s, BINS, sequence, name, strlen(name), &is_new, err) != 0)
            return dnas_err_at(err, "%s: ", dnas_reader_name(l->bins));
    }
    return 0;
}

static int load_labels(struct loader *l, struct dnas_in *in, struct dnas_err *err)
{
    int is_stream = dnas_in_is_stream(in, err), label, status;
    const struct dnas_header *h;
    struct dnas_block b;

    if (is_stream < 0) {
        dnas_in_close(in);
        return -1;
    }
    l->bins = is_stream ? dnas_reader_on(in, err) : dnas_reader_on_tsv(in, err);
    if (!l->bins || dnas_reader_expect(l->bins, DNAS_LABELS, err) != 0)
        return -1;
    h = dnas_reader_header(l->bins);
    label = dnas_header_find(h, "label");
    if (!l->truth_name && (label < 0 || h->columns[label].type != DNAS_UTF8))
        return dnas_err_set(err, "%s: has no column 'label': give the true labels with --truth",
                            dnas_reader_name(l->bins));
    if (!l->truth_name)
        add_sample(l->set, "");
    if (l->set->n_samples != 1)
        return dnas_err_set(err,
                            "%s: holds %zu samples, and LABELS are of one: give bins in bioboxes' "
                            "format, or the truth of one sample",
                            l->truth_name, l->set->n_samples);
    while ((status = dnas_reader_next(l->bins, &b, err)) == 1)
        if (add_block(l, &b, err) != 0)
            return -1;
    return status;
}

/* ---- after reading ---- */

static bool is_number(const char *s)
{
    size_t n = strspn(s, "0123456789");

    return n > 0 && !s[n];
}

struct named {
    const char *name;
    uint32_t number;
};

/* Numbers by value, then texts by bytes. */
static int by_name(const void *a, const void *b)
{
    const char *p = ((const struct named *)a)->name, *q = ((const struct named *)b)->name;
    bool p_number = is_number(p), q_number = is_number(q);

    if (p_number != q_number)
        return p_number ? -1 : 1;
    if (p_number && strlen(p) != strlen(q))
        return strlen(p) < strlen(q) ? -1 : 1;
    return strcmp(p, q);
}

/* Renumbers groups in order of name; returns the old numbers in the new order. */
static uint32_t *order_groups(const struct dnas_idmap *map, struct dnas_member *m, size_t n)
{
    struct named *named = dnas_xalloc(map->n, sizeof(*named));
    uint32_t *order = dnas_xalloc(map->n, sizeof(*order));
    uint32_t *now = dnas_xalloc(map->n, sizeof(*now));

    for (size_t i = 0; i < map->n; i++)
        named[i] = (struct named){dnas_idmap_text(map, i), (uint32_t)i};
    qsort(named, map->n, sizeof(*named), by_name);
    for (size_t i = 0; i < map->n; i++) {
        order[i] = named[i].number;
        now[named[i].number] = (uint32_t)i;
    }
    for (size_t i = 0; i < n; i++)
        m[i].group = now[m[i].group];
    free(named);
    free(now);
    return order;
}

static int finish_sample(struct dnas_binning_sample *s, const char *file, struct dnas_err *err)
{
    uint64_t sum = 0;

    s->genome_order = order_groups(&s->genome_ids, s->genome_of, s->n_genome_of);
    s->bin_order = order_groups(&s->bin_ids, s->bin_of, s->n_bin_of);
    s->has_lengths = s->n_sequences > 0;
    for (size_t i = 0; i < s->n_sequences; i++)
        s->has_lengths = s->has_lengths && s->length_bp[i] > 0;
    for (size_t i = 0; i < s->n_sequences && sum <= MAX_BP; i++)
        sum += s->length_bp[i] <= MAX_BP ? s->length_bp[i] : MAX_BP;
    if (sum > MAX_BP)
        return dnas_err_set(err, "%s: has more than 2^60 bp", file);
    return 0;
}

int dnas_binning_set_load(struct dnas_binning_set *set, const char *bins, const char *truth,
                          struct dnas_err *err)
{
    struct loader l = {.set = set, .truth_name = truth};
    struct dnas_in *in;
    int status;

    *set = (struct dnas_binning_set){0};
    if (truth && load_truth(set, truth, err) != 0)
        return -1;
    in = dnas_reader_input(bins, err);
    status = in ? dnas_in_is_bioboxes(in, err) : -1;
    if (status == 1) {
        status = load_bioboxes(&l, in, err);
        dnas_in_close(in);
    } else if (status == 0) {
        status = load_labels(&l, in, err);
        dnas_reader_close(l.bins);
    } else {
        dnas_in_close(in);
    }
    for (size_t i = 0; status == 0 && i < set->n_samples; i++)
        status = finish_sample(&set->samples[i],
                               truth  ? truth
                               : bins ? bins
                                      : "standard input",
                               err);
    dnas_idset_release(&l.ids);
    return status;
}

static void release_sample(struct dnas_binning_sample *s)
{
    free(s->name);
    dnas_idmap_release(&s->ids);
    dnas_idmap_release(&s->genome_ids);
    dnas_idmap_release(&s->bin_ids);
    free(s->genome_order);
    free(s->bin_order);
    free(s->length_bp);
    free(s->is_listed);
    free(s->genome_of);
    free(s->bin_of);
    for (int k = 0; k < 2; k++) {
        free(s->last[k]);
        free(s->next[k]);
    }
}

void dnas_binning_set_release(struct dnas_binning_set *set)
{
    for (size_t i = 0; i < set->n_samples; i++)
        release_sample(&set->samples[i]);
    free(set->samples);
    *set = (struct dnas_binning_set){0};
}

struct dnas_binning_input dnas_binning_sample_input(const struct dnas_binning_sample *s)
{
    return (struct dnas_binning_input){.n_sequences = s->n_sequences,
                                       .n_genomes = s->genome_ids.n,
                                       .n_bins = s->bin_ids.n,
                                       .length_bp = s->has_lengths ? s->length_bp : NULL,
                                       .genome_of = s->genome_of,
                                       .n_genome_of = s->n_genome_of,
                                       .bin_of = s->bin_of,
                                       .n_bin_of = s->n_bin_of};
}

const char *dnas_binning_genome_name(const struct dnas_binning_sample *s, uint32_t i)
{
    return dnas_idmap_text(&s->genome_ids, s->genome_order[i]);
}

const char *dnas_binning_bin_name(const struct dnas_binning_sample *s, uint32_t i)
{
    return dnas_idmap_text(&s->bin_ids, s->bin_order[i]);
}

int dnas_binning_sample_clusters(int32_t **cluster, uint32_t **class_, size_t *N,
                                 const struct dnas_binning_set *set,
                                 const struct dnas_binning_sample *s, struct dnas_err *err)
{
    size_t n = 0;

    *cluster = dnas_xalloc(s->n_sequences, sizeof(**cluster));
    *class_ = dnas_xalloc(s->n_sequences, sizeof(**class_));
    for (size_t i = 0; i < s->n_sequences; i++) {
        uint32_t genome = s->last[GENOMES][i], bin = s->last[BINS][i];

        if ((bin != UINT32_MAX && s->next[BINS][bin] != UINT32_MAX) ||
            s->next[GENOMES][genome] != UINT32_MAX)
            return dnas_err_set(err, "'%.200s' is in several %s: only --binning scores that",
                                dnas_idmap_text(&s->ids, i),
                                s->next[GENOMES][genome] != UINT32_MAX ? "genomes" : "bins");
        if (!set->all_listed && !s->is_listed[i])
            continue;
        (*cluster)[n] = bin == UINT32_MAX ? -1 : (int32_t)s->bin_of[bin].group;
        (*class_)[n++] = s->genome_of[genome].group;
    }
    *N = n;
    return 0;
}
