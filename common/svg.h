/* SPDX-License-Identifier: MIT
 *
 * svg.h - two pictures for papers and reports: points in classes, and curves.
 *
 * The SVG is made of plain shapes with colours written on them: no ids, styles
 * or scripts, so that two pictures can stand in one page and every program
 * that reads SVG shows them.  The same input gives the same bytes in any
 * locale.
 */
#ifndef DNAS_SVG_H
#define DNAS_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Classes that get a colour and a marker of their own; the rest, smallest first, are "other". */
#define DNAS_SVG_MAX_NAMED 40

/* Points in a plane, coloured by class.  Titles and names are UTF-8 and may be NULL. */
struct dnas_svg_scatter {
    const float *xy; /* f32 [N,2], all finite */
    size_t N;
    const int32_t
        *classes; /* [N], 0..n_classes-1, or negative: in none; NULL: one class, no legend */
    size_t n_classes;
    const char *const *class_names; /* [n_classes]; NULL, or NULL or "" for one: its number */
    const char *const *point_names; /* [N] shown under the mouse pointer; NULL: none */
    const char *title, *x_title, *y_title;
    const char *legend_title;
    const char *none_name; /* for points in no class; NULL: "unclustered" */
    bool no_ticks;         /* for axes whose numbers mean nothing (t-SNE) */
};

/* Curves over a shared x. */
struct dnas_svg_curves {
    const double *x; /* [N]; points whose x or y is not finite are left out */
    size_t N;
    const double *const *y; /* n_curves of [N] */
    size_t n_curves;
    const char *const *names; /* [n_curves] */
    const char *title, *x_title, *y_title;
};

/* Draws 900 x 640 pixels.  Classes are coloured from the largest to the smallest, so the same
 * classes look the same in every picture of the same points; small ones are drawn on top.
 * N of 0 gives axes without points.
 * Returns 0 and in *svg a text of *size_bytes bytes and a final 0, to be freed with free(); or -1
 * (a coordinate that is not finite, a class out of range), *svg then NULL.  size_bytes may be
 * NULL.  Thread safe. */
int dnas_svg_draw_scatter(char **svg, size_t *size_bytes, const struct dnas_svg_scatter *plot,
                          struct dnas_err *err);

/* The same for curves; no finite value at all gives empty axes.  Never fails. */
void dnas_svg_draw_curves(char **svg, size_t *size_bytes, const struct dnas_svg_curves *plot);

/* A table of numbers read from TSV text: a header line, then lines of as many numbers. */
struct dnas_svg_table {
    size_t N, n_columns;
    char **names;     /* [n_columns] */
    double **columns; /* n_columns of [N] */
};

/* Reads to the end of in.  An empty field, "NA" and "nan" are NaN; empty lines and lines that start
 * with '#' are passed over.  Decimal points are points in any locale.
 * Returns 0, the table to be released; or -1 (no header, a field that is not a number, a line of
 * another width, each named by its line), with nothing to release. */
int dnas_svg_table_read(struct dnas_svg_table *table, FILE *in, struct dnas_err *err);
void dnas_svg_table_release(struct dnas_svg_table *table);

#ifdef __cplusplus
}
#endif
#endif
