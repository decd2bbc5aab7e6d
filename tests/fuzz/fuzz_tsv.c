/* SPDX-License-Identifier: MIT
 *
 * fuzz_tsv.c - tables: those that stand for streams, and those of labels.
 */
#include <string.h>

#include "common/idmap.h"
#include "common/io.h"
#include "common/stream.h"
#include "common/text.h"
#include "common/xmem.h"
#include "tests/fuzz/fuzz.h"

/* As a stream; what it holds is printed, and the print read again. */
static int read_table(struct dnas_text *text, const char *path, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(path, err);
    struct dnas_reader *r = in ? dnas_reader_on_tsv(in, err) : NULL;
    struct dnas_block b;
    int status = -1;

    text->n = 0;
    if (r)
        dnas_text_tsv_header(text, dnas_reader_header(r));
    while (r && (status = dnas_reader_next(r, &b, err)) == 1)
        for (uint32_t row = 0; row < b.n_rows; row++)
            dnas_text_tsv_row(text, &b, row);
    dnas_reader_close(r);
    return status;
}

static void read_labels(const char *path)
{
    struct dnas_err err = {""};
    struct dnas_labels l = {0};

    if (dnas_labels_load(&l, path, &err) != 0)
        fuzz_refused(&err);
    else if (l.ids.n > 0 &&
             !dnas_labels_find(&l, dnas_idmap_text(&l.ids, 0), strlen(dnas_idmap_text(&l.ids, 0))))
        DNAS_BUG("the first id is not found");
    dnas_labels_release(&l);
}

int fuzz_try(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file(data, n);
    struct dnas_text first = {0}, again = {0};
    struct dnas_err err = {""};
    int taken;

    read_labels(path);
    taken = read_table(&first, path, &err) == 0;
    if (!taken)
        fuzz_refused(&err);
    else if (read_table(&again, fuzz_file((uint8_t *)first.data, first.n), &err) != 0)
        DNAS_BUG("what was printed is refused: %s", err.msg);
    else if (first.n != again.n || memcmp(first.data, again.data, first.n) != 0)
        DNAS_BUG("what was printed comes back otherwise");
    free(first.data);
    free(again.data);
    return taken;
}

uint8_t *fuzz_seed(size_t i, size_t *n)
{
    static const char *const tables[] = {
        "id\tembedding_0\tembedding_1\tlength_bp\tlabel\na\t1\t-2.5e-3\t10\tx\nb\tnan\tinf\t4\t\n",
        "id\ttokens\tpart\tparts\tlength_bp\nq\t1 2 65535\t0\t2\t7\r\nq\t\t1\t2\t3\n\n",
        "id\tcluster\tscore\nx\t-1\t0.5\ny\t2147483647\t1\n",
        "id\tseq_a\tseq_b\tsplit\tlabel\np\tACGT\tAC\t1\tl l\n",
    };

    if (i >= sizeof(tables) / sizeof(tables[0]))
        return NULL;
    *n = strlen(tables[i]);
    return (uint8_t *)dnas_xstrdup(tables[i]);
}

size_t fuzz_mend(uint8_t *data, size_t n, size_t max)
{
    (void)data;
    (void)max;
    return n;
}
