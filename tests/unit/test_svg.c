/* SPDX-License-Identifier: MIT
 *
 * test_svg.c - pictures: what stands in them, not how they look.
 */
#include "tests/unit/check.h"

#include <locale.h>

#include "common/svg.h"
#include "common/xmem.h"

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* Every element is closed, in order, and no character stands that XML forbids. */
static void check_xml(const char *svg)
{
    char open[32][16];
    int depth = 0;
    size_t n;

    for (const char *s = svg; *s; s++) {
        if (*s == '&')
            CHECK(strncmp(s, "&amp;", 5) == 0 || strncmp(s, "&lt;", 4) == 0 ||
                  strncmp(s, "&gt;", 4) == 0 || strncmp(s, "&quot;", 6) == 0);
        CHECK((unsigned char)*s >= 0x20 || *s == '\n' || *s == '\t');
        if (*s != '<')
            continue;
        n = strcspn(s + 1, " >/");
        if (s[1] == '/') {
            n = strcspn(s + 2, ">");
            CHECK(depth > 0 && strlen(open[depth - 1]) == n &&
                  strncmp(open[depth - 1], s + 2, n) == 0);
            depth -= depth > 0;
        } else if (depth < 32 && n < 16) {
            const char *end = strchr(s, '>');

            snprintf(open[depth], sizeof(open[depth]), "%.*s", (int)n, s + 1);
            depth += end && end[-1] != '/';
        }
    }
    CHECK_INT(depth, 0);
    CHECK(strncmp(svg, "<svg ", 5) == 0);
}

static char *scatter(const struct dnas_svg_scatter *plot)
{
    char *svg;
    size_t size;

    CHECK_INT(dnas_svg_draw_scatter(&svg, &size, plot, NULL), 0);
    CHECK_INT(strlen(svg), size);
    check_xml(svg);
    return svg;
}

static void test_scatter(void)
{
    const float xy[8] = {0, 0, 10, 1, 5, 0.5f, 2, 1};
    const int32_t classes[4] = {1, 0, 1, -1};
    const char *const names[3] = {"Escherichia coli", NULL, "absent"};
    struct dnas_svg_scatter plot = {.xy = xy,
                                    .N = 4,
                                    .classes = classes,
                                    .n_classes = 3,
                                    .class_names = names,
                                    .title = "a < b & c",
                                    .x_title = "PC1 (63.2 %)",
                                    .y_title = "PC2"};
    char *svg = scatter(&plot);

    CHECK_INT(count(svg, "<circle"), 4 + 3); /* points and legend */
    CHECK(strstr(svg, "a &lt; b &amp; c"));
    CHECK(strstr(svg, "PC1 (63.2 %)"));
    CHECK(strstr(svg, ">1<tspan fill=\"#777777\" dx=\"6\">2<")); /* no name: its number */
    CHECK(strstr(svg, ">Escherichia coli<tspan fill=\"#777777\" dx=\"6\">1<"));
    CHECK(strstr(svg, ">unclustered<tspan fill=\"#777777\" dx=\"6\">1<"));
    CHECK(!strstr(svg, "absent"));
    CHECK(!strstr(svg, "other"));
    CHECK(strstr(svg, ">0.2</text>")); /* a tick */
    free(svg);

    plot.no_ticks = true;
    svg = scatter(&plot);
    CHECK(!strstr(svg, ">0.2</text>"));
    free(svg);
}

/* Corners of the data are 4 % inside the frame: exact pixels, as a pin on the whole geometry. */
static void test_positions(void)
{
    const float xy[4] = {0, 0, 1, 1};
    struct dnas_svg_scatter plot = {.xy = xy, .N = 2};
    char *svg = scatter(&plot);

    /* x from 72 to 880 and y from 582 to 20 for -0.04..1.04 */
    CHECK(strstr(svg, "<circle cx=\"101.93\" cy=\"561.19\" r=\"4\"/>"));
    CHECK(strstr(svg, "<circle cx=\"850.07\" cy=\"40.81\" r=\"4\"/>"));
    free(svg);
}

static void test_many_classes(void)
{
    enum { K = 57 };
    float xy[2 * K * 2];
    int32_t classes[2 * K];
    struct dnas_svg_scatter plot = {.xy = xy, .classes = classes, .n_classes = K};
    char *svg;

    for (int c = 0; c < K; c++) /* classes 20.. have two points each, the others one */
        for (int i = 0; i < 1 + (c >= 20); i++) {
            xy[2 * plot.N] = (float)c;
            xy[2 * plot.N + 1] = (float)i;
            classes[plot.N++] = c;
        }
    svg = scatter(&plot);
    CHECK(strstr(svg, ">20<tspan fill=\"#777777\" dx=\"6\">2<"));
    CHECK(strstr(svg, ">2<tspan fill=\"#777777\" dx=\"6\">1<"));
    CHECK(!strstr(svg, ">3<tspan fill=\"#777777\" dx=\"6\">1<"));
    CHECK(strstr(svg, ">other<tspan fill=\"#777777\" dx=\"6\">17<"));
    CHECK_INT(count(svg, "<tspan"), DNAS_SVG_MAX_NAMED + 1);
    CHECK_INT(count(svg, "<circle"), 12 * 2 + 12 + 17 + 1);
    free(svg);
}

static void test_empty_and_equal(void)
{
    const float xy[6] = {1e30f, -3, 1e30f, -3, 1e30f, -3};
    struct dnas_svg_scatter plot = {.xy = xy, .N = 0};
    char *svg = scatter(&plot);

    CHECK(strstr(svg, ">0</text>"));
    free(svg);
    plot.N = 3;
    svg = scatter(&plot);
    CHECK_INT(count(svg, "<circle"), 3);
    CHECK(!strstr(svg, "nan"));
    CHECK(!strstr(svg, "inf"));
    CHECK(strstr(svg, "e30</text>"));
    free(svg);
}

static void test_scatter_errors(void)
{
    const float xy[4] = {0, 0, NAN, 1};
    const float good[4] = {0, 0, 1, 1};
    const int32_t classes[2] = {0, 3};
    struct dnas_svg_scatter plot = {.xy = xy, .N = 2};
    struct dnas_err err;
    char *svg;

    CHECK_INT(dnas_svg_draw_scatter(&svg, NULL, &plot, &err), -1);
    CHECK(svg == NULL);
    CHECK_STR(err.msg, "point 2 has a coordinate that is not finite");
    plot = (struct dnas_svg_scatter){.xy = good, .N = 2, .classes = classes, .n_classes = 3};
    CHECK_INT(dnas_svg_draw_scatter(&svg, NULL, &plot, &err), -1);
    CHECK_STR(err.msg, "point 2 is in class 3, and there are 3");
}

/* Names with markup, control characters, broken UTF-8 and great length. */
static void test_names(void)
{
    const float xy[2] = {0, 0};
    const int32_t classes[1] = {0};
    const char *hard = "<script>\"&\x01\x7f\xff\xc0\xaf\xed\xa0\x80 \xc3\xa9";
    const char *long_name = "a name that is much longer than a legend can ever be \xc3\xa9";
    struct dnas_svg_scatter plot = {.xy = xy,
                                    .N = 1,
                                    .classes = classes,
                                    .n_classes = 1,
                                    .class_names = &long_name,
                                    .point_names = &hard};
    char *svg = scatter(&plot);

    CHECK(strstr(svg, "<title>&lt;script&gt;&quot;&amp;???????? \xc3\xa9</title></circle>"));
    CHECK(strstr(svg, ">a name that is much longer th\xe2\x80\xa6<"));
    CHECK(strstr(svg, "<title>a name that is much longer than a legend can ever be \xc3\xa9<"));
    free(svg);
}

static void check_ticks(double low, double high, const char *a, const char *b)
{
    double x[2] = {low, high}, y[2] = {0, 1};
    const double *curve = y;
    const char *name = "loss";
    struct dnas_svg_curves plot = {.x = x, .N = 2, .y = &curve, .n_curves = 1, .names = &name};
    char *svg, want[2][64];

    snprintf(want[0], sizeof(want[0]), ">%s</text>", a);
    snprintf(want[1], sizeof(want[1]), ">%s</text>", b);
    dnas_svg_draw_curves(&svg, NULL, &plot);
    check_xml(svg);
    for (int i = 0; i < 2; i++)
        if (!strstr(svg, want[i]))
            CHECK_FAIL("no tick '%s' for %g..%g", want[i], low, high);
    free(svg);
}

static void test_ticks(void)
{
    check_ticks(0, 7, "1", "7");
    check_ticks(-0.5, 0.5, "-0.4", "0.2");
    check_ticks(0, 1000, "200", "1000");
    check_ticks(0, 300000, "50000", "300000");
    check_ticks(0, 3e7, "5e6", "2.5e7");
    check_ticks(0, 1e-7, "2e-8", "1e-7");
    check_ticks(0, 0.007, "0.001", "0.007");
    check_ticks(100000, 100001, "100000.2", "100000.8");
    check_ticks(-3e-200, 5e-200, "-2e-200", "0");
}

static void test_curves(void)
{
    const double x[5] = {1, 2, 3, 4, 5}, a[5] = {5, 4, NAN, 2, 1}, b[5] = {1, 1, 1, 1, 1};
    const double *const y[2] = {a, b};
    const char *const names[2] = {"training", "validation"};
    struct dnas_svg_curves plot = {.x = x, .N = 5, .y = y, .n_curves = 2, .names = names};
    char *svg;
    const char *path;
    size_t size;

    dnas_svg_draw_curves(&svg, &size, &plot);
    CHECK_INT(strlen(svg), size);
    check_xml(svg);
    path = strstr(svg, "<path stroke=\"#0072b2\"");
    CHECK(path != NULL);
    if (path) { /* one stroke through the four points that are there */
        char d[200];

        snprintf(d, sizeof(d), "%.*s", (int)strcspn(path, ">"), path);
        CHECK_INT(count(d, "M"), 1);
        CHECK_INT(count(d, "L"), 3);
    }
    CHECK_INT(count(svg, "<circle"), 4 + 5);
    CHECK(strstr(svg, ">validation</text>"));
    free(svg);
    plot.N = 0;
    dnas_svg_draw_curves(&svg, NULL, &plot);
    check_xml(svg);
    free(svg);
}

/* A long log keeps its highest peak and its file small. */
static void test_dense_curve(void)
{
    enum { N = 200000 };
    double *x = dnas_xalloc(N, sizeof(*x)), *y = dnas_xalloc(N, sizeof(*y));
    const double *curve = y;
    const char *name = "y";
    struct dnas_svg_curves plot = {.x = x, .N = N, .y = &curve, .n_curves = 1, .names = &name};
    char *svg;
    size_t size;

    for (size_t i = 0; i < N; i++) {
        x[i] = (double)i;
        y[i] = i == 77777 ? 1 : 0.1 * (double)(i % 3);
    }
    dnas_svg_draw_curves(&svg, &size, &plot);
    CHECK(size < 100000);
    CHECK(strstr(svg, " 40.81L")); /* the peak, 4 % below the top */
    free(svg);
    free(x);
    free(y);
}

static int read_table(struct dnas_svg_table *table, const char *text, struct dnas_err *err)
{
    FILE *f = tmpfile();
    int status;

    if (!f || fputs(text, f) < 0)
        exit(99);
    rewind(f);
    status = dnas_svg_table_read(table, f, err);
    fclose(f);
    return status;
}

static void test_table(void)
{
    struct dnas_svg_table t;
    struct dnas_err err;

    CHECK_INT(read_table(&t, "step\tloss\n\n# a remark\n1\t2.5\r\n2\tNA\n3\t\n4\t-1e-3", &err), 0);
    CHECK_INT(t.N, 4);
    CHECK_INT(t.n_columns, 2);
    CHECK_STR(t.names[1], "loss");
    CHECK_NEAR(t.columns[0][3], 4, 0);
    CHECK_NEAR(t.columns[1][0], 2.5, 0);
    CHECK(isnan(t.columns[1][1]) && isnan(t.columns[1][2]));
    CHECK_NEAR(t.columns[1][3], -1e-3, 0);
    dnas_svg_table_release(&t);
    CHECK_INT(read_table(&t, "a\tb\n1\t2\n3\n", &err), -1);
    CHECK_STR(err.msg, "line 3: 1 fields, and the header has 2");
    CHECK_INT(read_table(&t, "a\tb\n1\t2,5\n", &err), -1);
    CHECK_STR(err.msg, "line 2: '2,5' in column 'b' is not a number");
    CHECK_INT(read_table(&t, "", &err), -1);
    CHECK_STR(err.msg, "there is no header line");
}

/* Decimal commas in the program's locale change nothing. */
static void test_locale(void)
{
    const float xy[4] = {0.123f, 4, 5.5f, 6.7f};
    struct dnas_svg_scatter plot = {.xy = xy, .N = 2};
    struct dnas_svg_table t;
    char *plain = scatter(&plot), *comma;

    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        free(plain);
        SKIP("no locale with decimal commas is installed");
    }
    comma = scatter(&plot);
    CHECK_STR(comma, plain);
    CHECK_INT(read_table(&t, "a\n1.5\n", NULL), 0);
    CHECK_NEAR(t.columns[0][0], 1.5, 0);
    dnas_svg_table_release(&t);
    setlocale(LC_ALL, "C");
    free(plain);
    free(comma);
}

int main(void)
{
    RUN(test_scatter);
    RUN(test_positions);
    RUN(test_many_classes);
    RUN(test_empty_and_equal);
    RUN(test_scatter_errors);
    RUN(test_names);
    RUN(test_ticks);
    RUN(test_curves);
    RUN(test_dense_curve);
    RUN(test_table);
    RUN(test_locale);
    return check_done();
}
