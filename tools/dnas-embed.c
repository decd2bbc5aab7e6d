/* SPDX-License-Identifier: MIT
 *
 * dnas-embed - sequences to embeddings.
 *
 * In:  FASTA or FASTQ
 * Out: EMBEDDINGS
 */
#include <stdlib.h>
#include <string.h>

#include "common/embed.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/provenance.h"
#include "common/seq_opt.h"

static const char *const devices[] = {"auto", "cpu", "cuda", NULL};
static const char *const types[] = {"f32", "bf16", NULL};
static const char *const compats[] = {"none", "dnabert-s", NULL};

struct embed {
    struct dnas_common common;
    struct dnas_seq_opt seq_opt;
    struct dnas_seq_options seq_options;
    const char *model;
    int device, type, compat;
    int64_t reduce;
    bool resume;
    struct dnas_seq *seq;
    struct dnas_features *features;
    struct dnas_header header;
    struct dnas_writer *writer;
};

static json_t *describe(const struct embed *e)
{
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:I, s:b, s:s}", "model", dnas_features_name(e->features),
                  "hash", dnas_features_hash(e->features), "pooling", "frequencies", "truncate_bp",
                  (json_int_t)e->seq_options.truncate_bp, "keep_case",
                  (int)e->seq_options.keep_case, "compat", compats[e->compat]);

    if (e->reduce > 0)
        json_object_set_new(o, "reduce", json_integer(e->reduce));
    json_object_set_new(o, "precision", json_string(types[e->type]));
    json_object_set_new(o, "device", json_string("cpu"));
    return o;
}

/* A row that an earlier run finished must be the input's next record. */
static int compare_id(void *ctx, const char *id, size_t n, struct dnas_err *err)
{
    struct embed *e = ctx;
    int status = dnas_seq_next(e->seq, err);

    if (status < 0)
        return -1;
    if (status == 0)
        return dnas_err_set(err, "the input ends before row '%.*s' of the part to be resumed",
                            (int)(n < 200 ? n : 200), id);
    if (strlen(dnas_seq_id(e->seq)) != n || memcmp(dnas_seq_id(e->seq), id, n) != 0)
        return dnas_err_set(err,
                            "%s is not row '%.*s' of the part to be resumed: the input has "
                            "changed; remove the part to start anew",
                            dnas_seq_place(e->seq), (int)(n < 200 ? n : 200), id);
    return 0;
}

static int open_writer(struct embed *e, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_writer_options options = {.zstd_level = (int)e->common.zstd_level};
    struct dnas_out *out = dnas_out_open(e->common.output, e->resume, err);
    size_t dims = e->reduce ? (size_t)e->reduce : dnas_features_dims(e->features);

    if (!out)
        return -1;
    dnas_embed_header(&e->header, dims, e->type == 1, describe(e));
    e->header.shard = e->seq_options.shard;
    e->header.n_shards = e->seq_options.n_shards;
    dnas_provenance_add(&e->header, NULL, tool, &e->common, NULL);
    e->writer = e->resume ? dnas_writer_resume(out, &e->header, &options, compare_id, e, err)
                          : dnas_writer_new(out, &e->header, &options, err);
    return e->writer ? 0 : -1;
}

static int open_sequences(struct embed *e, char **paths, int n_paths, struct dnas_err *err)
{
    struct dnas_in *first = dnas_in_open(n_paths > 0 ? paths[0] : NULL, err);
    int is_stream = first ? dnas_in_is_stream(first, err) : -1;

    if (is_stream == 1)
        dnas_err_set(err,
                     "%s: is a dnas stream, and %s is counted from sequences: give FASTA or FASTQ",
                     dnas_in_name(first), dnas_features_name(e->features));
    if (is_stream != 0) {
        dnas_in_close(first);
        return -1;
    }
    e->seq = dnas_seq_open(first, paths, n_paths, &e->seq_options, err);
    return e->seq ? 0 : -1;
}

static int run(struct embed *e, const struct dnas_tool *tool, char **paths, int n_paths,
               struct dnas_err *err)
{
    uint64_t n_rows;

    if (open_sequences(e, paths, n_paths, err) != 0 || open_writer(e, tool, err) != 0)
        return -1;
    if (dnas_embed_features(e->writer, e->seq, e->features, (size_t)e->reduce, e->type == 1,
                            (int)e->common.threads, err) != 0)
        return -1;
    n_rows = dnas_writer_rows(e->writer);
    if (dnas_writer_finish(e->writer, err) != 0) {
        e->writer = NULL;
        return -1;
    }
    e->writer = NULL;
    dnas_seq_notes(e->seq);
    dnas_msg_closing(n_rows, "sequences");
    return 0;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct embed *e, struct dnas_err *err)
{
    struct dnas_features_options options = {.compat_dnaberts = e->compat == 1};

    if (!e->model)
        return dnas_usage_error("no model given: -m tnf-canonical needs no file");
    if (e->device == 2)
        return dnas_usage_error("--device cuda: this build has no CUDA; use --device cpu");
    if (e->resume && !dnas_out_uses_part(e->common.output))
        return dnas_usage_error("--resume needs -o with the name of a regular file");
    if (!dnas_features_is_spec(e->model))
        return dnas_usage_error("-m '%s' is none of tnf, tnf-canonical, tnf-k, dna2vec:FILE",
                                e->model);
    e->features = dnas_features_new(e->model, &options, err);
    if (!e->features) {
        dnas_msg_error("%s", err->msg);
        return 1;
    }
    if ((size_t)e->reduce > dnas_features_dims(e->features))
        return dnas_usage_error("--reduce %lld is more than the %zu dimensions of %s",
                                (long long)e->reduce, dnas_features_dims(e->features), e->model);
    return dnas_seq_opt_resolve(&e->seq_opt, &e->seq_options);
}

static void release(struct embed *e)
{
    dnas_seq_close(e->seq);
    dnas_features_free(e->features);
    dnas_header_release(&e->header);
    dnas_seq_opt_release(&e->seq_opt);
    free(e->common.command_line);
}

int main(int argc, char **argv)
{
    struct embed e = {.device = 0};
    const struct dnas_opt opts[] = {
        {'m', "model", "MODEL", DNAS_OPT_TEXT, &e.model, 0, 0, NULL,
         "tnf, tnf-canonical, tnf-k or dna2vec:FILE.npy"},
        {'d', "device", "DEVICE", DNAS_OPT_CHOICE, &e.device, 0, 0, devices,
         "auto, cpu or cuda; auto may fall back"},
        {0, "output-type", "TYPE", DNAS_OPT_CHOICE, &e.type, 0, 0, types,
         "write embeddings as f32 or bf16"},
        {0, "reduce", "DIMS", DNAS_OPT_INT, &e.reduce, 1, 1e6, NULL,
         "average neighbouring dimensions down to DIMS"},
        {0, "compat", "WHAT", DNAS_OPT_CHOICE, &e.compat, 0, 0, compats,
         "none, or dnabert-s: tnf-k with the letter order of the paper's code"},
        DNAS_SEQ_OPTIONS(e.seq_opt),
        {0, "resume", NULL, DNAS_OPT_FLAG, &e.resume, 0, 0, NULL,
         "go on with the FILE.part that a broken run left (needs -o)"},
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-embed",
        .summary = "turn DNA sequences into embeddings",
        .operands = "[FILE...]",
        .max_operands = -1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-embed -m tnf-canonical contigs.fa.gz | dnas-kmeans -k 20 > clusters.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &e.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&e, &err);
    if (status < 0) {
        status = run(&e, &tool, paths, n_paths, &err) == 0 ? 0 : 1;
        if (status != 0)
            dnas_msg_error("%s", err.msg);
        if (e.writer && dnas_out_uses_part(e.common.output) && dnas_writer_rows(e.writer) > 0)
            dnas_msg_note("finished rows are kept in %s.part: --resume goes on with them",
                          e.common.output);
        dnas_writer_abandon(e.writer, e.writer && dnas_writer_rows(e.writer) > 0);
    }
    release(&e);
    return dnas_finish(status);
}
