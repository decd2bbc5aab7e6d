/* SPDX-License-Identifier: MIT
 *
 * opt.c - command lines from one table.  Contract: opt.h.
 */
#include "common/opt.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/gpu.h"
#include "common/msg.h"
#include "common/threads.h"
#include "common/version.h"
#include "common/xmem.h"
#include "kernels/isa.h"

#define MAX_OPTS 64
#define FIRST_LONG_ONLY 256

static void *json_alloc(size_t n)
{
    return dnas_xalloc(n, 1);
}

void dnas_start(char **argv)
{
    dnas_msg_program(argv[0]);
    signal(SIGPIPE, SIG_DFL);
    json_set_alloc_funcs(json_alloc, free); /* so that JSON is never half of itself */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            /* The wrong direction on purpose: using it is still an error. */
            int null_fd = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);

            if (null_fd >= 0 && null_fd != fd)
                close(null_fd);
        }
}

int dnas_status(int result, const struct dnas_err *err)
{
    if (result == 0)
        return 0;
    dnas_msg_error("%s", err->msg);
    return 1;
}

int dnas_finish(int status)
{
    bool failed = ferror(stdout) != 0;

    dnas_progress_end();
    if (fflush(stdout) != 0)
        failed = true;
    if (failed) {
        dnas_msg_error("standard output: %s", errno ? strerror(errno) : "write error");
        return status ? status : 1;
    }
    if (fclose(stdout) != 0 && errno != EBADF) {
        dnas_msg_error("standard output: %s", strerror(errno));
        return status ? status : 1;
    }
    return status;
}

int dnas_usage_error(const char *fmt, ...)
{
    char text[DNAS_ERR_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dnas_msg_error("%s (try '%s --help')", text, dnas_msg_program_name());
    return 2;
}

/* The tool's table and the common one, end to end. */
struct table {
    struct dnas_opt opt[MAX_OPTS];
    int n;
};

static void table_add(struct table *t, const struct dnas_opt *opt)
{
    if (t->n >= MAX_OPTS)
        DNAS_BUG("more than %d options", MAX_OPTS);
    t->opt[t->n++] = *opt;
}

static const bool ignored;

static void table_init(struct table *t, const struct dnas_tool *tool, struct dnas_common *c)
{
    const struct dnas_opt common[] = {
        {'o', "output", "FILE", DNAS_OPT_TEXT, &c->output, 0, 0, NULL,
         "write to FILE: to FILE.part first, renamed when whole"},
        {'t', "threads", "N", DNAS_OPT_INT, &c->threads, 0, 4096, NULL,
         "use N threads in all, 0 for as many as we may; the output is the same"},
        {'q', "quiet", NULL, DNAS_OPT_FLAG, &c->quiet, 0, 0, NULL, "say nothing but errors"},
        {'v', "verbose", NULL, DNAS_OPT_FLAG, &c->verbose, 0, 0, NULL,
         "end with a line of counts, seconds and peak memory"},
        {0, "no-pg", NULL, DNAS_OPT_FLAG, &c->no_pg, 0, 0, NULL,
         "do not add this command to the program lines of the header"},
        {0, "zstd", "LEVEL", DNAS_OPT_LEVEL, &c->zstd_level, 1, 19, NULL,
         "compress the output with zstd"},
        {'h', "help", NULL, DNAS_OPT_FLAG, (void *)&ignored, 0, 0, NULL, "print this and exit"},
        {0, "version", NULL, DNAS_OPT_FLAG, (void *)&ignored, 0, 0, NULL,
         "print the version and what this build can do"},
    };

    t->n = 0;
    for (const struct dnas_opt *o = tool->opts; o->name; o++)
        table_add(t, o);
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        if (tool->writes_stream ||
            (strcmp(common[i].name, "no-pg") != 0 && strcmp(common[i].name, "zstd") != 0))
            table_add(t, &common[i]);
}

static void print_default(const struct dnas_opt *o)
{
    switch (o->kind) {
    case DNAS_OPT_INT: {
        int64_t v = *(int64_t *)o->value;

        if ((double)v >= o->min && (double)v <= o->max)
            printf(" [%lld]", (long long)v);
        break;
    }
    case DNAS_OPT_REAL: {
        double v = *(double *)o->value;

        if (v >= o->min && v <= o->max)
            printf(" [%g]", v);
        break;
    }
    case DNAS_OPT_TEXT:
        if (*(const char **)o->value)
            printf(" [%s]", *(const char **)o->value);
        break;
    case DNAS_OPT_CHOICE:
        if (*(int *)o->value >= 0)
            printf(" [%s]", o->choices[*(int *)o->value]);
        break;
    case DNAS_OPT_FLAG:
    case DNAS_OPT_LEVEL:
        break;
    }
}

static void print_help(const struct dnas_tool *tool, const struct table *t)
{
    printf("%s - %s\n\nUsage: %s [OPTION]... %s\n\n", tool->name, tool->summary, tool->name,
           tool->operands);
    for (int i = 0; i < t->n; i++) {
        const struct dnas_opt *o = &t->opt[i];
        char left[80];

        snprintf(left, sizeof(left), "%c%c%c --%s%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
                 o->kind == DNAS_OPT_LEVEL ? "[="
                 : o->arg                  ? " "
                                           : "",
                 o->arg ? o->arg : "", o->kind == DNAS_OPT_LEVEL ? "]" : "");
        printf("  %-29s %s", left, o->help);
        print_default(o);
        putchar('\n');
    }
    if (strstr(tool->operands, "FILE"))
        printf("\nWith no FILE, or when FILE is -, standard input is read.\n");
    printf("\nExample:\n  %s\n", tool->example);
}

/* For completion and for the tests: one option a line, with its argument. */
static void print_options(const struct table *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct dnas_opt *o = &t->opt[i];

        printf("--%s\t%c%c\t%s\t", o->name, o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
               o->arg ? o->arg : "");
        for (int c = 0; o->choices && o->choices[c]; c++)
            printf("%s%s", c ? " " : "", o->choices[c]);
        putchar('\n');
    }
}

static void print_version(const struct dnas_tool *tool)
{
    char cuda[DNAS_ERR_MAX];

    dnas_gpu_describe(cuda, sizeof(cuda));
    printf("%s %s\n", tool->name, DNAS_VERSION);
    printf("stream format 1, cpu (%s), cuda: %s\n", dnas_isa_name(), cuda);
    printf("on a GPU: networks of the kind bert; all else runs on the CPU\n");
}

static int set_int(const struct dnas_opt *o, const char *text)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end)
        return dnas_usage_error("--%s takes a whole number, not '%s'", o->name, text);
    if (errno || (double)v < o->min || (double)v > o->max)
        return dnas_usage_error("--%s takes a number from %.0f to %.0f, not %s", o->name, o->min,
                                o->max, text);
    *(int64_t *)o->value = v;
    return -1;
}

static int set_real(const struct dnas_opt *o, const char *text)
{
    char *end;
    double v;

    errno = 0;
    v = strtod(text, &end);
    if (end == text || *end || isnan(v))
        return dnas_usage_error("--%s takes a number, not '%s'", o->name, text);
    if (!(v >= o->min && v <= o->max))
        return dnas_usage_error("--%s takes a number from %g to %g, not %s", o->name, o->min,
                                o->max, text);
    *(double *)o->value = v;
    return -1;
}

static int set_choice(const struct dnas_opt *o, const char *text)
{
    char all[DNAS_ERR_MAX] = "";

    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], text) == 0) {
            *(int *)o->value = i;
            return -1;
        }
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "",
                 o->choices[i]);
    }
    return dnas_usage_error("--%s takes one of %s, not '%s'", o->name, all, text);
}

static int set_value(const struct dnas_opt *o, const char *text)
{
    switch (o->kind) {
    case DNAS_OPT_FLAG:
        *(bool *)o->value = true;
        return -1;
    case DNAS_OPT_INT:
        return set_int(o, text);
    case DNAS_OPT_LEVEL:
        *(int64_t *)o->value = (int64_t)o->min;
        return text ? set_int(o, text) : -1;
    case DNAS_OPT_REAL:
        return set_real(o, text);
    case DNAS_OPT_TEXT:
        *(const char **)o->value = text;
        return -1;
    case DNAS_OPT_CHOICE:
        return set_choice(o, text);
    }
    DNAS_BUG("option --%s has no kind", o->name);
}

static void append(char **line, const char *fmt, const char *a, const char *b)
{
    char *more = dnas_xasprintf(fmt, *line, a, b);

    free(*line);
    *line = more;
}

/* What may differ between two runs that make the same bytes is not recorded. */
static void record(char **line, const struct dnas_opt *o, const char *text)
{
    static const char *const left_out[] = {"threads", "output",  "quiet",        "verbose",
                                           "resume",  "no-pg",   "batch-tokens", "rendezvous",
                                           "job",     "exchange"};

    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        if (strcmp(o->name, left_out[i]) == 0)
            return;
    append(line, text ? "%s --%s=%s" : "%s --%s%s", o->name, text ? text : "");
}

static void getopt_tables(const struct table *t, struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* a missing argument is told apart from an unknown option */
    for (int i = 0; i < t->n; i++) {
        const struct dnas_opt *o = &t->opt[i];

        longs[i] = (struct option){o->name,
                                   !o->arg                     ? no_argument
                                   : o->kind == DNAS_OPT_LEVEL ? optional_argument
                                                               : required_argument,
                                   NULL, FIRST_LONG_ONLY + i};
        if (o->letter) {
            *shorts++ = o->letter;
            if (o->arg)
                *shorts++ = ':';
        }
    }
    longs[t->n] = (struct option){"list-options", no_argument, NULL, FIRST_LONG_ONLY + t->n};
    longs[t->n + 1] = (struct option){NULL, 0, NULL, 0};
    *shorts = '\0';
}

static const struct dnas_opt *found(const struct table *t, int c)
{
    if (c >= FIRST_LONG_ONLY)
        return &t->opt[c - FIRST_LONG_ONLY];
    for (int i = 0; i < t->n; i++)
        if (t->opt[i].letter == c)
            return &t->opt[i];
    DNAS_BUG("getopt returned %d", c);
}

static int complain(int c, char **argv, const struct table *t)
{
    if (c == ':' && optopt >= FIRST_LONG_ONLY)
        return dnas_usage_error("--%s needs an argument", t->opt[optopt - FIRST_LONG_ONLY].name);
    if (c == ':')
        return dnas_usage_error("-%c needs an argument", optopt);
    if (optopt >= FIRST_LONG_ONLY)
        return dnas_usage_error("--%s takes no argument", t->opt[optopt - FIRST_LONG_ONLY].name);
    if (optopt)
        return dnas_usage_error("unknown option '-%c'", optopt);
    return dnas_usage_error("unknown or ambiguous option '%s'", argv[optind - 1]);
}

static int parse_all(const struct dnas_tool *tool, const struct table *t, struct dnas_common *c,
                     int argc, char **argv)
{
    struct option longs[MAX_OPTS + 2];
    char shorts[2 * MAX_OPTS + 2];
    int got;

    getopt_tables(t, longs, shorts);
    opterr = 0;
    optind = 1;
    while ((got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct dnas_opt *o;
        int status;

        if (got == '?' || got == ':')
            return complain(got, argv, t);
        if (got == FIRST_LONG_ONLY + t->n) {
            print_options(t);
            return 0;
        }
        o = found(t, got);
        if (strcmp(o->name, "help") == 0) {
            print_help(tool, t);
            return 0;
        }
        if (strcmp(o->name, "version") == 0) {
            print_version(tool);
            return 0;
        }
        status = set_value(o, optarg);
        if (status >= 0)
            return status;
        record(&c->command_line, o, optarg);
    }
    return -1;
}

int dnas_opt_parse(const struct dnas_tool *tool, struct dnas_common *common, int argc, char **argv,
                   char ***operands, int *n_operands)
{
    struct table t;
    int status;

    memset(common, 0, sizeof(*common));
    common->command_line = dnas_xstrdup(tool->name);
    table_init(&t, tool, common);
    status = parse_all(tool, &t, common, argc, argv);
    if (status < 0 && tool->max_operands >= 0 && argc - optind > tool->max_operands)
        status = dnas_usage_error("one operand too many: '%s'", argv[optind + tool->max_operands]);
    if (status >= 0) {
        free(common->command_line);
        common->command_line = NULL;
        return status;
    }
    *operands = argv + optind;
    *n_operands = argc - optind;
    for (int i = optind; i < argc; i++)
        append(&common->command_line, "%s %s%s", argv[i], "");
    if (common->output && strcmp(common->output, "-") == 0)
        common->output = NULL;
    if (common->threads == 0)
        common->threads = dnas_threads_available();
    dnas_msg_set_level(common->quiet     ? DNAS_MSG_QUIET
                       : common->verbose ? DNAS_MSG_VERBOSE
                                         : DNAS_MSG_NORMAL);
    return -1;
}
