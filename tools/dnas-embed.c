/* SPDX-License-Identifier: MIT
 *
 * dnas-embed - sequences to embeddings.
 *
 * In:  FASTA or FASTQ; for a network TOKENS, too
 * Out: EMBEDDINGS
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/embed.h"
#include "common/backbone.h"
#include "common/embed_network.h"
#include "common/kmer_adapt.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/provenance.h"
#include "common/seq_opt.h"
#include "common/tokenize.h"
#include "common/tokens.h"
#include "common/train_vae.h"
#include "common/xmem.h"

static const char *const precisions[] = {"f32", "bf16", NULL};
static const char *const types[] = {"f32", "bf16", NULL};
static const char *const compats[] = {"none", "dnabert-s", NULL};

static const struct dnas_train_vae vae_defaults = DNAS_TRAIN_VAE_DEFAULTS;

struct embed {
    struct dnas_common common;
    struct dnas_seq_opt seq_opt;
    struct dnas_seq_options seq_options;
    const char *model, *device_text;
    struct dnas_device device;
    int precision, type, compat, adapt; /* precision -1: what is usual on the device */
    int64_t reduce, window_bp, max_tokens, batch_tokens, seed;
    bool resume, is_vae, logits, finishing_failed;
    struct dnas_seq *seq;           /* the input: either this */
    struct dnas_reader *reader;     /* or that, */
    struct dnas_tokens *tokens;     /* row by row */
    struct dnas_features *features; /* the model: either this */
    struct dnas_kmer_model *kmer;   /* or that */
    struct dnas_network *network;   /* or that, */
    struct dnas_packed *packed;     /* on the GPU, or NULL */
    struct dnas_gpu gpu;
    struct dnas_header header;
    struct dnas_writer *writer;
};

/* What embeds by counting k-mers; not for a network. */
static struct dnas_embed_counts counting(const struct embed *e)
{
    return e->kmer ? dnas_embed_by_kmers(e->kmer) : dnas_embed_by_features(e->features);
}

static size_t all_dims(const struct embed *e)
{
    if (e->is_vae)
        return vae_defaults.latent;
    return e->network ? dnas_network_dims(e->network) : counting(e).C;
}

static const char *model_name(const struct embed *e)
{
    if (e->network)
        return e->network->backbone->name;
    return e->kmer ? "kmer" : e->is_vae ? "vae" : dnas_features_name(e->features);
}

static const char *device_name(const struct embed *e)
{
    return e->packed ? "cuda" : "cpu";
}

static enum dnas_precision precision(const struct embed *e)
{
    if (e->precision >= 0)
        return (enum dnas_precision)e->precision;
    return e->packed ? DNAS_PRECISION_BF16 : DNAS_PRECISION_F32;
}

static json_t *describe_counts(const struct embed *e)
{
    const char *hash = e->kmer ? dnas_kmer_model_hash(e->kmer) : dnas_features_hash(e->features);

    return json_pack("{s:s, s:s, s:s, s:I, s:b}", "model", model_name(e), "hash", hash, "pooling",
                     "frequencies", "truncate_bp", (json_int_t)e->seq_options.truncate_bp,
                     "keep_case", (int)e->seq_options.keep_case);
}

/* The same whether tokens were made here or before. */
static json_t *describe_network(const struct embed *e)
{
    json_t *o = json_pack("{s:s, s:s, s:s}", "model", e->network->backbone->name, "hash",
                          e->network->hash, "pooling", "mean");
    json_t *tokens = e->reader ? json_incref(dnas_reader_header(e->reader)->tokens) : NULL;

    if (!e->reader) {
        struct dnas_tokenize t = {.tokenizer = e->network->tokenizer,
                                  .max_tokens = (size_t)e->max_tokens,
                                  .window_bp = (size_t)e->window_bp};

        tokens = dnas_tokenize_describe(&t, e->seq_options.truncate_bp, e->seq_options.keep_case);
    }
    if (tokens)
        json_object_update(o, tokens);
    json_decref(tokens);
    return o;
}

static json_t *describe(const struct embed *e)
{
    json_t *o = e->network ? describe_network(e) : describe_counts(e);

    json_object_set_new(o, "compat", json_string(compats[e->compat]));
    if (e->adapt)
        json_object_set_new(o, "adapt", json_string(dnas_kmer_adapts[e->adapt]));
    if (e->logits)
        json_object_set_new(o, "output", json_string("logits"));
    if (e->reduce > 0)
        json_object_set_new(o, "reduce", json_integer(e->reduce));
    json_object_set_new(o, "precision", json_string(precisions[precision(e)]));
    json_object_set_new(o, "device", json_string(device_name(e)));
    return o;
}

/* A row that an earlier run finished must be the input's next record. */
static int compare_id(void *ctx, const char *id, size_t n, struct dnas_err *err)
{
    struct embed *e = ctx;
    int status = e->seq ? dnas_seq_next(e->seq, err) : dnas_tokens_skip(e->tokens, err);
    const char *here = e->seq ? dnas_seq_id(e->seq) : dnas_tokens_id(e->tokens);

    if (status < 0)
        return -1;
    if (status == 0)
        return dnas_err_set(err, "the input ends before row '%.*s' of the part to be resumed",
                            (int)(n < 200 ? n : 200), id);
    if (strlen(here) != n || memcmp(here, id, n) != 0)
        return dnas_err_set(err,
                            "%s is not row '%.*s' of the part to be resumed: the input has "
                            "changed; remove the part to start anew",
                            e->seq ? dnas_seq_place(e->seq) : dnas_tokens_place(e->tokens),
                            (int)(n < 200 ? n : 200), id);
    return 0;
}

static int open_writer(struct embed *e, const struct dnas_tool *tool, struct dnas_err *err)
{
    struct dnas_writer_options options = {.zstd_level = (int)e->common.zstd_level,
                                          .keep_part = true};
    struct dnas_out *out = dnas_out_open(e->common.output, e->resume, err);
    const struct dnas_header *before = e->reader ? dnas_reader_header(e->reader) : NULL;

    if (!out)
        return -1;
    dnas_embed_header(&e->header, e->reduce ? (size_t)e->reduce : all_dims(e), e->type == 1,
                      describe(e));
    if (before)
        dnas_embed_network_header(&e->header, before);
    e->header.shard = e->seq_options.shard;
    e->header.n_shards = e->seq_options.n_shards;
    if (before && !e->seq_options.n_shards && !dnas_tokens_is_joined(e->tokens)) {
        e->header.shard = before->shard;
        e->header.n_shards = before->n_shards;
    }
    e->common.device = device_name(e);
    dnas_provenance_add(&e->header, before ? before->pg : NULL, tool, &e->common,
                        e->is_vae ? &e->seed : NULL);
    e->writer = e->resume ? dnas_writer_resume(out, &e->header, &options, compare_id, e, err)
                          : dnas_writer_new(out, &e->header, &options, err);
    return e->writer ? 0 : -1;
}

/* A stream of tokens: read alone, and made by the model's tokenizer. */
static int open_tokens(struct embed *e, struct dnas_in *in, char **paths, int n_paths,
                       struct dnas_err *err)
{
    const struct dnas_tokenizer *tokenizer = e->network->tokenizer;
    const struct dnas_tokens_options options = {.path = n_paths > 0 ? paths[0] : NULL,
                                                .shard = e->seq_options.shard,
                                                .n_shards = e->seq_options.n_shards,
                                                .allow_duplicate_ids =
                                                    e->seq_options.allow_duplicate_ids};
    const char *hash;

    if (n_paths > 1 || e->seq_opt.labels || e->seq_opt.truncate_bp || e->seq_opt.keep_case ||
        e->window_bp >= 0 || e->max_tokens > 0) {
        dnas_err_set(err,
                     "%s: is a stream of tokens; it is read alone, without the options about "
                     "letters, windows and labels",
                     dnas_in_name(in));
        dnas_in_close(in);
        return -1;
    }
    e->reader = dnas_reader_on(in, err);
    if (e->reader)
        e->tokens = dnas_tokens_new(e->reader, &options, err);
    if (!e->tokens)
        return -1;
    hash = json_string_value(json_object_get(dnas_reader_header(e->reader)->tokens, "tokenizer"));
    if (hash && tokenizer && strcmp(hash, dnas_tokenizer_hash(tokenizer)) != 0)
        return dnas_err_set(err, "%s: was made by another tokenizer than that of %s",
                            dnas_reader_name(e->reader), e->model);
    if (!hash || !tokenizer)
        dnas_msg_note("the %s does not say which tokenizer it needs or had; taken as it is",
                      hash ? "model" : "stream");
    return 0;
}

static int64_t usual_window(const struct embed *e)
{
    return e->network && e->network->backbone->window_bp
               ? (int64_t)e->network->backbone->window_bp(e->network)
               : DNAS_WINDOW_BP;
}

static int open_sequences(struct embed *e, struct dnas_in *in, char **paths, int n_paths,
                          struct dnas_err *err)
{
    if (e->network && !e->network->tokenizer) {
        dnas_in_close(in);
        return dnas_err_set(err,
                            "%s: has no tokenizer.json, so it takes only streams of tokens "
                            "(see dnas-tokenize)",
                            e->model);
    }
    if (e->window_bp < 0)
        e->window_bp = e->seq_options.truncate_bp ? 0 : usual_window(e);
    e->seq = dnas_seq_open(in, paths, n_paths, &e->seq_options, err);
    if (e->seq && dnas_seq_is_csv(e->seq))
        return dnas_err_set(err, "%s: holds pairs of sequences, not sequences", paths[0]);
    return e->seq ? 0 : -1;
}

static int open_input(struct embed *e, char **paths, int n_paths, struct dnas_err *err)
{
    struct dnas_in *in = dnas_in_open(n_paths > 0 ? paths[0] : NULL, err);
    int is_stream = in ? dnas_in_is_stream(in, err) : -1;

    if (is_stream == 1 && e->network)
        return open_tokens(e, in, paths, n_paths, err);
    if (is_stream == 0)
        return open_sequences(e, in, paths, n_paths, err);
    if (is_stream == 1)
        dnas_err_set(err,
                     "%s: is a dnas stream, and %s is counted from sequences: give FASTA or FASTQ",
                     dnas_in_name(in), model_name(e));
    dnas_in_close(in);
    return -1;
}

static int embed_all(struct embed *e, struct dnas_err *err)
{
    int n_threads = (int)e->common.threads;
    struct dnas_embed_network b = {.network = e->network,
                                   .dims = (size_t)e->reduce,
                                   .bf16 = e->type == 1,
                                   .n_threads = n_threads,
                                   .packed = e->packed,
                                   .batch_tokens = (size_t)e->batch_tokens,
                                   .max_tokens = (size_t)e->max_tokens};

    if (!e->network) {
        struct dnas_embed_counts by = counting(e);

        return dnas_embed_counted(e->writer, e->seq, &by, (size_t)e->reduce, e->type == 1,
                                  n_threads, err);
    }
    b.window_bp = e->reader ? 0 : (size_t)e->window_bp;
    if ((e->reader ? dnas_embed_network_tokens(&b, e->writer, e->tokens, e->reader, err)
                   : dnas_embed_network_sequences(&b, e->writer, e->seq, err)) != 0)
        return -1;
    dnas_progress_end();
    dnas_msg_verbose("%llu tokens", (unsigned long long)b.n_tokens);
    return 0;
}

/* --adapt: the model becomes one of this input. */
static int adapt(struct embed *e, char **paths, int n_paths, struct dnas_err *err)
{
    struct dnas_kmer_model *m;

    if (!e->adapt)
        return 0;
    m = dnas_kmer_adapt(e->kmer, (enum dnas_kmer_adapt_how)e->adapt, paths, n_paths,
                        &e->seq_options, (int)e->common.threads, err);
    if (!m)
        return -1;
    dnas_kmer_model_free(e->kmer);
    e->kmer = m;
    return 0;
}

/* -m vae: a model of this input. */
static int learn(struct embed *e, char **paths, int n_paths, struct dnas_err *err)
{
    struct dnas_train_vae t = vae_defaults;
    struct dnas_train_vae_report report;

    if (!e->is_vae)
        return 0;
    t.seed = (uint64_t)e->seed;
    t.n_threads = (int)e->common.threads;
    if (dnas_in_can_reopen(paths, n_paths, "-m vae", err) == 0)
        e->kmer = dnas_train_vae_run(&t, paths, n_paths, &e->seq_options, &report, err);
    return e->kmer ? 0 : -1;
}

static int run(struct embed *e, const struct dnas_tool *tool, char **paths, int n_paths,
               struct dnas_err *err)
{
    struct dnas_writer *w;
    uint64_t n_rows;

    if (learn(e, paths, n_paths, err) != 0 || adapt(e, paths, n_paths, err) != 0 ||
        open_input(e, paths, n_paths, err) != 0 || open_writer(e, tool, err) != 0 ||
        embed_all(e, err) != 0)
        return -1;
    w = e->writer;
    e->writer = NULL; /* finishing frees it, whatever comes */
    n_rows = dnas_writer_rows(w);
    if (dnas_writer_finish(w, err) != 0) {
        e->finishing_failed = true;
        return -1;
    }
    if (e->seq)
        dnas_seq_notes(e->seq);
    if (e->tokens && e->header.n_shards && !e->seq_options.n_shards &&
        dnas_tokens_is_joined(e->tokens))
        dnas_msg_note("the input joins %" PRIu32 " shards, which a pipe does not tell beforehand: "
                      "the header calls the whole shard 1; name the FILE instead",
                      e->header.n_shards);
    dnas_msg_closing(n_rows, "sequences");
    return 0;
}

#define NO_BF16 "--precision bf16: this processor has no products of bf16; use --precision f32"

/* Whether a GPU is to be looked for. */
static bool may_use_gpu(const struct embed *e)
{
    return e->device.kind == DNAS_DEVICE_CUDA ||
           (e->device.kind == DNAS_DEVICE_AUTO && dnas_gpu_is_expected());
}

static struct dnas_network *open_in(const struct embed *e, enum dnas_precision in,
                                    struct dnas_err *err)
{
    struct dnas_network *n;

    if (in == DNAS_PRECISION_BF16 && !dnas_has_bf16()) {
        dnas_err_set(err, NO_BF16);
        return NULL;
    }
    n = dnas_network_open(e->model, in, err);
    if (!n || !e->logits || dnas_network_set_output(n, DNAS_OUTPUT_LOGITS, err) == 0)
        return n;
    dnas_err_at(err, "%s: --logits: ", e->model);
    dnas_network_close(n);
    return NULL;
}

/* Puts the network on the GPU: 0, or -1 with a sentence. */
static int open_packed(struct embed *e, struct dnas_err *err)
{
    enum dnas_cuda_type type = e->precision == 0 ? DNAS_CUDA_F32 : DNAS_CUDA_BF16;

    if (dnas_packed_check(e->network, type, err) != 0 ||
        dnas_gpu_open(&e->gpu, e->device.number, err) != 0)
        return -1;
    e->packed = dnas_packed_new(e->network, &e->gpu, type, err);
    if (e->packed)
        return 0;
    dnas_gpu_close(&e->gpu);
    return -1;
}

/* Opens the network, on the device that it runs on.  0, or -1 with a sentence. */
static int open_network(struct embed *e, struct dnas_err *err)
{
    bool is_asked = e->device.kind == DNAS_DEVICE_CUDA;
    bool may = may_use_gpu(e);
    struct dnas_err why = {"CUDA: not in this build"};

    e->network = open_in(e, may ? DNAS_PRECISION_F32 : precision(e), err);
    if (!e->network)
        return -1;
    if (may && open_packed(e, &why) == 0) {
        dnas_msg_verbose("running on GPU number %d, %s", e->gpu.number, e->gpu.info.name);
        return 0;
    }
    if (is_asked)
        return dnas_err_set(err, "--device cuda: %s", why.msg);
    if (e->device.kind == DNAS_DEVICE_AUTO)
        (may && e->network->backbone->packed ? dnas_msg_note
                                             : dnas_msg_verbose)("running on the CPU: %s", why.msg);
    if (e->network->precision == precision(e))
        return 0;
    dnas_network_close(e->network);
    e->network = open_in(e, precision(e), err);
    return e->network ? 0 : -1;
}

/* After a failure: whether --resume has something to go on with. */
static bool keeps_rows(const struct embed *e)
{
    char *part;
    bool is_there;

    if (!dnas_out_uses_part(e->common.output))
        return false;
    if (!e->finishing_failed)
        return e->writer && dnas_writer_blocks(e->writer) > 0;
    part = dnas_xasprintf("%s.part", e->common.output);
    is_there = access(part, F_OK) == 0;
    free(part);
    return is_there;
}

/* Opens the model.  -1 to go on, or the exit status. */
static int open_model(struct embed *e, struct dnas_err *err)
{
    struct dnas_features_options options = {.compat_dnaberts = e->compat == 1};
    bool opened = true;

    if (!e->model || strcmp(e->model, "kmer") == 0)
        e->kmer = dnas_kmer_model_default(err);
    else if (strcmp(e->model, "vae") == 0)
        e->is_vae = true;
    else if (dnas_features_is_spec(e->model))
        e->features = dnas_features_new(e->model, &options, err);
    else if (access(e->model, F_OK) == 0 && dnas_kmer_model_is(e->model))
        e->kmer = dnas_kmer_model_open(e->model, err);
    else if (access(e->model, F_OK) == 0)
        opened = open_network(e, err) == 0;
    else
        return dnas_usage_error("-m '%s' is neither a file nor one of kmer, tnf, tnf-canonical, "
                                "tnf-k, dna2vec:FILE, vae",
                                e->model);
    if (opened && (e->features || e->kmer || e->network || e->is_vae))
        return -1;
    dnas_msg_error("%s", err->msg);
    return 1;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct embed *e, struct dnas_err *err)
{
    int status;

    if (dnas_device_parse(&e->device, e->device_text, err) != 0)
        return dnas_usage_error("%s", err->msg);
    if (e->resume && !dnas_out_uses_part(e->common.output))
        return dnas_usage_error("--resume needs -o with the name of a regular file");
    if (e->seq_opt.truncate_bp && e->window_bp > 0)
        return dnas_usage_error("--truncate and --window exclude each other");
    if (e->precision == 1 && !may_use_gpu(e) && !dnas_has_bf16())
        return dnas_usage_error(NO_BF16);
    status = open_model(e, err);
    if (status >= 0)
        return status;
    if (!e->network && e->device.kind == DNAS_DEVICE_CUDA)
        return dnas_usage_error("--device cuda is for networks; %s is counted on the CPU",
                                model_name(e));
    if (!e->network && e->device.kind == DNAS_DEVICE_AUTO &&
        dnas_msg_get_level() == DNAS_MSG_VERBOSE && dnas_gpu_is_expected())
        dnas_msg_verbose("running on the CPU: %s is counted there", model_name(e));
    if (!e->network && e->logits)
        return dnas_usage_error("--logits is for networks; %s has none", model_name(e));
    if (!e->network && e->precision == 1)
        return dnas_usage_error("--precision is for networks; %s counts whole numbers",
                                model_name(e));
    if (!e->network && (e->window_bp >= 0 || e->max_tokens > 0))
        return dnas_usage_error("--window and --max-tokens are for networks; %s counts whole "
                                "sequences",
                                model_name(e));
    if (e->adapt && !e->kmer)
        return dnas_usage_error("--adapt is for k-mer models; %s is as it is", model_name(e));
    if (e->network && e->max_tokens > 0 && e->network->tokenizer &&
        (size_t)e->max_tokens < dnas_tokenizer_n_specials(e->network->tokenizer))
        return dnas_usage_error("--max-tokens %lld leaves no room for the special tokens",
                                (long long)e->max_tokens);
    if ((size_t)e->reduce > all_dims(e))
        return dnas_usage_error("--reduce %lld is more than the %zu dimensions of %s",
                                (long long)e->reduce, all_dims(e), e->model ? e->model : "kmer");
    return dnas_seq_opt_resolve(&e->seq_opt, &e->seq_options);
}

static void release(struct embed *e)
{
    dnas_seq_close(e->seq);
    dnas_tokens_free(e->tokens);
    dnas_reader_close(e->reader);
    dnas_packed_free(e->packed);
    dnas_gpu_close(&e->gpu);
    dnas_network_close(e->network);
    dnas_kmer_model_free(e->kmer);
    dnas_features_free(e->features);
    dnas_header_release(&e->header);
    dnas_seq_opt_release(&e->seq_opt);
    free(e->common.command_line);
}

int main(int argc, char **argv)
{
    struct embed e = {.device_text = "auto", .precision = -1, .window_bp = -1, .seed = 1};
    const struct dnas_opt opts[] = {
        {'m', "model", "MODEL", DNAS_OPT_TEXT, &e.model, 0, 0, NULL,
         "kmer, tnf, tnf-canonical, tnf-k, dna2vec:FILE, vae, or a model's file or folder "
         "[kmer]"},
        {'d', "device", "DEVICE", DNAS_OPT_TEXT, &e.device_text, 0, 0, dnas_devices,
         "networks: auto, cpu, cuda or cuda:N, the N-th GPU; auto may fall back"},
        {0, "batch-tokens", "N", DNAS_OPT_INT, &e.batch_tokens, 1, 1e9, NULL,
         "networks on a GPU: N tokens at a time [what its memory holds, at most 65536]"},
        {0, "logits", NULL, DNAS_OPT_FLAG, &e.logits, 0, 0, NULL,
         "of a network the mean logits of its head for masked tokens, not hidden states"},
        {0, "precision", "TYPE", DNAS_OPT_CHOICE, &e.precision, 0, 0, precisions,
         "networks: multiply in f32 or, where the processor can, in bf16 [f32; bf16 on a GPU]"},
        {0, "output-type", "TYPE", DNAS_OPT_CHOICE, &e.type, 0, 0, types,
         "write embeddings as f32 or bf16"},
        {0, "reduce", "DIMS", DNAS_OPT_INT, &e.reduce, 1, 1e6, NULL,
         "average neighbouring dimensions down to DIMS"},
        {0, "compat", "WHAT", DNAS_OPT_CHOICE, &e.compat, 0, 0, compats,
         "none, or dnabert-s: tnf-k with the letter order of the paper's code"},
        {'s', "seed", "N", DNAS_OPT_INT, &e.seed, 0, 9007199254740991.0, NULL,
         "vae: draws with this seed"},
        {0, "adapt", "HOW", DNAS_OPT_CHOICE, &e.adapt, 0, 0, dnas_kmer_adapts,
         "k-mer models: none, or fit to halves of the input: own (alone) or shrunk"},
        {0, "window", "BP", DNAS_OPT_INT, &e.window_bp, 0, 1e9, NULL,
         "networks: embed windows of BP letters [10000; 0: none; none with --truncate]"},
        {0, "max-tokens", "N", DNAS_OPT_INT, &e.max_tokens, 1, 1e9, NULL,
         "networks: cut windows to N tokens, the special ones included"},
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
        .example = "dnas-embed contigs.fa.gz | dnas-kmeans -k 20 > clusters.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &e.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&e, &err);
    if (status < 0) {
        status = dnas_status(run(&e, &tool, paths, n_paths, &err), &err);
        if (keeps_rows(&e))
            dnas_msg_note("finished rows are kept in %s.part: --resume goes on with them",
                          e.common.output);
        dnas_writer_abandon(e.writer, e.writer && dnas_writer_blocks(e.writer) > 0);
    }
    release(&e);
    return dnas_finish(status);
}
