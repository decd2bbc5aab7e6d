/* SPDX-License-Identifier: MIT
 *
 * svg.c - scatter plots and curves.  Contract: svg.h.
 *
 * Numbers are written from integers (hundredths of a pixel; ticks as digits
 * and an exponent), so no locale can put a comma into them.
 */
#include "common/svg.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmem.h"

#define WIDTH 900
#define HEIGHT 640
#define LEFT 72
#define RIGHT 20
#define BOTTOM 58
#define INK "#222222"
#define GRID "#e8e8e8"
#define NONE_COLOUR "#b4b4b4"
#define OTHER_COLOUR "#777777"
#define FONT "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

/* Chosen from the palettes of Okabe and Ito, Paul Tol and Martin Krzywinski so that the smallest
 * CIELAB distance of two of the twelve is 26, and 18 with red or green cones missing (simulated
 * after Machado et al. 2009); the first few are the farthest apart. */
static const char *const palette[] = {
    "#0072b2", "#d95f02", "#882255", "#88ccee", "#8400cd", "#44aa99",
    "#332288", "#ee3377", "#008df9", "#117733", "#ccbb44", "#e20134",
};
#define N_COLOURS (sizeof(palette) / sizeof(palette[0]))

enum marker { CIRCLE, TRIANGLE, SQUARE, DIAMOND, N_MARKERS };

_Static_assert(DNAS_SVG_MAX_NAMED <= N_COLOURS * N_MARKERS, "two classes would look the same");

/* ---- text ---- */

static void put(struct dnas_text *t, const char *s)
{
    dnas_text_append(t, s, strlen(s));
}

/* Two decimals at most. */
static void put_number(struct dnas_text *t, double value)
{
    long long hundredths = llround(value * 100);
    long long whole = llabs(hundredths) / 100, rest = llabs(hundredths) % 100;

    if (hundredths < 0)
        put(t, "-");
    dnas_text_printf(t, "%lld", whole);
    if (rest % 10)
        dnas_text_printf(t, ".%02lld", rest);
    else if (rest)
        dnas_text_printf(t, ".%lld", rest / 10);
}

static void put_attribute(struct dnas_text *t, const char *name, double value)
{
    dnas_text_printf(t, " %s=\"", name);
    put_number(t, value);
    put(t, "\"");
}

/* Bytes in the UTF-8 character at s, or 0 if it is not one that XML may hold. */
static size_t character(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;

    if (s[0] > 0xF4 || s[0] == 0x7F || (s[0] < 0x20 && s[0] != '\t'))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || /* overlong, surrogate */
        (s[0] == 0xEF && s[1] == 0xBF && s[2] > 0xBD) ||                  /* U+FFFE, U+FFFF */
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

/* s for XML, cut to max characters with an ellipsis; bytes that are no text become "?". */
static void put_escaped(struct dnas_text *t, const char *s, size_t max)
{
    for (size_t shown = 0; *s; shown++) {
        size_t n = character((const unsigned char *)s);

        if (shown + 1 == max && s[n ? n : 1]) {
            put(t, "\xE2\x80\xA6");
            return;
        }
        if (n == 0)
            put(t, "?");
        else if (*s == '&')
            put(t, "&amp;");
        else if (*s == '<')
            put(t, "&lt;");
        else if (*s == '>')
            put(t, "&gt;");
        else if (*s == '"')
            put(t, "&quot;");
        else
            dnas_text_append(t, s, n);
        s += n ? n : 1;
    }
}

static size_t n_characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

/* <text> with more attributes (may be ""), up to max characters of s. */
static void put_label(struct dnas_text *t, double x, double y, const char *more, const char *s,
                      size_t max)
{
    put(t, "<text");
    put_attribute(t, "x", x);
    put_attribute(t, "y", y);
    put(t, more);
    put(t, ">");
    put_escaped(t, s, max);
    put(t, "</text>\n");
}

static void give_back(char **svg, size_t *size_bytes, struct dnas_text *t)
{
    put(t, "</svg>\n");
    *svg = t->data;
    if (size_bytes)
        *size_bytes = t->n;
}

/* ---- axes ---- */

/* From data to pixels, and ticks at k * digit * 10^exponent for first <= k <= last. */
struct axis {
    double low, high, from, to;
    int digit, exponent;
    long long first, last;
};

static double tick_step(const struct axis *a)
{
    return a->exponent < 0 ? a->digit / pow(10, -a->exponent) : a->digit * pow(10, a->exponent);
}

/* Ticks at steps of 1, 2 or 5 times a power of ten, about n of them. */
static void choose_ticks(struct axis *a, int n)
{
    double raw = (a->high - a->low) / n, lead;

    a->exponent = (int)floor(log10(raw));
    lead = raw / pow(10, a->exponent);
    a->digit = lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 1;
    a->exponent += lead >= 7.5;
    a->first = (long long)ceil(a->low / tick_step(a) - 1e-9);
    a->last = (long long)floor(a->high / tick_step(a) + 1e-9);
}

static struct axis axis_over(double low, double high, double from, double to, double margin,
                             int n_ticks)
{
    struct axis a = {.from = from, .to = to};
    double spread = high - low;

    /* one value, or so little apart that ticks would need more digits than doubles have */
    if (!(spread > 1e-12 * fmax(fabs(low), fabs(high))) || !(spread > 1e-250))
        spread = fmax(fabs(low), 1) / margin / 2;
    a.low = low - margin * spread;
    a.high = high + margin * spread;
    choose_ticks(&a, n_ticks);
    return a;
}

static double pixel(const struct axis *a, double value)
{
    return a->from + (value - a->low) / (a->high - a->low) * (a->to - a->from);
}

/* n * 10^exponent, plain where that is short, else as 1.5e-7. */
static void tick_text(char out[48], long long n, int exponent)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%lld", llabs(n));
    const char *sign = n < 0 ? "-" : "";

    while (n && length > 1 && digits[length - 1] == '0' && exponent < 0) {
        digits[--length] = 0;
        exponent++;
    }
    if (n == 0)
        snprintf(out, 48, "0");
    else if (exponent >= 0 && length + exponent <= 6)
        snprintf(out, 48, "%s%s%.*s", sign, digits, exponent, "000000");
    else if (exponent < 0 && exponent >= -5 && length > -exponent)
        snprintf(out, 48, "%s%.*s.%s", sign, length + exponent, digits, digits + length + exponent);
    else if (exponent < 0 && exponent >= -5)
        snprintf(out, 48, "%s0.%.*s%s", sign, -exponent - length, "00000", digits);
    else {
        exponent += length - 1;
        while (length > 1 && digits[length - 1] == '0')
            digits[--length] = 0;
        snprintf(out, 48, "%s%c%s%se%d", sign, digits[0], length > 1 ? "." : "", digits + 1,
                 exponent);
    }
}

static void put_grid(struct dnas_text *t, const struct axis *x, const struct axis *y)
{
    put(t, "<path fill=\"none\" stroke=\"" GRID "\" d=\"");
    for (long long k = x->first; k <= x->last; k++) {
        put(t, "M");
        put_number(t, pixel(x, (double)k * tick_step(x)));
        dnas_text_printf(t, " %dV%d", (int)y->from, (int)y->to);
    }
    for (long long k = y->first; k <= y->last; k++) {
        dnas_text_printf(t, "M%d ", (int)x->from);
        put_number(t, pixel(y, (double)k * tick_step(y)));
        dnas_text_printf(t, "H%d", (int)x->to);
    }
    put(t, "\"/>\n");
}

static void put_tick_labels(struct dnas_text *t, const struct axis *x, const struct axis *y)
{
    char label[48];

    put(t, "<g font-size=\"12\" text-anchor=\"middle\">\n");
    for (long long k = x->first; k <= x->last; k++) {
        tick_text(label, k * x->digit, x->exponent);
        put_label(t, pixel(x, (double)k * tick_step(x)), y->from + 18, "", label, 0);
    }
    put(t, "</g>\n<g font-size=\"12\" text-anchor=\"end\">\n");
    for (long long k = y->first; k <= y->last; k++) {
        tick_text(label, k * y->digit, y->exponent);
        put_label(t, x->from - 7, pixel(y, (double)k * tick_step(y)) + 4, "", label, 0);
    }
    put(t, "</g>\n");
}

static void put_axis_titles(struct dnas_text *t, const struct axis *x, const struct axis *y,
                            const char *x_title, const char *y_title, bool no_ticks)
{
    double middle = (y->from + y->to) / 2;

    if (x_title)
        put_label(t, (x->from + x->to) / 2, y->from + (no_ticks ? 26 : 42),
                  " font-size=\"14\" text-anchor=\"middle\"", x_title, 90);
    if (y_title) {
        put(t, "<text font-size=\"14\" text-anchor=\"middle\" transform=\"translate(");
        put_number(t, x->from - (no_ticks ? 16 : 50));
        put(t, " ");
        put_number(t, middle);
        put(t, ") rotate(-90)\">");
        put_escaped(t, y_title, 70);
        put(t, "</text>\n");
    }
}

static int plot_top(const char *title)
{
    return title ? 46 : 20;
}

static void put_start(struct dnas_text *t, const char *title, double x)
{
    dnas_text_printf(t,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                     "viewBox=\"0 0 %d %d\" font-family=\"" FONT "\" fill=\"" INK "\">\n",
                     WIDTH, HEIGHT, WIDTH, HEIGHT);
    put(t, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    if (title)
        put_label(t, x, 29, " font-size=\"17\" font-weight=\"600\"", title, 90);
}

static void put_frame(struct dnas_text *t, const struct axis *x, const struct axis *y)
{
    dnas_text_printf(t, "<path fill=\"none\" stroke=\"#888888\" d=\"M%d %dV%dH%d\"/>\n",
                     (int)x->from, (int)y->to, (int)y->from, (int)x->to);
}

/* ---- classes ---- */

/* One look of points: a class, all others together, or none. */
struct look {
    const char *name; /* NULL: number `label` */
    size_t label;
    size_t n; /* points */
    const char *colour;
    enum marker marker;
    double opacity;
};

struct ranked {
    size_t n, label;
};

/* Larger first, then by number. */
static int by_size(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return (x->label > y->label) - (x->label < y->label);
}

struct looks {
    struct look look[DNAS_SVG_MAX_NAMED + 2]; /* named ones, then other, then none */
    size_t n_named, other, none;              /* places in look; other and none may have 0 points */
    size_t *of;                               /* [n_classes] place of each class */
};

static void looks_init(struct looks *l, const struct dnas_svg_scatter *plot)
{
    struct ranked *ranks = dnas_xzalloc(plot->n_classes, sizeof(*ranks));
    size_t n_present = 0, n_none = 0;

    *l = (struct looks){.of = dnas_xzalloc(plot->n_classes, sizeof(*l->of))};
    for (size_t c = 0; c < plot->n_classes; c++)
        ranks[c].label = c;
    for (size_t i = 0; i < plot->N; i++)
        if (plot->classes[i] >= 0)
            ranks[plot->classes[i]].n++;
        else
            n_none++;
    qsort(ranks, plot->n_classes, sizeof(*ranks), by_size);
    while (n_present < plot->n_classes && ranks[n_present].n > 0)
        n_present++;
    l->n_named = n_present < DNAS_SVG_MAX_NAMED ? n_present : DNAS_SVG_MAX_NAMED;
    l->other = l->n_named;
    l->none = l->other + 1;
    for (size_t r = 0; r < n_present; r++)
        l->of[ranks[r].label] = r < l->n_named ? r : l->other;
    for (size_t r = 0; r < l->n_named; r++)
        l->look[r] =
            (struct look){.name = plot->class_names ? plot->class_names[ranks[r].label] : NULL,
                          .label = ranks[r].label,
                          .colour = palette[r % N_COLOURS],
                          .marker = (enum marker)(r / N_COLOURS),
                          .opacity = 0.7};
    l->look[l->other] =
        (struct look){.name = "other", .colour = OTHER_COLOUR, .marker = CIRCLE, .opacity = 0.45};
    l->look[l->none] = (struct look){.name = plot->none_name ? plot->none_name : "unclustered",
                                     .n = n_none,
                                     .colour = NONE_COLOUR,
                                     .marker = CIRCLE,
                                     .opacity = 0.6};
    for (size_t r = 0; r < n_present; r++)
        l->look[l->of[ranks[r].label]].n += ranks[r].n;
    free(ranks);
}

static size_t look_of(const struct looks *l, const struct dnas_svg_scatter *plot, size_t i)
{
    return plot->classes[i] < 0 ? l->none : l->of[plot->classes[i]];
}

/* Starts the element of a marker about as large as a circle of radius r. */
static void put_marker(struct dnas_text *t, enum marker marker, double x, double y, double r)
{
    static const struct {
        int n;
        double corner[4][2];
    } shapes[N_MARKERS] = {
        [TRIANGLE] = {3, {{-1.2, 0.9}, {1.2, 0.9}, {0, -1.2}}},
        [SQUARE] = {4, {{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}}},
        [DIAMOND] = {4, {{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}}},
    };

    if (marker == CIRCLE) {
        put(t, "<circle");
        put_attribute(t, "cx", x);
        put_attribute(t, "cy", y);
        put_attribute(t, "r", r);
        return;
    }
    put(t, "<path d=\"");
    for (int i = 0; i < shapes[marker].n; i++) {
        put(t, i ? "L" : "M");
        put_number(t, x + r * shapes[marker].corner[i][0]);
        put(t, " ");
        put_number(t, y + r * shapes[marker].corner[i][1]);
    }
    put(t, "z\"");
}

static double marker_radius(size_t N)
{
    return N <= 500 ? 4 : N <= 3000 ? 3 : N <= 20000 ? 2 : 1.3;
}

static void put_group(struct dnas_text *t, const struct look *look)
{
    dnas_text_printf(t, "<g fill=\"%s\" fill-opacity=\"", look->colour);
    put_number(t, look->opacity);
    put(t, "\">\n");
}

static void put_points_of(struct dnas_text *t, const struct dnas_svg_scatter *plot,
                          const struct look *look, const size_t *rows, const struct axis *x,
                          const struct axis *y)
{
    double r = marker_radius(plot->N);

    put_group(t, look);
    for (size_t k = 0; k < look->n; k++) {
        size_t i = rows[k];

        put_marker(t, look->marker, pixel(x, (double)plot->xy[2 * i]),
                   pixel(y, (double)plot->xy[2 * i + 1]), r);
        if (plot->point_names && plot->point_names[i]) {
            put(t, "><title>");
            put_escaped(t, plot->point_names[i], 0);
            dnas_text_printf(t, "</title></%s>\n", look->marker == CIRCLE ? "circle" : "path");
        } else {
            put(t, "/>\n");
        }
    }
    put(t, "</g>\n");
}

/* Rows sorted by look, then those in no class and the others first, the smallest class on top. */
static void put_classes(struct dnas_text *t, const struct dnas_svg_scatter *plot,
                        const struct looks *l, const struct axis *x, const struct axis *y)
{
    size_t *rows = dnas_xalloc(plot->N, sizeof(*rows));
    size_t end[DNAS_SVG_MAX_NAMED + 3] = {0};

    for (size_t k = 0; k <= l->none; k++)
        end[k + 1] = end[k] + l->look[k].n;
    for (size_t i = 0; i < plot->N; i++)
        rows[end[look_of(l, plot, i)]++] = i;
    for (size_t turn = 0; turn <= l->none; turn++) {
        size_t k = turn == 0 ? l->none : turn == 1 ? l->other : turn - 2;

        if (l->look[k].n)
            put_points_of(t, plot, &l->look[k], rows + end[k] - l->look[k].n, x, y);
    }
    free(rows);
}

/* ---- legend of classes ---- */

#define LEGEND_GAP 18     /* between the plot and the legend */
#define NAME_MAX_CHARS 30 /* longer names are cut, whole under the mouse pointer */
#define PIXELS_PER_CHAR 6.5

static const char *look_name(char number[24], const struct look *look)
{
    if (look->name && *look->name)
        return look->name;
    snprintf(number, 24, "%zu", look->label);
    return number;
}

/* Pixels that the legend takes, its gap included. */
static double legend_width(const struct looks *l, const char *title)
{
    size_t longest = title ? n_characters(title) : 0;
    char number[24], count[24];

    for (size_t k = 0; k <= l->none; k++) {
        size_t n = n_characters(look_name(number, &l->look[k]));

        n = n < NAME_MAX_CHARS ? n : NAME_MAX_CHARS;
        n += 2 + (size_t)snprintf(count, sizeof(count), "%zu", l->look[k].n);
        if (l->look[k].n && n > longest)
            longest = n;
    }
    return LEGEND_GAP + 18 + PIXELS_PER_CHAR * (double)longest;
}

static void put_legend_row(struct dnas_text *t, const struct look *look, double x, double y,
                           double font)
{
    char number[24];
    const char *name = look_name(number, look);

    put(t, "<g>");
    put_marker(t, look->marker, x + 6, y - 0.35 * font, fmin(0.4 * font, 4.5));
    dnas_text_printf(t, " fill=\"%s\"/>", look->colour);
    put(t, "<text");
    put_attribute(t, "x", x + 17);
    put_attribute(t, "y", y);
    put(t, ">");
    put_escaped(t, name, NAME_MAX_CHARS);
    dnas_text_printf(t, "<tspan fill=\"#777777\" dx=\"6\">%zu</tspan></text>", look->n);
    if (n_characters(name) > NAME_MAX_CHARS) {
        put(t, "<title>");
        put_escaped(t, name, 0);
        put(t, "</title>");
    }
    put(t, "</g>\n");
}

static void put_legend(struct dnas_text *t, const struct looks *l, const char *title, double x,
                       double top, double bottom)
{
    size_t n_rows = title != NULL;
    double row, font, y;

    for (size_t k = 0; k <= l->none; k++)
        n_rows += l->look[k].n > 0;
    row = fmin(19, (bottom - top) / (double)n_rows);
    font = fmin(12.5, 0.84 * row);
    y = top + font;
    put(t, "<g");
    put_attribute(t, "font-size", font);
    put(t, ">\n");
    if (title) {
        put_label(t, x, y, " font-weight=\"600\"", title, NAME_MAX_CHARS);
        y += row;
    }
    for (size_t k = 0; k <= l->none; k++)
        if (l->look[k].n) {
            put_legend_row(t, &l->look[k], x, y, font);
            y += row;
        }
    put(t, "</g>\n");
}

/* ---- scatter ---- */

static int check_scatter(const struct dnas_svg_scatter *plot, struct dnas_err *err)
{
    for (size_t i = 0; i < plot->N; i++) {
        if (!isfinite(plot->xy[2 * i]) || !isfinite(plot->xy[2 * i + 1]))
            return dnas_err_set(err, "point %zu has a coordinate that is not finite", i + 1);
        if (plot->classes && plot->classes[i] >= 0 && (size_t)plot->classes[i] >= plot->n_classes)
            return dnas_err_set(err, "point %zu is in class %ld, and there are %zu", i + 1,
                                (long)plot->classes[i], plot->n_classes);
    }
    return 0;
}

static void scatter_axes(struct axis *x, struct axis *y, const struct dnas_svg_scatter *plot,
                         double right)
{
    double low[2] = {0, 0}, high[2] = {0, 0};

    for (size_t i = 0; i < plot->N; i++)
        for (size_t d = 0; d < 2; d++) {
            double v = (double)plot->xy[2 * i + d];

            low[d] = i == 0 || v < low[d] ? v : low[d];
            high[d] = i == 0 || v > high[d] ? v : high[d];
        }
    *x = axis_over(low[0], high[0], plot->no_ticks ? LEFT - 32 : LEFT, right, 0.04, 7);
    *y = axis_over(low[1], high[1], HEIGHT - BOTTOM, plot_top(plot->title), 0.04, 6);
}

static void put_all_points(struct dnas_text *t, const struct dnas_svg_scatter *plot,
                           const struct axis *x, const struct axis *y)
{
    struct look look = {.n = plot->N, .colour = palette[0], .opacity = 0.6};
    size_t *rows = dnas_xalloc(plot->N, sizeof(*rows));

    for (size_t i = 0; i < plot->N; i++)
        rows[i] = i;
    put_points_of(t, plot, &look, rows, x, y);
    free(rows);
}

int dnas_svg_draw_scatter(char **svg, size_t *size_bytes, const struct dnas_svg_scatter *plot,
                          struct dnas_err *err)
{
    struct dnas_text t = {0};
    struct axis x, y;
    struct looks looks = {.of = NULL};
    double right = WIDTH - RIGHT;

    *svg = NULL;
    if (check_scatter(plot, err) < 0)
        return -1;
    if (plot->classes) {
        looks_init(&looks, plot);
        right -= floor(legend_width(&looks, plot->legend_title));
    }
    scatter_axes(&x, &y, plot, right);
    put_start(&t, plot->title, x.from);
    if (!plot->no_ticks) {
        put_grid(&t, &x, &y);
        put_tick_labels(&t, &x, &y);
    }
    put_frame(&t, &x, &y);
    put_axis_titles(&t, &x, &y, plot->x_title, plot->y_title, plot->no_ticks);
    if (plot->classes) {
        put_classes(&t, plot, &looks, &x, &y);
        put_legend(&t, &looks, plot->legend_title, right + LEGEND_GAP, y.to, HEIGHT - RIGHT);
    } else {
        put_all_points(&t, plot, &x, &y);
    }
    free(looks.of);
    give_back(svg, size_bytes, &t);
    return 0;
}

/* ---- curves ---- */

/* Points of a curve that fit into a pixel are drawn as one stroke from the lowest to the highest
 * when there are more than this many. */
#define DENSE (4 * (size_t)WIDTH)
/* A curve of no more points shows each as a dot: one point alone would leave no mark. */
#define MAX_DOTS 60

/* The second dozen of curves is dashed. */
static const char *dashes(size_t curve)
{
    return curve / N_COLOURS % 2 ? " stroke-dasharray=\"6 3\"" : "";
}

struct bounds {
    double low[2], high[2];
    bool any;
};

static struct bounds curve_bounds(const struct dnas_svg_curves *plot)
{
    struct bounds b = {.any = false};

    for (size_t c = 0; c < plot->n_curves; c++)
        for (size_t i = 0; i < plot->N; i++) {
            double at[2] = {plot->x[i], plot->y[c][i]};

            if (!isfinite(at[0]) || !isfinite(at[1]))
                continue;
            for (int d = 0; d < 2; d++) {
                b.low[d] = !b.any || at[d] < b.low[d] ? at[d] : b.low[d];
                b.high[d] = !b.any || at[d] > b.high[d] ? at[d] : b.high[d];
            }
            b.any = true;
        }
    return b;
}

static void put_vertex(struct dnas_text *t, bool *down, double x, double y)
{
    put(t, *down ? "L" : "M");
    put_number(t, x);
    put(t, " ");
    put_number(t, y);
    *down = true;
}

/* Values v[0..n-1] lie in one column of pixels: first, lowest, highest, last. */
static void put_dense(struct dnas_text *t, bool *down, const double *v, size_t n, double column,
                      const struct axis *y)
{
    double low = v[0], high = v[0];

    for (size_t k = 1; k < n; k++) {
        low = fmin(low, v[k]);
        high = fmax(high, v[k]);
    }
    put_vertex(t, down, column, pixel(y, v[0]));
    if (low < high) {
        put_vertex(t, down, column, pixel(y, low));
        put_vertex(t, down, column, pixel(y, high));
        put_vertex(t, down, column, pixel(y, v[n - 1]));
    }
}

static void put_dots(struct dnas_text *t, const double *columns, const double *v, size_t n,
                     const char *colour, const struct axis *y)
{
    dnas_text_printf(t, "<g fill=\"%s\" stroke=\"none\">\n", colour);
    for (size_t i = 0; i < n; i++) {
        put_marker(t, CIRCLE, columns[i], pixel(y, v[i]), 2.5);
        put(t, "/>\n");
    }
    put(t, "</g>\n");
}

/* The finite points of a curve: their columns of pixels and values; returns how many. */
static size_t finite_points(double *columns, double *v, const struct dnas_svg_curves *plot,
                            size_t c, const struct axis *x)
{
    size_t n = 0;

    for (size_t i = 0; i < plot->N; i++)
        if (isfinite(plot->x[i]) && isfinite(plot->y[c][i])) {
            columns[n] = pixel(x, plot->x[i]);
            v[n++] = plot->y[c][i];
        }
    return n;
}

static void put_curve(struct dnas_text *t, const struct dnas_svg_curves *plot, size_t c,
                      const struct axis *x, const struct axis *y)
{
    double *columns = dnas_xalloc(plot->N, sizeof(*columns));
    double *v = dnas_xalloc(plot->N, sizeof(*v));
    size_t n = finite_points(columns, v, plot, c, x), j;
    bool down = false;

    dnas_text_printf(t, "<path stroke=\"%s\"%s d=\"", palette[c % N_COLOURS], dashes(c));
    for (size_t i = 0; i < n; i = j) {
        j = i + 1;
        while (n > DENSE && j < n && floor(columns[j]) == floor(columns[i]))
            j++;
        put_dense(t, &down, v + i, j - i, columns[i], y);
    }
    put(t, "\"/>\n");
    if (n <= MAX_DOTS)
        put_dots(t, columns, v, n, palette[c % N_COLOURS], y);
    free(columns);
    free(v);
}

static void put_curve_legend(struct dnas_text *t, const struct dnas_svg_curves *plot, double x,
                             double top)
{
    put(t, "<g font-size=\"12.5\">\n");
    for (size_t c = 0; c < plot->n_curves; c++) {
        double y = top + 12.5 + 20 * (double)c;

        dnas_text_printf(t, "<path stroke=\"%s\" stroke-width=\"2.5\"%s d=\"M",
                         palette[c % N_COLOURS], dashes(c));
        put_number(t, x);
        put(t, " ");
        put_number(t, y - 4);
        put(t, "h22\"/>");
        put_label(t, x + 29, y, "", plot->names[c], NAME_MAX_CHARS);
    }
    put(t, "</g>\n");
}

static double curve_legend_width(const struct dnas_svg_curves *plot)
{
    size_t longest = 0;

    for (size_t c = 0; c < plot->n_curves; c++) {
        size_t n = n_characters(plot->names[c]);

        n = n < NAME_MAX_CHARS ? n : NAME_MAX_CHARS;
        longest = n > longest ? n : longest;
    }
    return LEGEND_GAP + 29 + PIXELS_PER_CHAR * (double)longest;
}

void dnas_svg_draw_curves(char **svg, size_t *size_bytes, const struct dnas_svg_curves *plot)
{
    struct dnas_text t = {0};
    struct bounds b = curve_bounds(plot);
    double right = WIDTH - RIGHT - floor(curve_legend_width(plot));
    struct axis x = axis_over(b.low[0], b.high[0], LEFT, right, 0.01, 7);
    struct axis y = axis_over(b.low[1], b.high[1], HEIGHT - BOTTOM, plot_top(plot->title), 0.04, 6);

    put_start(&t, plot->title, x.from);
    put_grid(&t, &x, &y);
    put_tick_labels(&t, &x, &y);
    put_frame(&t, &x, &y);
    put_axis_titles(&t, &x, &y, plot->x_title, plot->y_title, false);
    put(&t, "<g fill=\"none\" stroke-width=\"1.6\" stroke-linejoin=\"round\" "
            "stroke-linecap=\"round\">\n");
    for (size_t c = 0; c < plot->n_curves; c++)
        put_curve(&t, plot, c, &x, &y);
    put(&t, "</g>\n");
    put_curve_legend(&t, plot, right + LEGEND_GAP, y.to);
    give_back(svg, size_bytes, &t);
}

/* ---- table of numbers ---- */

static size_t n_fields(const char *line)
{
    size_t n = 1;

    for (; *line; line++)
        n += *line == '\t';
    return n;
}

/* The next field of *line, ended in place. */
static char *next_field(char **line)
{
    char *field = *line, *tab = strchr(field, '\t');

    *line = tab ? tab + 1 : field + strlen(field);
    if (tab)
        *tab = 0;
    return field;
}

static void start_table(struct dnas_svg_table *table, char *line)
{
    table->n_columns = n_fields(line);
    table->names = dnas_xzalloc(table->n_columns, sizeof(*table->names));
    table->columns = dnas_xzalloc(table->n_columns, sizeof(*table->columns));
    for (size_t c = 0; c < table->n_columns; c++)
        table->names[c] = dnas_xstrdup(next_field(&line));
}

static int parse_number(double *value, const char *field)
{
    char *end;

    *value = NAN;
    if (*field == 0 || strcmp(field, "NA") == 0)
        return 0;
    *value = strtod(field, &end);
    return *end ? -1 : 0;
}

static int add_row(struct dnas_svg_table *table, size_t *caps, char *line, struct dnas_err *err)
{
    if (n_fields(line) != table->n_columns)
        return dnas_err_set(err, "%zu fields, and the header has %zu", n_fields(line),
                            table->n_columns);
    for (size_t c = 0; c < table->n_columns; c++) {
        const char *field = next_field(&line);
        double value;

        if (parse_number(&value, field) < 0)
            return dnas_err_set(err, "'%.40s' in column '%.40s' is not a number", field,
                                table->names[c]);
        table->columns[c] =
            dnas_xgrow(table->columns[c], &caps[c], table->N + 1, sizeof(**table->columns));
        table->columns[c][table->N] = value;
    }
    table->N++;
    return 0;
}

static int read_lines(struct dnas_svg_table *table, FILE *in, struct dnas_err *err)
{
    char *line = NULL;
    size_t size = 0, n_lines = 0, *caps = NULL;
    ssize_t length;
    int status = 0;

    while (status == 0 && (length = getline(&line, &size, in)) >= 0) {
        n_lines++;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = 0;
        if (length == 0 || line[0] == '#')
            continue;
        if (!table->names) {
            start_table(table, line);
            caps = dnas_xzalloc(table->n_columns, sizeof(*caps));
        } else if (add_row(table, caps, line, err) < 0) {
            status = dnas_err_at(err, "line %zu: ", n_lines);
        }
    }
    if (status == 0 && ferror(in))
        status = dnas_err_set(err, "cannot be read");
    else if (status == 0 && !table->names)
        status = dnas_err_set(err, "there is no header line");
    free(line);
    free(caps);
    return status;
}

int dnas_svg_table_read(struct dnas_svg_table *table, FILE *in, struct dnas_err *err)
{
    locale_t points = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(points);
    int status;

    *table = (struct dnas_svg_table){0};
    status = read_lines(table, in, err);
    uselocale(before);
    freelocale(points);
    if (status < 0)
        dnas_svg_table_release(table);
    return status;
}

void dnas_svg_table_release(struct dnas_svg_table *table)
{
    for (size_t c = 0; c < table->n_columns; c++) {
        free(table->names[c]);
        free(table->columns[c]);
    }
    free(table->names);
    free(table->columns);
    *table = (struct dnas_svg_table){0};
}
