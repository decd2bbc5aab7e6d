/* SPDX-License-Identifier: MIT
 *
 * idmap.c - hash tables of ids by linear probing.  Contract: idmap.h.
 */
#include "common/idmap.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/io.h"
#include "common/record.h"
#include "common/xmem.h"

#define MAX_LABELS_FILE ((size_t)4 << 30)

/* The slot that holds the text or the empty one where it would go. */
static size_t probe(const struct dnas_idmap *m, const char *s, size_t len)
{
    size_t i = (size_t)XXH3_64bits(s, len) & (m->n_slots - 1);

    while (m->slots[i]) {
        const char *t = m->texts + m->at[m->slots[i] - 1];

        if (strlen(t) == len && memcmp(t, s, len) == 0)
            return i;
        i = (i + 1) & (m->n_slots - 1);
    }
    return i;
}

static void rehash(struct dnas_idmap *m)
{
    m->n_slots = m->n_slots ? 2 * m->n_slots : 64;
    free(m->slots);
    m->slots = dnas_xzalloc(m->n_slots, sizeof(*m->slots));
    for (size_t k = 0; k < m->n; k++) {
        const char *t = m->texts + m->at[k];

        m->slots[probe(m, t, strlen(t))] = k + 1;
    }
}

size_t dnas_idmap_add(struct dnas_idmap *m, const char *s, size_t len)
{
    size_t slot;

    if (2 * (m->n + 1) > m->n_slots)
        rehash(m);
    slot = probe(m, s, len);
    if (m->slots[slot])
        return m->slots[slot] - 1;
    m->texts = dnas_xgrow(m->texts, &m->texts_cap, m->texts_n + len + 1, 1);
    m->at = dnas_xgrow(m->at, &m->at_cap, m->n + 1, sizeof(*m->at));
    m->at[m->n] = m->texts_n;
    memcpy(m->texts + m->texts_n, s, len);
    m->texts[m->texts_n + len] = '\0';
    m->texts_n += len + 1;
    m->slots[slot] = m->n + 1;
    return m->n++;
}

size_t dnas_idmap_find(const struct dnas_idmap *m, const char *s, size_t len)
{
    size_t slot;

    if (m->n == 0)
        return SIZE_MAX;
    slot = probe(m, s, len);
    return m->slots[slot] ? m->slots[slot] - 1 : SIZE_MAX;
}

const char *dnas_idmap_text(const struct dnas_idmap *m, size_t i)
{
    return m->texts + m->at[i];
}

void dnas_idmap_release(struct dnas_idmap *m)
{
    free(m->texts);
    free(m->at);
    free(m->slots);
    *m = (struct dnas_idmap){0};
}

static bool set_insert(struct dnas_idset *s, uint64_t h)
{
    size_t i = (size_t)h & (s->n_slots - 1);

    while (s->slots[i]) {
        if (s->slots[i] == h)
            return false;
        i = (i + 1) & (s->n_slots - 1);
    }
    s->slots[i] = h;
    return true;
}

static void set_grow(struct dnas_idset *s)
{
    uint64_t *old = s->slots;
    size_t n_old = s->n_slots;

    s->n_slots = n_old ? 2 * n_old : 64;
    s->slots = dnas_xzalloc(s->n_slots, sizeof(*s->slots));
    for (size_t i = 0; i < n_old; i++)
        if (old[i])
            set_insert(s, old[i]);
    free(old);
}

bool dnas_idset_add(struct dnas_idset *s, const char *id, size_t len)
{
    uint64_t h = XXH3_64bits(id, len);

    if (2 * (s->n + 1) > s->n_slots)
        set_grow(s);
    if (!set_insert(s, h ? h : 1)) /* 0 marks an empty slot */
        return false;
    s->n++;
    return true;
}

void dnas_idset_release(struct dnas_idset *s)
{
    free(s->slots);
    *s = (struct dnas_idset){0};
}

static int add_label(struct dnas_labels *l, const char *path, size_t line_number, const char *line,
                     const char *end, struct dnas_err *err)
{
    const char *tab = memchr(line, '\t', (size_t)(end - line));
    const char *label, *label_end;
    size_t id, name, n_before = l->ids.n;

    if (!tab || tab == line)
        return dnas_err_set(err, "%s: line %zu is not 'id<TAB>label'", path, line_number);
    label = tab + 1;
    label_end = memchr(label, '\t', (size_t)(end - label));
    if (!label_end)
        label_end = end;
    if (line_number == 1 && tab - line == 2 && memcmp(line, "id", 2) == 0 &&
        label_end - label == 5 && memcmp(label, "label", 5) == 0)
        return 0;
    name = dnas_idmap_add(&l->names, label, (size_t)(label_end - label));
    id = dnas_idmap_add(&l->ids, line, (size_t)(tab - line));
    if (id < n_before && l->name_of[id] != name)
        return dnas_err_set(err, "%s: line %zu gives '%s' a second label", path, line_number,
                            dnas_idmap_text(&l->ids, id));
    l->name_of = dnas_xgrow(l->name_of, &l->name_of_cap, id + 1, sizeof(*l->name_of));
    l->name_of[id] = name;
    return 0;
}

int dnas_labels_load(struct dnas_labels *l, const char *path, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(path, err);
    int status = in ? dnas_labels_read(l, in, err) : -1;

    if (!in)
        *l = (struct dnas_labels){0};
    dnas_in_close(in);
    return status;
}

int dnas_labels_read(struct dnas_labels *l, struct dnas_in *in, struct dnas_err *err)
{
    const char *path = dnas_in_name(in);
    size_t n, line_number = 0;
    char *text = dnas_in_read_all(in, MAX_LABELS_FILE, &n, err);
    int status = text ? 0 : -1;

    *l = (struct dnas_labels){0};
    for (const char *line = text, *stop = text ? text + n : text; status == 0 && line < stop;) {
        const char *end = memchr(line, '\n', (size_t)(stop - line));
        const char *next = end ? end + 1 : stop;

        if (!end)
            end = stop;
        if (end > line && end[-1] == '\r')
            end--;
        line_number++;
        if (memchr(line, '\0', (size_t)(end - line)) || !dnas_is_utf8(line, (size_t)(end - line)))
            status = dnas_err_set(err, "%s: line %zu is not UTF-8 text", path, line_number);
        else if (end > line)
            status = add_label(l, path, line_number, line, end, err);
        line = next;
    }
    free(text);
    if (status != 0)
        dnas_labels_release(l);
    return status;
}

const char *dnas_labels_find(const struct dnas_labels *l, const char *id, size_t len)
{
    size_t i = dnas_idmap_find(&l->ids, id, len);

    return i == SIZE_MAX ? NULL : dnas_idmap_text(&l->names, l->name_of[i]);
}

void dnas_labels_release(struct dnas_labels *l)
{
    dnas_idmap_release(&l->ids);
    dnas_idmap_release(&l->names);
    free(l->name_of);
    *l = (struct dnas_labels){0};
}
