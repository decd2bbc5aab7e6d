/* SPDX-License-Identifier: MIT
 *
 * seq.c - FASTA, FASTQ and tables, a piece of a record at a time.  Contract: seq.h.
 *
 * The parser sits on plain bytes (io.h): htslib 1.16's own readers hang on a
 * truncated gzip, hand out a cut record as whole, and drop records with names
 * of 300 letters.
 */
#include "common/seq.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/msg.h"
#include "common/record.h"
#include "common/xmem.h"
#include "kernels/kernels.h"

#define BUFFER_BYTES (1u << 20)
#define MAX_HEADER_LINE (1u << 20)
#define SCRATCH_BYTES 65536

enum format { FORMAT_FASTA, FORMAT_FASTQ, FORMAT_TSV, FORMAT_CSV };

struct dnas_seq {
    char *const *paths;
    int n_paths, next_path;
    struct dnas_seq_options options;

    struct dnas_in *in;
    enum format format;
    char *buf; /* [BUFFER_BYTES] */
    size_t pos, n;
    uint64_t done_bytes, total_bytes; /* of the files behind us; of all */
    uint64_t file_records;

    char *line; /* the header line, or a table's label */
    size_t line_n, line_cap;
    char *id;
    size_t id_cap;
    char *label;
    size_t label_cap;
    char *place;
    bool in_record, at_line_start;
    int pair_member;
    uint64_t record_bp, handed_bp; /* of the record */
    uint64_t n_records;            /* that the caller has seen */
    uint64_t n_rows;               /* of tables, through all files */
    uint64_t start_bp, total_bp;   /* for shards: letters before the record, and in all */

    struct dnas_idset ids;
    uint64_t n_other, n_unlabelled;
    char *unlabelled; /* the first id without a label in --labels */
    char *scratch;    /* letters read only to be checked */

    /* For batches: the record that goes on in the next piece. */
    bool piece_open;
    uint32_t part;
    char *pending; /* letters of it that are read but belong to the next piece */
    size_t pending_n, pending_cap;
};

/* ---- bytes ---- */

/* Makes sure that a byte is there: 1, 0 at the end of the file, -1. */
static int fill(struct dnas_seq *s, struct dnas_err *err)
{
    ptrdiff_t got;

    if (s->pos < s->n)
        return 1;
    got = dnas_in_read(s->in, s->buf, BUFFER_BYTES, err);
    s->pos = 0;
    s->n = got > 0 ? (size_t)got : 0;
    return got > 0 ? 1 : (int)got;
}

/* Makes the buffer hold the line at hand to its end, if there is room: what a
 * file is shows in its first line, and a read may bring a few bytes only.
 * 1, 0 at the end of the file, -1. */
static int fill_line(struct dnas_seq *s, struct dnas_err *err)
{
    ptrdiff_t got = 1;

    memmove(s->buf, s->buf + s->pos, s->n - s->pos);
    s->n -= s->pos;
    s->pos = 0;
    while (got > 0 && s->n < BUFFER_BYTES && !memchr(s->buf, '\n', s->n)) {
        got = dnas_in_read(s->in, s->buf + s->n, BUFFER_BYTES - s->n, err);
        if (got > 0)
            s->n += (size_t)got;
    }
    return got < 0 ? -1 : s->n > 0;
}

/* Appends the rest of the line to s->line and steps over the newline; the
 * carriage return of a DOS line is dropped. */
static int read_line(struct dnas_seq *s, struct dnas_err *err)
{
    int status;

    s->line_n = 0;
    while ((status = fill(s, err)) == 1) {
        char *newline = memchr(s->buf + s->pos, '\n', s->n - s->pos);
        size_t n = (newline ? (size_t)(newline - s->buf) : s->n) - s->pos;

        if (s->line_n + n > MAX_HEADER_LINE)
            return dnas_err_set(err, "%s: the line after record %" PRIu64 " is longer than 1 MiB",
                                dnas_in_name(s->in), s->file_records);
        s->line = dnas_xgrow(s->line, &s->line_cap, s->line_n + n + 1, 1);
        memcpy(s->line + s->line_n, s->buf + s->pos, n);
        s->line_n += n;
        s->pos += n + (newline ? 1 : 0);
        if (newline)
            break;
    }
    if (status < 0)
        return -1;
    s->line = dnas_xgrow(s->line, &s->line_cap, s->line_n + 1, 1);
    if (s->line_n > 0 && s->line[s->line_n - 1] == '\r')
        s->line_n--;
    s->line[s->line_n] = '\0';
    return 0;
}

static void set_text(char **text, size_t *cap, const char *from, size_t n)
{
    *text = dnas_xgrow(*text, cap, n + 1, 1);
    memcpy(*text, from, n);
    (*text)[n] = '\0';
}

const char *dnas_seq_place(struct dnas_seq *s)
{
    free(s->place);
    s->place = dnas_xasprintf("%s: record %" PRIu64 " ('%.200s')", dnas_in_name(s->in),
                              s->file_records, s->id);
    return s->place;
}

/* ---- files ---- */

/* Skips what is in `blank`; 1 at another byte, 0 at the end, -1. */
static int skip_blank(struct dnas_seq *s, const char *blank, struct dnas_err *err)
{
    int status;

    while ((status = fill(s, err)) == 1 && s->buf[s->pos] != '\0' && strchr(blank, s->buf[s->pos]))
        s->pos++;
    return status;
}

static int sniff_table(struct dnas_seq *s, struct dnas_err *err)
{
    int status = fill_line(s, err);
    char *newline = memchr(s->buf + s->pos, '\n', s->n - s->pos);
    size_t n = (newline ? (size_t)(newline - s->buf) : s->n) - s->pos;
    unsigned char first = (unsigned char)s->buf[s->pos];

    if (status < 0)
        return -1;
    if (memchr(s->buf + s->pos, '\t', n)) {
        s->format = FORMAT_TSV;
        return read_line(s, err); /* the header line */
    }
    if (memchr(s->buf + s->pos, ',', n)) {
        s->format = FORMAT_CSV;
        return 0;
    }
    if (isgraph(first))
        return dnas_err_set(err, "%s: is neither FASTA nor FASTQ: it begins with '%c'",
                            dnas_in_name(s->in), first);
    return dnas_err_set(err, "%s: is neither FASTA nor FASTQ: it begins with byte 0x%02x",
                        dnas_in_name(s->in), first);
}

static int start_file(struct dnas_seq *s, struct dnas_err *err)
{
    int status = fill_line(s, err);

    s->file_records = 0;
    if (status <= 0)
        return status; /* an empty file has no records and is fine */
    if (s->n >= 3 && memcmp(s->buf, "\xef\xbb\xbf", 3) == 0)
        s->pos = 3; /* the byte order mark that some editors put before UTF-8 */
    status = skip_blank(s, " \t\r\n", err);
    if (status < 0)
        return -1;
    if (status == 0)
        return dnas_err_set(err, "%s: is not empty, yet has no record", dnas_in_name(s->in));
    s->at_line_start = true;
    if (s->buf[s->pos] == '>' || s->buf[s->pos] == '@') {
        s->format = s->buf[s->pos] == '>' ? FORMAT_FASTA : FORMAT_FASTQ;
        return 0;
    }
    return sniff_table(s, err);
}

static int next_file(struct dnas_seq *s, struct dnas_err *err)
{
    if (s->in)
        s->done_bytes += dnas_in_offset(s->in);
    dnas_in_close(s->in);
    s->in = NULL;
    s->pos = s->n = 0;
    if (s->next_path >= s->n_paths)
        return 0;
    s->in = dnas_in_open(s->paths[s->next_path++], err);
    return s->in && start_file(s, err) == 0 ? 1 : -1;
}

static int count_letters(struct dnas_seq *s, struct dnas_err *err)
{
    struct dnas_seq_options all = s->options;
    struct dnas_seq *counter;
    int status;

    for (int i = 0; i < s->n_paths; i++)
        if (!dnas_is_regular_file(s->paths[i], NULL))
            return dnas_err_set(err, "%s: --shard reads its input twice and needs regular files",
                                s->paths[i]);
    if (s->n_paths == 0)
        return dnas_err_set(err, "standard input: --shard reads its input twice and needs regular "
                                 "files");
    all.shard = all.n_shards = 0;
    all.labels = NULL;
    counter = dnas_seq_open(NULL, s->paths, s->n_paths, &all, err);
    if (!counter)
        return -1;
    while ((status = dnas_seq_next(counter, err)) == 1)
        ;
    s->total_bp = counter->start_bp;
    s->options.allow_duplicate_ids = true; /* they have just been looked for */
    dnas_seq_close(counter);
    return status;
}

struct dnas_seq *dnas_seq_open(struct dnas_in *first, char *const *paths, int n_paths,
                               const struct dnas_seq_options *options, struct dnas_err *err)
{
    struct dnas_seq *s = dnas_xzalloc(1, sizeof(*s));
    static char *const standard_input[] = {"-"};

    s->options = *options;
    s->buf = dnas_xalloc(BUFFER_BYTES, 1);
    s->paths = paths;
    s->n_paths = n_paths;
    s->in = first;
    s->pair_member = -1;
    set_text(&s->id, &s->id_cap, "", 0);
    set_text(&s->label, &s->label_cap, "", 0);
    if (options->n_shards > 0 && count_letters(s, err) != 0)
        goto fail;
    if (n_paths == 0) {
        s->paths = standard_input;
        s->n_paths = 1;
    }
    for (int i = 0; i < s->n_paths; i++) {
        uint64_t size;

        if (dnas_is_regular_file(s->paths[i], &size))
            s->total_bytes += size;
    }
    if (first) {
        s->next_path = 1;
        if (start_file(s, err) != 0)
            goto fail;
    }
    return s;
fail:
    dnas_seq_close(s);
    return NULL;
}

void dnas_seq_close(struct dnas_seq *s)
{
    if (!s)
        return;
    dnas_in_close(s->in);
    dnas_idset_release(&s->ids);
    free(s->buf);
    free(s->line);
    free(s->id);
    free(s->label);
    free(s->place);
    free(s->unlabelled);
    free(s->scratch);
    free(s->pending);
    free(s);
}

/* ---- headers ---- */

/* The value of " name=value" in a header line, up to white space, or NULL. */
static const char *find_tag(const char *line, const char *tag, size_t *n)
{
    size_t len = strlen(tag);

    for (const char *p = line; (p = strstr(p, tag)) != NULL; p += len)
        if (p > line && strchr(" \t", p[-1])) {
            *n = strcspn(p + len, " \t");
            return p + len;
        }
    return NULL;
}

static void set_label(struct dnas_seq *s, const char *from, size_t n)
{
    const char *given;

    if (!s->options.labels) {
        set_text(&s->label, &s->label_cap, from, n);
        return;
    }
    given = dnas_labels_find(s->options.labels, s->id, strlen(s->id));
    if (given) {
        set_text(&s->label, &s->label_cap, given, strlen(given));
        return;
    }
    set_text(&s->label, &s->label_cap, from, n);
    if (n > 0)
        return;
    if (s->n_unlabelled++ == 0)
        s->unlabelled = dnas_xstrdup(s->id);
}

static int check_id(struct dnas_seq *s, struct dnas_err *err)
{
    size_t n = strlen(s->id);

    if (n == 0)
        return dnas_err_set(err, "%s: record %" PRIu64 " has no name", dnas_in_name(s->in),
                            s->file_records);
    if (!dnas_is_utf8(s->id, n) || !dnas_is_utf8(s->label, strlen(s->label)))
        return dnas_err_set(err, "%s: record %" PRIu64 " has a name or label that is not UTF-8",
                            dnas_in_name(s->in), s->file_records);
    for (const char *c = s->id; *c; c++)
        if ((unsigned char)*c < 0x20)
            return dnas_err_set(err, "%s: record %" PRIu64 " has a control character in its name",
                                dnas_in_name(s->in), s->file_records);
    if (!s->options.allow_duplicate_ids && s->pair_member != 1 &&
        !dnas_idset_add(&s->ids, s->id, n))
        return dnas_err_set(err,
                            "%s has the name of an earlier record: rename one, or use "
                            "--allow-duplicate-ids",
                            dnas_seq_place(s));
    return 0;
}

static int start_fasta(struct dnas_seq *s, struct dnas_err *err)
{
    char marker = s->format == FORMAT_FASTA ? '>' : '@';
    const char *label;
    size_t n;

    if (s->buf[s->pos] != marker)
        return dnas_err_set(err, "%s: '%c' expected after record %" PRIu64 ", found '%c'",
                            dnas_in_name(s->in), marker, s->file_records,
                            isgraph((unsigned char)s->buf[s->pos]) ? s->buf[s->pos] : '?');
    s->pos++;
    s->file_records++;
    if (read_line(s, err) != 0)
        return -1;
    if (memchr(s->line, '\0', s->line_n))
        return dnas_err_set(err, "%s: record %" PRIu64 " has a NUL byte in its header",
                            dnas_in_name(s->in), s->file_records);
    set_text(&s->id, &s->id_cap, s->line, strcspn(s->line, " \t\v\f\r"));
    label = find_tag(s->line, "label=", &n);
    if (!label)
        label = find_tag(s->line, "species=", &n);
    set_label(s, label ? label : "", label ? n : 0);
    s->pair_member = -1;
    return 0;
}

static void start_row(struct dnas_seq *s)
{
    char number[24];

    s->pair_member = s->format == FORMAT_TSV ? -1 : s->pair_member == 0 ? 1 : 0;
    if (s->pair_member != 1) {
        s->file_records++;
        s->n_rows++;
    }
    snprintf(number, sizeof(number), "%" PRIu64, s->n_rows);
    set_text(&s->id, &s->id_cap, number, strlen(number));
    set_label(s, "", 0);
}

static int start_record(struct dnas_seq *s, struct dnas_err *err)
{
    if (s->format == FORMAT_FASTA || s->format == FORMAT_FASTQ) {
        if (start_fasta(s, err) != 0)
            return -1;
    } else {
        start_row(s);
    }
    s->in_record = true;
    s->at_line_start = true;
    s->record_bp = s->handed_bp = 0;
    return check_id(s, err);
}

/* Steps to the next record of the next file that has one: 1, 0, -1. */
static int find_record(struct dnas_seq *s, struct dnas_err *err)
{
    for (;;) {
        int status = 0;

        if (s->in && s->pair_member == 0) {
            status = fill(s, err); /* within a line: the second member */
        } else if (s->in) {
            status = skip_blank(s, s->format == FORMAT_TSV ? "\r\n" : " \t\r\n", err);
        }
        if (status < 0)
            return -1;
        if (status == 1)
            return start_record(s, err) == 0 ? 1 : -1;
        status = next_file(s, err);
        if (status != 1)
            return status;
    }
}

/* ---- letters ---- */

static bool is_letter(unsigned char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

static bool is_base(unsigned char c)
{
    return c == 'A' || c == 'C' || c == 'G' || c == 'T';
}

static unsigned char folded(unsigned char c)
{
    if (c >= 'a' && c <= 'z')
        c = (unsigned char)(c - 0x20);
    return c == 'U' ? 'T' : c;
}

static int bad_letter(struct dnas_seq *s, unsigned char c, struct dnas_err *err)
{
    if (c == '>' || c == '@')
        return dnas_err_set(err, "%s has '%c' within its sequence: is a line break missing?",
                            dnas_seq_place(s), c);
    if (isgraph(c))
        return dnas_err_set(err, "%s has the character '%c' in its sequence", dnas_seq_place(s), c);
    return dnas_err_set(err, "%s has the byte 0x%02x in its sequence", dnas_seq_place(s), c);
}

/* The same with white space dropped and *, - and . let through. */
static ptrdiff_t copy_odd_letters(struct dnas_seq *s, char *out, const char *in, size_t n,
                                  struct dnas_err *err)
{
    size_t n_out = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)in[i];

        if (c == ' ' || c == '\t' || c == '\r')
            continue;
        if (!is_letter(c) && c != '*' && c != '-' && c != '.')
            return bad_letter(s, c, err);
        out[n_out++] = (char)(s->options.keep_case ? c : folded(c));
    }
    return (ptrdiff_t)n_out;
}

static uint64_t count_other(const char *p, size_t n)
{
    uint64_t n_other = 0;

    for (size_t i = 0; i < n; i++)
        n_other += !is_base((unsigned char)p[i]);
    return n_other;
}

/* Copies a stretch of one line.  Returns the number of letters, or -1. */
static ptrdiff_t copy(struct dnas_seq *s, char *out, const char *in, size_t n, struct dnas_err *err)
{
    enum dnas_letters met = dnas_cpu_letters_copy(out, in, n, s->options.keep_case);
    ptrdiff_t n_out = (ptrdiff_t)n;

    if (met == DNAS_LETTERS_ODD)
        n_out = copy_odd_letters(s, out, in, n, err);
    if (n_out > 0 && met != DNAS_LETTERS_BASES)
        s->n_other += count_other(out, (size_t)n_out);
    return n_out;
}

/* The quality of a FASTQ record: as many characters as letters. */
static int check_quality(struct dnas_seq *s, struct dnas_err *err)
{
    uint64_t n = 0;
    int status = 0;

    if (read_line(s, err) != 0) /* the rest of the + line */
        return -1;
    while (n < s->record_bp && (status = fill(s, err)) == 1) {
        char *newline = memchr(s->buf + s->pos, '\n', s->n - s->pos);
        size_t end = newline ? (size_t)(newline - s->buf) : s->n;
        size_t len = end - s->pos;

        if (len > 0 && s->buf[end - 1] == '\r')
            len--;
        n += len;
        s->pos = newline ? end + 1 : end;
        s->at_line_start = newline != NULL;
    }
    if (status < 0)
        return -1;
    if (n == s->record_bp && !s->at_line_start && fill(s, NULL) == 1) {
        if (s->buf[s->pos] == '\r')
            s->pos++;
        if (fill(s, NULL) == 1 && s->buf[s->pos] != '\n')
            n++; /* a buffer ended just where the quality should have */
    }
    if (n != s->record_bp)
        return dnas_err_set(err, "%s has %" PRIu64 "%s quality characters for %" PRIu64 " letters",
                            dnas_seq_place(s), n, n > s->record_bp ? " or more" : "", s->record_bp);
    return 0;
}

static int end_record(struct dnas_seq *s, struct dnas_err *err)
{
    uint64_t limit = s->options.truncate_bp ? s->options.truncate_bp : UINT64_MAX;

    s->in_record = false;
    s->start_bp += s->record_bp < limit ? s->record_bp : limit;
    if (s->record_bp == 0)
        return dnas_err_set(err, "%s is empty", dnas_seq_place(s));
    if (s->format == FORMAT_FASTQ && check_quality(s, err) != 0)
        return -1;
    if (s->format == FORMAT_TSV) {
        if (read_line(s, err) != 0)
            return -1;
        if (memchr(s->line, '\0', s->line_n) || !dnas_is_utf8(s->line, s->line_n))
            return dnas_err_set(err, "%s has a label that is not UTF-8", dnas_seq_place(s));
        set_text(&s->label, &s->label_cap, s->line, strcspn(s->line, "\t"));
    }
    return 0;
}

/* Looks at the byte at hand where a record may end: 1 it does, 0 not, -1. */
static int at_end(struct dnas_seq *s, struct dnas_err *err)
{
    char c = s->buf[s->pos];

    if (s->format == FORMAT_TSV || s->format == FORMAT_CSV) {
        bool is_last_field = s->pair_member == 1;

        if (c == '\n' && !is_last_field)
            return dnas_err_set(err, "%s has no second column", dnas_seq_place(s));
        if (c == '\n' || (c == '\t' && s->format == FORMAT_TSV) ||
            (c == ',' && s->format == FORMAT_CSV && !is_last_field)) {
            s->pos++;
            return 1;
        }
        if (c == ',')
            return dnas_err_set(err, "%s has a third column", dnas_seq_place(s));
        return 0;
    }
    if (!s->at_line_start)
        return 0;
    if (s->format == FORMAT_FASTA)
        return c == '>';
    if (c == '@')
        return dnas_err_set(err, "%s has no line '+' with its quality", dnas_seq_place(s));
    return c == '+';
}

/* How far the stretch goes that copy() may take at once. */
static size_t stretch(const struct dnas_seq *s, size_t cap, bool *ends_line)
{
    size_t n = s->n - s->pos < cap ? s->n - s->pos : cap;
    const char *from = s->buf + s->pos;
    const char *stop = memchr(from, '\n', n);

    *ends_line = stop != NULL;
    if (stop)
        n = (size_t)(stop - from);
    if (s->format == FORMAT_TSV || s->format == FORMAT_CSV) {
        stop = memchr(from, s->format == FORMAT_TSV ? '\t' : ',', n);
        *ends_line = false;
        if (stop)
            n = (size_t)(stop - from);
    }
    return n;
}

static int record_ends_with_file(struct dnas_seq *s, struct dnas_err *err)
{
    if (s->format == FORMAT_FASTQ)
        return dnas_err_set(err, "%s is cut off: it has no quality", dnas_seq_place(s));
    if (s->format == FORMAT_TSV || (s->format == FORMAT_CSV && s->pair_member == 0))
        return dnas_err_set(err, "%s has no second column", dnas_seq_place(s));
    return 1;
}

/* Takes lines of plain letters at full speed; 0 where that cannot go on. */
static size_t read_lines_fast(struct dnas_seq *s, char *buf, size_t cap)
{
    int ended_line = s->at_line_start;
    size_t n_out, used;

    if (s->format != FORMAT_FASTA && s->format != FORMAT_FASTQ)
        return 0;
    used = dnas_cpu_letters_lines(buf, cap, &n_out, &s->n_other, &ended_line, s->buf + s->pos,
                                  s->n - s->pos, s->options.keep_case);
    s->pos += used;
    s->at_line_start = ended_line;
    return n_out;
}

/* Up to cap letters of the record, whatever --truncate says. */
static ptrdiff_t read_letters(struct dnas_seq *s, char *buf, size_t cap, struct dnas_err *err)
{
    size_t done = 0;

    while (done < cap && s->in_record) {
        int over = fill(s, err);
        bool ends_line;
        ptrdiff_t n;
        size_t len;

        if (over == 1 && (len = read_lines_fast(s, buf + done, cap - done)) > 0) {
            s->record_bp += len;
            done += len;
            continue;
        }
        if (over >= 0)
            over = over == 0 ? record_ends_with_file(s, err) : at_end(s, err);
        if (over < 0)
            return -1;
        if (over) {
            if (end_record(s, err) != 0)
                return -1;
            break;
        }
        len = stretch(s, cap - done, &ends_line);
        n = copy(s, buf + done, s->buf + s->pos,
                 ends_line && len > 0 && s->buf[s->pos + len - 1] == '\r' ? len - 1 : len, err);
        if (n < 0)
            return -1;
        s->at_line_start = ends_line;
        s->pos += len + (ends_line ? 1 : 0);
        s->record_bp += (uint64_t)n;
        done += (size_t)n;
    }
    if (s->record_bp > UINT32_MAX)
        return dnas_err_set(err, "%s is longer than 4294967295 letters", dnas_seq_place(s));
    return (ptrdiff_t)done;
}

/* Checks what is left of the record and drops it. */
static int finish_record(struct dnas_seq *s, struct dnas_err *err)
{
    uint64_t n_other = s->n_other; /* counts what is handed out */
    ptrdiff_t got = 0;

    if (!s->scratch)
        s->scratch = dnas_xalloc(SCRATCH_BYTES, 1);
    while (s->in_record && got >= 0)
        got = read_letters(s, s->scratch, SCRATCH_BYTES, err);
    s->n_other = n_other;
    return got < 0 ? -1 : 0;
}

static bool in_shard(const struct dnas_seq *s)
{
    unsigned __int128 scaled = (unsigned __int128)s->start_bp * s->options.n_shards;

    return s->options.n_shards == 0 ||
           (uint64_t)(scaled / (s->total_bp ? s->total_bp : 1)) + 1 == s->options.shard;
}

int dnas_seq_next(struct dnas_seq *s, struct dnas_err *err)
{
    int status;

    if (s->in_record && finish_record(s, err) != 0)
        return -1;
    while ((status = find_record(s, err)) == 1) {
        if (in_shard(s)) {
            s->n_records++;
            return 1;
        }
        if (finish_record(s, err) != 0)
            return -1;
    }
    return status;
}

ptrdiff_t dnas_seq_read(struct dnas_seq *s, char *buf, size_t cap, struct dnas_err *err)
{
    uint64_t limit = s->options.truncate_bp ? s->options.truncate_bp : UINT64_MAX;
    ptrdiff_t got;

    if (cap == 0)
        DNAS_BUG("no room for letters");
    if (!s->in_record)
        return 0;
    if (cap > limit - s->handed_bp)
        cap = (size_t)(limit - s->handed_bp);
    got = read_letters(s, buf, cap, err);
    if (got < 0)
        return -1;
    s->handed_bp += (uint64_t)got;
    if (s->handed_bp == limit && finish_record(s, err) != 0)
        return -1;
    return got;
}

/* ---- what was seen ---- */

const char *dnas_seq_id(const struct dnas_seq *s)
{
    return s->id;
}

const char *dnas_seq_label(const struct dnas_seq *s)
{
    return s->label;
}

bool dnas_seq_is_csv(const struct dnas_seq *s)
{
    return s->format == FORMAT_CSV;
}

int dnas_seq_pair_member(const struct dnas_seq *s)
{
    return s->pair_member;
}

uint64_t dnas_seq_n_other(const struct dnas_seq *s)
{
    return s->n_other;
}

uint64_t dnas_seq_n_records(const struct dnas_seq *s)
{
    return s->n_records;
}

void dnas_seq_progress(const struct dnas_seq *s, uint64_t *done, uint64_t *total)
{
    *done = s->done_bytes + (s->in ? dnas_in_offset(s->in) : 0);
    *total = s->total_bytes;
}

void dnas_seq_notes(const struct dnas_seq *s)
{
    if (s->n_unlabelled > 0)
        dnas_msg_warn("%" PRIu64 " ids are not in the file of labels and get none, '%.200s' first",
                      s->n_unlabelled, s->unlabelled);
    if (s->n_other > 0)
        dnas_msg_note("%" PRIu64 " letters outside A, C, G, T", s->n_other);
}

/* ---- batches ---- */

#define MAX_PIECES 4096
#define MIN_READ 65536

static size_t append_text(struct dnas_batch *b, const char *text)
{
    size_t n = strlen(text) + 1, at = b->n_text;

    b->text = dnas_xgrow(b->text, &b->text_cap, at + n, 1);
    memcpy(b->text + at, text, n);
    b->n_text += n;
    return at;
}

/* The n letters at the end of the batch become a piece of the open record. */
static void add_piece(struct dnas_batch *b, struct dnas_seq *s, size_t n, size_t n_new,
                      bool is_last)
{
    struct dnas_piece *p;

    b->pieces = dnas_xgrow(b->pieces, &b->pieces_cap, b->n_pieces + 1, sizeof(*b->pieces));
    p = &b->pieces[b->n_pieces++];
    *p = (struct dnas_piece){.letters = b->n_letters,
                             .n = n,
                             .n_new = n_new,
                             .record = s->n_records - 1,
                             .part = s->part++,
                             .is_last = is_last,
                             .pair_member = (int8_t)s->pair_member};
    p->id = append_text(b, s->id);
    p->label = append_text(b, is_last ? s->label : "");
    b->n_letters += n;
    s->piece_open = !is_last;
}

/* Puts the pending letters at the batch's end, with room for n more. */
static char *begin_piece(struct dnas_batch *b, struct dnas_seq *s, size_t n)
{
    b->letters = dnas_xgrow(b->letters, &b->letters_cap, b->n_letters + s->pending_n + n, 1);
    if (s->pending_n > 0)
        memcpy(b->letters + b->n_letters, s->pending, s->pending_n);
    return b->letters + b->n_letters;
}

static void keep_pending(struct dnas_seq *s, const char *from, size_t n)
{
    s->pending = dnas_xgrow(s->pending, &s->pending_cap, n, 1);
    if (n > 0)
        memcpy(s->pending, from, n);
    s->pending_n = n;
}

static int add_window(struct dnas_batch *b, struct dnas_seq *s, const struct dnas_batch_options *o,
                      struct dnas_err *err)
{
    size_t want = o->window_bp + o->min_window_bp; /* seen ahead to know a short tail */
    size_t have = s->pending_n;
    char *at = begin_piece(b, s, want);
    ptrdiff_t got = have < want ? dnas_seq_read(s, at + have, want - have, err) : 0;

    if (got < 0)
        return -1;
    have += (size_t)got;
    if (have < want) {
        s->pending_n = 0;
        add_piece(b, s, have, have, true);
        return 0;
    }
    keep_pending(s, at + o->window_bp, have - o->window_bp);
    add_piece(b, s, o->window_bp, o->window_bp, false);
    return 0;
}

static int add_stretch(struct dnas_batch *b, struct dnas_seq *s, const struct dnas_batch_options *o,
                       struct dnas_err *err)
{
    size_t room = b->n_letters < o->letters ? o->letters - b->n_letters : 0;
    size_t want = room > MIN_READ ? room : MIN_READ;
    size_t again = s->pending_n;
    char *at = begin_piece(b, s, want);
    ptrdiff_t got = dnas_seq_read(s, at + again, want, err);
    size_t have = again + (size_t)got;
    size_t keep = have < o->overlap ? have : o->overlap;

    if (got < 0)
        return -1;
    if ((size_t)got < want)
        keep = 0;
    keep_pending(s, at + have - keep, keep);
    add_piece(b, s, have, (size_t)got, (size_t)got < want);
    return 0;
}

static int add_whole(struct dnas_batch *b, struct dnas_seq *s, struct dnas_err *err)
{
    size_t have = 0;
    ptrdiff_t got;

    do {
        char *at;

        b->letters = dnas_xgrow(b->letters, &b->letters_cap, b->n_letters + have + MIN_READ, 1);
        at = b->letters + b->n_letters + have;
        got = dnas_seq_read(s, at, MIN_READ, err);
        if (got < 0)
            return -1;
        have += (size_t)got;
    } while (got == MIN_READ);
    add_piece(b, s, have, have, true);
    return 0;
}

int dnas_batch_fill(struct dnas_batch *b, struct dnas_seq *s, const struct dnas_batch_options *o,
                    struct dnas_err *err)
{
    b->n_letters = b->n_text = b->n_pieces = 0;
    while (b->n_letters < o->letters && b->n_pieces < MAX_PIECES) {
        int status = s->piece_open ? 1 : dnas_seq_next(s, err);

        if (status < 0)
            return -1;
        if (status == 0)
            break;
        if (!s->piece_open)
            s->part = 0;
        s->piece_open = true;
        status = o->whole       ? add_whole(b, s, err)
                 : o->window_bp ? add_window(b, s, o, err)
                                : add_stretch(b, s, o, err);
        if (status != 0)
            return -1;
    }
    return b->n_pieces > 0;
}

void dnas_batch_release(struct dnas_batch *b)
{
    free(b->letters);
    free(b->text);
    free(b->pieces);
    *b = (struct dnas_batch){0};
}
