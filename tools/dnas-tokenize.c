/* SPDX-License-Identifier: MIT
 *
 * dnas-tokenize - sequences to the tokens of a network.
 *
 * In:  FASTA or FASTQ; CSV of pairs; PAIRS
 * Out: TOKENS; PAIRS of tokens; with --train a tokenizer.json
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bpe_train.h"
#include "common/msg.h"
#include "common/opt.h"
#include "common/provenance.h"
#include "common/seq_opt.h"
#include "common/tokenize.h"
#include "common/xmem.h"

#define TRAIN_PIECE 65536

struct tokenize {
    struct dnas_common common;
    struct dnas_seq_opt seq_opt;
    struct dnas_seq_options seq_options;
    const char *tokenizer;
    int64_t max_tokens, window_bp, train;
    struct dnas_tokenizer *vocabulary;
    struct dnas_tokenize t;
};

static struct dnas_writer *open_writer(struct tokenize *k, struct dnas_header *h,
                                       const json_t *before, const struct dnas_tool *tool,
                                       struct dnas_err *err)
{
    struct dnas_writer_options options = {.zstd_level = (int)k->common.zstd_level};
    struct dnas_out *out = dnas_out_open(k->common.output, false, err);

    if (!out)
        return NULL;
    dnas_provenance_add(h, before, tool, &k->common, NULL);
    return dnas_writer_new(out, h, &options, err);
}

/* Ends the output, or drops it after a failure. */
static int close_writer(const struct tokenize *k, struct dnas_writer *w, int status,
                        const char *units, struct dnas_err *err)
{
    uint64_t n_rows = w ? dnas_writer_rows(w) : 0;

    if (!w || status != 0) {
        dnas_writer_abandon(w, false);
        return -1;
    }
    if (dnas_writer_finish(w, err) != 0)
        return -1;
    if (k->t.n_unknown > 0)
        dnas_msg_note(
            "%" PRIu64 " unknown letters became %s", k->t.n_unknown,
            dnas_tokenizer_token(k->vocabulary, (size_t)dnas_tokenizer_unk(k->vocabulary)));
    if (k->t.n_cut > 0)
        dnas_msg_note("%" PRIu64 " rows were cut to %zu tokens", k->t.n_cut, k->t.max_tokens);
    dnas_msg_verbose("%" PRIu64 " tokens", k->t.n_tokens);
    dnas_msg_closing(n_rows, units);
    return 0;
}

static int tokenize_pairs(struct tokenize *k, const struct dnas_tool *tool, struct dnas_in *in,
                          struct dnas_err *err)
{
    struct dnas_reader *r = dnas_reader_on(in, err);
    struct dnas_header h = {.kind = DNAS_PAIRS};
    struct dnas_writer *w = NULL;
    int status = -1;

    if (!r)
        return -1;
    k->t.window_bp = 0;
    if (dnas_reader_expect(r, DNAS_PAIRS, err) == 0 &&
        dnas_tokenize_pairs_header(
            &h, r,
            dnas_tokenize_describe(&k->t, k->seq_options.truncate_bp, k->seq_options.keep_case),
            err) == 0)
        w = open_writer(k, &h, dnas_reader_header(r)->pg, tool, err);
    if (w)
        status = dnas_tokenize_pairs(&k->t, w, r, k->seq_options.truncate_bp, err);
    status = close_writer(k, w, status, "pairs", err);
    dnas_header_release(&h);
    dnas_reader_close(r);
    return status;
}

static int tokenize_sequences(struct tokenize *k, const struct dnas_tool *tool, struct dnas_seq *s,
                              struct dnas_err *err)
{
    bool is_csv = dnas_seq_is_csv(s);
    struct dnas_header h;
    struct dnas_writer *w;
    json_t *tokens;
    int status = -1;

    if (is_csv)
        k->t.window_bp = 0;
    tokens = dnas_tokenize_describe(&k->t, k->seq_options.truncate_bp, k->seq_options.keep_case);
    if (is_csv)
        dnas_tokenize_csv_header(&h, tokens);
    else
        dnas_tokenize_header(&h, tokens);
    h.shard = k->seq_options.shard;
    h.n_shards = k->seq_options.n_shards;
    w = open_writer(k, &h, NULL, tool, err);
    if (w)
        status = is_csv ? dnas_tokenize_csv(&k->t, w, s, err) : dnas_tokenize_run(&k->t, w, s, err);
    status = close_writer(k, w, status, is_csv ? "pairs" : "rows", err);
    dnas_header_release(&h);
    if (status == 0)
        dnas_seq_notes(s);
    return status;
}

static int add_records(struct dnas_bpe_trainer *tr, struct dnas_seq *s, struct dnas_err *err)
{
    char *letters = dnas_xalloc(TRAIN_PIECE, 1);
    ptrdiff_t got = 0;
    int status = 0;

    while (got >= 0 && (status = dnas_seq_next(s, err)) == 1) {
        uint64_t done, total;

        while ((got = dnas_seq_read(s, letters, TRAIN_PIECE, err)) > 0)
            dnas_bpe_trainer_add(tr, letters, (size_t)got);
        dnas_bpe_trainer_end_sequence(tr);
        dnas_seq_progress(s, &done, &total);
        dnas_progress("reading", "sequences", dnas_seq_n_records(s), done, total);
    }
    free(letters);
    return got < 0 || status < 0 ? -1 : 0;
}

static int train(struct tokenize *k, struct dnas_seq *s, struct dnas_err *err)
{
    struct dnas_bpe_trainer *tr = dnas_bpe_trainer_new((size_t)k->train, DNAS_BPE_TRAIN_TOKEN_LEN);
    struct dnas_out *out = dnas_out_open(k->common.output, false, err);
    char *json = NULL;
    size_t n_vocab = 0;
    int status = -1;

    if (out && add_records(tr, s, err) == 0)
        json = dnas_bpe_trainer_run(tr, &n_vocab, (int)k->common.threads, err);
    if (json && dnas_out_write(out, json, strlen(json), err) == 0) {
        status = dnas_out_commit(out, err);
        out = NULL;
    }
    dnas_out_abandon(out, false);
    if (status == 0 && (int64_t)n_vocab < k->train)
        dnas_msg_warn("only %zu tokens: no pair of tokens is left to merge", n_vocab);
    if (status == 0)
        dnas_msg_closing(dnas_seq_n_records(s), "sequences");
    free(json);
    dnas_bpe_trainer_free(tr);
    return status;
}

static int run(struct tokenize *k, const struct dnas_tool *tool, char **paths, int n_paths,
               struct dnas_err *err)
{
    struct dnas_in *first = dnas_in_open(n_paths > 0 ? paths[0] : NULL, err);
    int is_stream = first ? dnas_in_is_stream(first, err) : -1;
    struct dnas_seq *s;
    int status;

    if (is_stream < 0) {
        dnas_in_close(first);
        return -1;
    }
    if (is_stream && (n_paths > 1 || k->train || k->seq_options.n_shards || k->seq_opt.labels)) {
        dnas_err_set(err,
                     "%s: is a dnas stream; it is read alone, without --train, --shard and "
                     "--labels",
                     dnas_in_name(first));
        dnas_in_close(first);
        return -1;
    }
    if (is_stream)
        return tokenize_pairs(k, tool, first, err);
    s = dnas_seq_open(first, paths, n_paths, &k->seq_options, err);
    if (!s)
        return -1;
    status = k->train ? train(k, s, err) : tokenize_sequences(k, tool, s, err);
    dnas_seq_close(s);
    return status;
}

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct tokenize *k, struct dnas_err *err)
{
    int status;

    if (!k->tokenizer == !k->train)
        return dnas_usage_error("give either -T with a tokenizer or --train with a size");
    if (k->train &&
        (k->max_tokens || k->window_bp >= 0 || k->common.zstd_level || k->seq_opt.labels))
        return dnas_usage_error("--train takes whole sequences and writes JSON: no --max-tokens, "
                                "--window, --labels or --zstd");
    if (k->seq_opt.truncate_bp && k->window_bp > 0)
        return dnas_usage_error("--truncate and --window exclude each other");
    status = dnas_seq_opt_resolve(&k->seq_opt, &k->seq_options);
    if (status >= 0 || k->train)
        return status;
    k->vocabulary = dnas_tokenizer_open(k->tokenizer, err);
    if (!k->vocabulary) {
        dnas_msg_error("%s", err->msg);
        return 1;
    }
    if (k->max_tokens > 0 && (size_t)k->max_tokens < dnas_tokenizer_n_specials(k->vocabulary))
        return dnas_usage_error("--max-tokens %" PRId64
                                " leaves no room for the %zu special tokens",
                                k->max_tokens, dnas_tokenizer_n_specials(k->vocabulary));
    k->t = (struct dnas_tokenize){.tokenizer = k->vocabulary,
                                  .max_tokens = (size_t)k->max_tokens,
                                  .keep_case = k->seq_options.keep_case,
                                  .n_threads = (int)k->common.threads};
    k->t.window_bp = k->window_bp >= 0            ? (size_t)k->window_bp
                     : k->seq_options.truncate_bp ? 0
                                                  : DNAS_WINDOW_BP;
    return -1;
}

int main(int argc, char **argv)
{
    struct tokenize k = {.window_bp = -1};
    const struct dnas_opt opts[] = {
        {'T', "tokenizer", "FILE", DNAS_OPT_TEXT, &k.tokenizer, 0, 0, NULL,
         "the vocabulary: tokenizer.json, vocab.txt, a model's folder, hyena or nt"},
        {0, "max-tokens", "N", DNAS_OPT_INT, &k.max_tokens, 1, 1e9, NULL,
         "cut rows to N tokens, the special ones included"},
        {0, "window", "BP", DNAS_OPT_INT, &k.window_bp, 0, 1e9, NULL,
         "cut sequences into rows of BP letters [10000; 0: none; none with --truncate]"},
        {0, "train", "V", DNAS_OPT_INT, &k.train, DNAS_BPE_TRAIN_VOCAB_MIN,
         DNAS_BPE_TRAIN_VOCAB_MAX, NULL, "make a vocabulary of V tokens from the sequences"},
        DNAS_SEQ_OPTIONS(k.seq_opt),
        {0},
    };
    const struct dnas_tool tool = {
        .name = "dnas-tokenize",
        .summary = "turn DNA sequences into tokens",
        .operands = "[FILE...]",
        .max_operands = -1,
        .writes_stream = true,
        .opts = opts,
        .example = "dnas-tokenize -T tokenizer.json --max-tokens 2000 reads.fa.gz > tokens.dnas",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_start(argv);
    status = dnas_opt_parse(&tool, &k.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&k, &err);
    if (status < 0)
        status = dnas_status(run(&k, &tool, paths, n_paths, &err), &err);
    dnas_tokenizer_free(k.vocabulary);
    dnas_seq_opt_release(&k.seq_opt);
    free(k.common.command_line);
    return dnas_finish(status);
}
