/* SPDX-License-Identifier: MIT
 *
 * test_text.c - rows as TSV and JSON, and TSV read back as what it was.
 */
#include "common/text.h"

#include <float.h>

#include "common/record.h"
#include "common/rng.h"
#include "tests/unit/check.h"
#include "tests/unit/files.h"

/* A row of every type. */
static void make_table(struct dnas_header *h, struct dnas_table *t)
{
    static const float vector[3] = {0.1f, -1e-30f, 3};
    static const uint16_t list[2] = {0, 65535}, bf16 = 0x3f80; /* 1 */
    static const uint8_t u8 = 255;
    static const uint32_t u32 = UINT32_MAX;
    static const int32_t i32 = INT32_MIN;
    static const int64_t i64 = INT64_MIN;
    static const float f32 = 1.0f / 3;

    dnas_header_init(h, DNAS_EMBEDDINGS);
    dnas_header_add_column(h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(h, "v", DNAS_F32, false, 3);
    dnas_header_add_column(h, "one", DNAS_F32, false, 1);
    dnas_header_add_column(h, "list", DNAS_U16, true, 0);
    dnas_header_add_column(h, "u8", DNAS_U8, false, 0);
    dnas_header_add_column(h, "u32", DNAS_U32, false, 0);
    dnas_header_add_column(h, "i32", DNAS_I32, false, 0);
    dnas_header_add_column(h, "i64", DNAS_I64, false, 0);
    dnas_header_add_column(h, "f32", DNAS_F32, false, 0);
    dnas_header_add_column(h, "bf16", DNAS_BF16, false, 0);
    dnas_table_init(t, h->columns, h->n_columns);
    dnas_table_cell(t, 0, "a \"b\" \\", 7);
    dnas_table_cell(t, 1, vector, 3);
    dnas_table_cell(t, 2, vector + 2, 1);
    dnas_table_cell(t, 3, list, 2);
    dnas_table_cell(t, 4, &u8, 1);
    dnas_table_cell(t, 5, &u32, 1);
    dnas_table_cell(t, 6, &i32, 1);
    dnas_table_cell(t, 7, &i64, 1);
    dnas_table_cell(t, 8, &f32, 1);
    dnas_table_cell(t, 9, &bf16, 1);
    dnas_table_end_row(t);
}

static void test_rows(void)
{
    struct dnas_header h;
    struct dnas_table t;
    struct dnas_block b;
    struct dnas_text text = {0};

    make_table(&h, &t);
    b = dnas_table_block(&t);
    dnas_text_tsv_header(&text, &h);
    dnas_text_tsv_row(&text, &b, 0);
    CHECK_STR(text.data,
              "id\tv_0\tv_1\tv_2\tone_0\tlist\tu8\tu32\ti32\ti64\tf32\tbf16\n"
              "a \"b\" \\\t0.100000001\t-1e-30\t3\t3\t0 65535\t255\t4294967295\t-2147483648\t"
              "-9223372036854775808\t0.333333343\t1\n");
    text.n = 0;
    dnas_text_json_row(&text, &b, 0);
    CHECK_STR(text.data,
              "{\"id\": \"a \\\"b\\\" \\\\\", \"v\": [0.100000001,-1e-30,3], \"one\": [3], "
              "\"list\": [0,65535], \"u8\": 255, \"u32\": 4294967295, \"i32\": -2147483648, "
              "\"i64\": -9223372036854775808, \"f32\": 0.333333343, \"bf16\": 1}\n");
    free(text.data);
    dnas_table_release(&t);
    dnas_header_release(&h);
}

static void test_numbers_that_are_none(void)
{
    const float v[3] = {NAN, INFINITY, -INFINITY};
    struct dnas_header h;
    struct dnas_table t;
    struct dnas_block b;
    struct dnas_text text = {0};

    dnas_header_init(&h, DNAS_LABELS);
    dnas_header_add_column(&h, "v", DNAS_F32, false, 3);
    dnas_table_init(&t, h.columns, h.n_columns);
    dnas_table_cell(&t, 0, v, 3);
    dnas_table_end_row(&t);
    b = dnas_table_block(&t);
    dnas_text_tsv_row(&text, &b, 0);
    CHECK_STR(text.data, "nan\tinf\t-inf\n");
    text.n = 0;
    dnas_text_json_row(&text, &b, 0);
    CHECK_STR(text.data, "{\"v\": [null,null,null]}\n");
    free(text.data);
    dnas_table_release(&t);
    dnas_header_release(&h);
}

static void test_growing_text(void)
{
    struct dnas_text t = {0};
    char big[1000];

    memset(big, 'x', sizeof(big));
    for (int i = 0; i < 100; i++)
        dnas_text_printf(&t, "%.*s%d\n", (int)(i * 10), big, i);
    CHECK_INT(strlen(t.data), t.n);
    CHECK_STR(t.data + t.n - 3, "99\n");
    CHECK_INT(t.n, 10 * (99 * 100 / 2) + 190 + 100);
    dnas_text_append(&t, "", 0);
    CHECK_INT(strlen(t.data), t.n);
    free(t.data);
}

/* Writes f32 vectors as TSV, reads them as a stream, and compares the bits. */
static void test_floats_come_back(void)
{
    enum { N = 3000, C = 4 };
    static float x[N][C];
    static const float special[] = {0,        -0.0f,        FLT_MIN,   FLT_MAX,
                                    -FLT_MAX, FLT_EPSILON,  0x1p-149f, 1.0f / 3,
                                    16777217, 123456789.0f, 1e-45f,    0.1f};
    struct dnas_header h;
    struct dnas_table t;
    struct dnas_block b;
    struct dnas_text text = {0};
    struct dnas_rng rng;
    struct dnas_err err = {""};
    struct dnas_reader *r;
    uint64_t n = 0;
    int status;

    dnas_rng_init(&rng, 1, DNAS_RNG_TEST, 0, 0);
    for (int i = 0; i < N * C; i++) {
        float *v = &x[i / C][i % C];

        do {
            uint32_t bits = dnas_rng_u32(&rng);

            memcpy(v, &bits, 4);
        } while (!isfinite(*v));
        if (i < (int)(sizeof(special) / sizeof(special[0])))
            *v = special[i];
    }
    dnas_header_init(&h, DNAS_EMBEDDINGS);
    dnas_header_add_column(&h, "id", DNAS_UTF8, true, 0);
    dnas_header_add_column(&h, "embedding", DNAS_F32, false, C);
    dnas_table_init(&t, h.columns, h.n_columns);
    for (int i = 0; i < N; i++) {
        dnas_table_cell(&t, 0, "r", 1);
        dnas_table_cell(&t, 1, x[i], C);
        dnas_table_end_row(&t);
    }
    b = dnas_table_block(&t);
    dnas_text_tsv_header(&text, &h);
    for (uint32_t i = 0; i < N; i++)
        dnas_text_tsv_row(&text, &b, i);
    r = dnas_reader_on_tsv(dnas_in_open(file_write("x.tsv", text.data, text.n), &err), &err);
    CHECK(r != NULL);
    while (r && (status = dnas_reader_next(r, &b, &err)) == 1) {
        CHECK_INT(b.first_row, n);
        CHECK(b.n_rows <= DNAS_STREAM_BLOCK_ROWS);
        CHECK(memcmp(b.cells[1].values, x[n], b.n_rows * sizeof(x[0])) == 0);
        n += b.n_rows;
    }
    CHECK_INT(n, N);
    CHECK_INT(dnas_reader_rows(r), N);
    dnas_reader_close(r);
    free(text.data);
    dnas_table_release(&t);
    dnas_header_release(&h);
}

/* The header that a line of names makes: "KIND name:type[dim] ...". */
static void expect_header(const char *names, const char *want)
{
    struct dnas_err err = {""};
    struct dnas_reader *r = dnas_reader_on_tsv(dnas_in_open(file_text("h.tsv", names), &err), &err);
    struct dnas_text got = {0};

    if (!r) {
        CHECK_FAIL("%s: %s", names, err.msg);
        return;
    }
    dnas_text_printf(&got, "%s", dnas_kind_name(dnas_reader_header(r)->kind));
    for (int i = 0; i < dnas_reader_header(r)->n_columns; i++) {
        const struct dnas_column *c = &dnas_reader_header(r)->columns[i];

        dnas_text_printf(&got, " %s:%s", c->name, dnas_type_name(c->type));
        if (c->is_vector)
            dnas_text_printf(&got, "[%u]", (unsigned)c->dim);
        else if (c->ragged && c->type != DNAS_UTF8)
            dnas_text_printf(&got, "[]");
    }
    CHECK_STR(got.data, want);
    free(got.data);
    dnas_reader_close(r);
}

static void test_names_say_types(void)
{
    expect_header("id\tembedding_0\tembedding_1\tlength_bp\tlabel\n",
                  "EMBEDDINGS id:utf8 embedding:f32[2] length_bp:u32 label:utf8");
    expect_header("id\tcluster\tscore\n", "LABELS id:utf8 cluster:i32 score:f32");
    expect_header("id\ttokens\tpart\tparts\n", "TOKENS id:utf8 tokens:u16[] part:u32 parts:u32");
    expect_header("id\tseq_a\tseq_b\tsplit\n", "PAIRS id:utf8 seq_a:utf8 seq_b:utf8 split:u8");
    expect_header("id\ttokens_a\ttokens_b\tsplit\n",
                  "PAIRS id:utf8 tokens_a:u16[] tokens_b:u16[] split:u8");
    /* Names that only look like vectors, and vectors side by side. */
    expect_header("id\tcluster\tx_1\ty_0\ty_1\tz_0\tz_2\tw_00\t_0\ta_b_0\ta_b_1",
                  "LABELS id:utf8 cluster:i32 x_1:utf8 y:f32[2] z:f32[1] z_2:utf8 w_00:utf8 "
                  "_0:utf8 a_b:f32[2]");
    expect_header("id\tcluster\tx_0\tx_1\tx_2\tx_3\tx_4\tx_5\tx_6\tx_7\tx_8\tx_9\tx_10\tx_11",
                  "LABELS id:utf8 cluster:i32 x:f32[12]");
}

static void test_cells(void)
{
    struct dnas_err err = {""};
    const char *text = "id\ttokens\tpart\tparts\tnote\na\t\t0\t1\t\nb\t7\t1\t2\tx y\n\nc\t1 2 "
                       "65535\t2\t3\t\xc3\xa4\r\n";
    struct dnas_reader *r = dnas_reader_on_tsv(dnas_in_open(file_text("c.tsv", text), &err), &err);
    struct dnas_block b;
    const uint16_t *tokens;
    const char *note;
    size_t n;

    CHECK_INT(dnas_reader_next(r, &b, &err), 1);
    CHECK_INT(b.n_rows, 3);
    dnas_block_ragged(&b, 1, 0, &n);
    CHECK_INT(n, 0);
    tokens = dnas_block_ragged(&b, 1, 2, &n);
    CHECK(n == 3 && tokens[0] == 1 && tokens[2] == 65535);
    note = dnas_block_ragged(&b, 4, 1, &n);
    CHECK(n == 3 && memcmp(note, "x y", 3) == 0);
    note = dnas_block_ragged(&b, 4, 2, &n);
    CHECK(n == 2 && memcmp(note, "\xc3\xa4", 2) == 0);
    CHECK_INT(((const uint32_t *)b.cells[3].values)[1], 2);
    CHECK_INT(dnas_reader_next(r, &b, &err), 0);
    dnas_reader_close(r);
}

/* A stream or a TSV, told apart by their first bytes. */
static void test_open_any(void)
{
    struct dnas_err err = {""};
    struct dnas_reader *r = dnas_reader_open_any(file_text("a.tsv", "id\tcluster\nx\t1\n"), &err);

    CHECK(r && dnas_reader_header(r)->kind == DNAS_LABELS);
    dnas_reader_close(r);
    CHECK(dnas_reader_open_any(file_path("missing"), &err) == NULL);
    CHECK(dnas_reader_open_any(file_text("e.tsv", ""), &err) == NULL);
    CHECK(dnas_reader_open_any(file_text("s.tsv", "\x89"
                                                  "DNAS\r\n\x1a"
                                                  "short"),
                               &err) == NULL);
    CHECK(strstr(err.msg, "is truncated within its header"));
}

int main(void)
{
    RUN(test_rows);
    RUN(test_numbers_that_are_none);
    RUN(test_growing_text);
    RUN(test_floats_come_back);
    RUN(test_names_say_types);
    RUN(test_cells);
    RUN(test_open_any);
    return check_done();
}
