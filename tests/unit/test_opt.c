/* SPDX-License-Identifier: MIT
 *
 * test_opt.c - command lines from a table.  Standard output and error of each
 * parse are caught in files.
 */
#include "common/opt.h"

#include <fcntl.h>
#include <getopt.h>
#include <math.h>

#include "common/msg.h"
#include "tests/unit/check.h"
#include "tests/unit/files.h"

struct values {
    bool flag;
    int64_t number, any;
    double real;
    const char *text;
    int choice;
};

struct result {
    int status;
    struct values v;
    struct dnas_common c;
    int n_operands;
    char *operands[4];
    char *out, *err;
};

static void capture(int fd, const char *name, int *saved)
{
    int file = open(file_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0666);

    fflush(stdout);
    *saved = dup(fd);
    if (file < 0 || dup2(file, fd) < 0 || close(file) != 0)
        abort();
}

static void give_back(int fd, int saved)
{
    fflush(stdout);
    dup2(saved, fd);
    close(saved);
}

/* Parses words separated by spaces. */
static struct result parse(const char *line, int max_operands, bool writes_stream)
{
    static const char *const choices[] = {"one", "two", "three", NULL};
    static char words[512], name[] = "dnas-test";
    static struct result r; /* its values are pointed at */
    char *argv[20] = {name, NULL}, **operands = NULL;
    int argc = 1, out, err;

    free(r.out);
    free(r.err);
    free(r.c.command_line);
    r = (struct result){.v = {.number = 5, .any = -1, .real = 0.5, .choice = 1}};
    {
        const struct dnas_opt opts[] = {
            {'f', "flag", NULL, DNAS_OPT_FLAG, &r.v.flag, 0, 0, NULL, "a flag"},
            {'n', "number", "N", DNAS_OPT_INT, &r.v.number, 1, 1000, NULL, "a number"},
            {0, "any", "N", DNAS_OPT_INT, &r.v.any, 0, 9e15, NULL, "a number without default"},
            {0, "real", "X", DNAS_OPT_REAL, &r.v.real, 0, 10, NULL, "a real number"},
            {0, "text", "TEXT", DNAS_OPT_TEXT, &r.v.text, 0, 0, NULL, "a text"},
            {'c', "choice", "WHICH", DNAS_OPT_CHOICE, &r.v.choice, 0, 0, choices, "a choice"},
            {0, "resume", NULL, DNAS_OPT_FLAG, &r.v.flag, 0, 0, NULL, "go on"},
            {0},
        };
        const struct dnas_tool tool = {.name = "dnas-test",
                                       .summary = "test the parser",
                                       .operands = max_operands < 0 ? "[FILE...]" : "[FILE]",
                                       .max_operands = max_operands,
                                       .writes_stream = writes_stream,
                                       .opts = opts,
                                       .example = "dnas-test x"};

        snprintf(words, sizeof(words), "%s", line);
        for (char *rest, *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
            argv[argc++] = strcmp(w, "''") == 0 ? w + 2 : w;
        dnas_msg_program("dnas-test");
        optind = 0; /* getopt forgets what an earlier parse left half read */
        getopt(1, argv, "");
        capture(1, "stdout", &out);
        capture(2, "stderr", &err);
        r.status = dnas_opt_parse(&tool, &r.c, argc, argv, &operands, &r.n_operands);
        give_back(1, out);
        give_back(2, err);
    }
    for (int i = 0; r.status < 0 && i < r.n_operands && i < 4; i++)
        r.operands[i] = operands[i];
    if (r.status >= 0)
        r.c.command_line = NULL;
    r.out = file_read("stdout", NULL);
    r.err = file_read("stderr", NULL);
    return r;
}

static void test_defaults(void)
{
    struct result r = parse("", 1, true);

    CHECK_INT(r.status, -1);
    CHECK_INT(r.v.number, 5);
    CHECK_INT(r.v.flag, false);
    CHECK(r.v.text == NULL && r.c.output == NULL);
    CHECK_INT(r.v.choice, 1);
    CHECK_INT(r.n_operands, 0);
    CHECK(r.c.threads >= 1);
    CHECK_INT(r.c.zstd_level, 0);
    CHECK_STR(r.c.command_line, "dnas-test");
    CHECK_STR(r.out, "");
    CHECK_STR(r.err, "");
}

static void test_values(void)
{
    struct result r = parse("-f -n 7 --any=0 --real 2.5e0 --text=-x --choice three in", 1, true);

    CHECK_INT(r.status, -1);
    CHECK(r.v.flag);
    CHECK_INT(r.v.number, 7);
    CHECK_INT(r.v.any, 0);
    CHECK_NEAR(r.v.real, 2.5, 0);
    CHECK_STR(r.v.text, "-x");
    CHECK_INT(r.v.choice, 2);
    CHECK_INT(r.n_operands, 1);
    CHECK_STR(r.operands[0], "in");
    CHECK_STR(r.c.command_line, "dnas-test --flag --number=7 --any=0 --real=2.5e0 --text=-x "
                                "--choice=three in");
    r = parse("-fn7 -cone", 1, true);
    CHECK(r.v.flag && r.v.number == 7 && r.v.choice == 0);
    r = parse("--num=8 --num 9", 1, true); /* shortened, and twice: the last counts */
    CHECK_INT(r.v.number, 9);
    r = parse("in -n 3", 1, true); /* behind the operand */
    CHECK(r.v.number == 3 && r.n_operands == 1);
    r = parse("-- -n", 1, true);
    CHECK(r.n_operands == 1 && r.v.number == 5);
    CHECK_STR(r.operands[0], "-n");
    r = parse("a b c", -1, true);
    CHECK_INT(r.n_operands, 3);
    r = parse("--zstd", 1, true);
    CHECK_INT(r.c.zstd_level, 1);
    r = parse("--zstd=19", 1, true);
    CHECK_INT(r.c.zstd_level, 19);
    r = parse("-o -", 1, true);
    CHECK(r.c.output == NULL);
    r = parse("--text ''", 1, true);
    CHECK_STR(r.v.text, "");
}

/* What cannot change the bytes is not recorded. */
static void test_command_line(void)
{
    struct result r = parse("-t 3 -o out -q --resume -n 6 --no-pg --zstd in", 1, true);

    CHECK_INT(r.status, -1);
    CHECK_STR(r.c.command_line, "dnas-test --number=6 --zstd in");
    CHECK_INT(r.c.threads, 3);
    CHECK_STR(r.c.output, "out");
    CHECK(r.c.quiet && r.c.no_pg && !r.c.verbose);
    CHECK_INT(dnas_msg_get_level(), DNAS_MSG_QUIET);
    r = parse("-v", 1, true);
    CHECK_STR(r.c.command_line, "dnas-test");
    CHECK_INT(dnas_msg_get_level(), DNAS_MSG_VERBOSE);
    r = parse("", 1, true);
    CHECK_INT(dnas_msg_get_level(), DNAS_MSG_NORMAL);
}

static void test_complaints(void)
{
    static const struct {
        const char *line, *msg;
    } cases[] = {
        {"--nothing", "unknown or ambiguous option '--nothing'"},
        {"--n", "unknown or ambiguous option '--n'"},
        {"-x", "unknown option '-x'"},
        {"-fx", "unknown option '-x'"},
        {"-n", "-n needs an argument"},
        {"--number", "--number needs an argument"},
        {"--flag=1", "--flag takes no argument"},
        {"-n x", "--number takes a whole number, not 'x'"},
        {"-n 3x", "--number takes a whole number, not '3x'"},
        {"-n 1.5", "--number takes a whole number, not '1.5'"},
        {"-n ''", "--number takes a whole number, not ''"},
        {"-n 0", "--number takes a number from 1 to 1000, not 0"},
        {"-n 1001", "--number takes a number from 1 to 1000, not 1001"},
        {"-n -1", "--number takes a number from 1 to 1000, not -1"},
        {"-n 99999999999999999999", "--number takes a number from 1 to 1000, not "
                                    "99999999999999999999"},
        {"--real x", "--real takes a number, not 'x'"},
        {"--real nan", "--real takes a number, not 'nan'"},
        {"--real 10.5", "--real takes a number from 0 to 10, not 10.5"},
        {"--real inf", "--real takes a number from 0 to 10, not inf"},
        {"--choice four", "--choice takes one of one, two, three, not 'four'"},
        {"--choice o", "--choice takes one of one, two, three, not 'o'"},
        {"-t -1", "--threads takes a number from 0 to 4096, not -1"},
        {"--zstd=0", "--zstd takes a number from 1 to 19, not 0"},
        {"a b", "one operand too many: 'b'"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result r = parse(cases[i].line, 1, true);
        char want[300];

        snprintf(want, sizeof(want), "dnas-test: %s (try 'dnas-test --help')\n", cases[i].msg);
        CHECK_INT(r.status, 2);
        CHECK_STR(r.err, want);
        CHECK_STR(r.out, "");
    }
}

static void test_help(void)
{
    static const char *const has[] = {
        "dnas-test - test the parser\n\nUsage: dnas-test [OPTION]... [FILE]\n",
        "  -f, --flag                    a flag\n",
        "  -n, --number N                a number [5]\n",
        "      --any N                   a number without default\n",
        "      --real X                  a real number [0.5]\n",
        "      --text TEXT               a text\n",
        "  -c, --choice WHICH            a choice [two]\n",
        "      --zstd[=LEVEL] ",
        "  -h, --help ",
        "\nExample:\n  dnas-test x\n",
    };
    struct result r = parse("--help --nonsense", 1, true);

    CHECK_INT(r.status, 0);
    CHECK_STR(r.err, "");
    for (size_t i = 0; i < sizeof(has) / sizeof(has[0]); i++)
        if (!strstr(r.out, has[i]))
            CHECK_FAIL("--help has no '%s'", has[i]);
    r = parse("-n 8 --text t -h", 1, true); /* defaults are live */
    CHECK(strstr(r.out, "a number [8]\n") && strstr(r.out, "a text [t]\n"));
    r = parse("-h", 1, false);
    CHECK(!strstr(r.out, "--zstd") && !strstr(r.out, "--no-pg"));
    r = parse("--zstd", 1, false);
    CHECK_INT(r.status, 2);
}

static void test_list_options(void)
{
    struct result r = parse("--list-options", 1, true);

    CHECK_INT(r.status, 0);
    CHECK(strstr(r.out, "--flag\t-f\t\t\n") == r.out);
    CHECK(strstr(r.out, "\n--number\t-n\tN\t\n") != NULL);
    CHECK(strstr(r.out, "\n--real\t  \tX\t\n") != NULL);
    CHECK(strstr(r.out, "\n--choice\t-c\tWHICH\tone two three\n") != NULL);
    CHECK(strstr(r.out, "\n--output\t-o\tFILE\t\n") != NULL);
    CHECK(strstr(r.out, "--list-options") == NULL);
}

static void test_version(void)
{
    struct result r = parse("--version", 1, true);

    CHECK_INT(r.status, 0);
    CHECK(strncmp(r.out, "dnas-test 0.", 12) == 0);
}

int main(void)
{
    RUN(test_defaults);
    RUN(test_values);
    RUN(test_command_line);
    RUN(test_complaints);
    RUN(test_help);
    RUN(test_list_options);
    RUN(test_version);
    return check_done();
}
