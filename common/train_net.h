/* SPDX-License-Identifier: MIT
 *
 * train_net.h - a network trained on pairs of token sequences, from the first
 * step to the model file.
 *
 * Zhou et al. 2024 (DNABERT-S): Weighted SimCLR, MI-Mix and a curriculum of
 * them; i-Mix, supervised contrastive and masked tokens beside these.
 */
#ifndef DNAS_TRAIN_NET_H
#define DNAS_TRAIN_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net.h"
#include "common/comm.h"
#include "common/err.h"
#include "common/gpu.h"
#include "common/net_ranks.h"
#include "common/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dnas_objective {
    DNAS_WSIMCLR,
    DNAS_MIMIX,
    DNAS_IMIX,
    DNAS_SUPCON,
    DNAS_MLM,
};
const char *dnas_objective_name(enum dnas_objective o); /* "wsimclr" */

#define DNAS_TRAIN_PHASES 16

struct dnas_phase {
    enum dnas_objective objective;
    uint32_t epochs;
};

struct dnas_train_net {
    /* Where from. */
    const struct dnas_backbone *backbone; /* NULL: that of init */
    const char *init;        /* a model to go on from; NULL: `shape`, drawn by the seed */
    const char *tokenizer;   /* for dnas_tokenizer_open; NULL: init's */
    struct dnas_shape shape; /* V is the tokenizer's */
    const char *input;       /* PAIRS of tokens; NULL, "-": standard input */

    /* What is learnt. */
    struct dnas_phase phases[DNAS_TRAIN_PHASES];
    size_t n_phases;
    size_t batch;      /* pairs a step */
    size_t max_tokens; /* of a sequence; longer ones are cut */
    size_t mix_group;  /* pairs among which rows are mixed; 0: a rank's share of the batch */
    int bf16;          /* the encoder's products in bf16: 1, 0, or -1, where a GPU trains */
    size_t projection; /* outputs of the head */
    size_t n_frozen;   /* as in train_step.h */
    double temperature, dropout, mix_alpha, mask_rate;
    bool ignore_labels; /* rows of one species are negatives, too */
    bool compat;        /* as the original code: ignore_labels, row 0 of the words stays */
    struct dnas_optim_options optim; /* total_steps is filled in */
    double head_rate;                /* a multiple of the rate */
    uint64_t max_steps;              /* 0: all */
    uint64_t seed;

    /* What is kept. */
    const char *output;        /* the model file */
    const char *hf_folder;     /* NULL: none */
    const char *log;           /* a TSV; NULL: none */
    uint64_t checkpoint_steps; /* 0: none by steps */
    double checkpoint_s;       /* and after so many seconds; 0: none by time */
    uint64_t validate_steps;   /* 0: after each epoch */
    bool resume;
    /* The program line as JSON text, to be freed, of a run on "cpu" or "cuda"; it may give NULL:
     * none is kept.  NULL: the same. */
    char *(*pg)(const void *ctx, const char *device);
    const void *pg_ctx;
    struct dnas_device device; /* where the encoder runs */
    int n_threads;
    struct dnas_comm *comm; /* ranks that share each batch; NULL: one */
    enum dnas_exchange exchange;
};

/* The paper's settings; what has no default is 0 or NULL. */
struct dnas_train_net dnas_train_net_defaults(void);

/* The ranks; of the pairs of a batch those that are mixed among each other. */
size_t dnas_train_n_ranks(const struct dnas_train_net *t);
size_t dnas_train_mix_group(const struct dnas_train_net *t);

/* Fills phases from "wsimclr:1,mimix:2"; a number of epochs may be left out and
 * is then 1.  -1 with a sentence. */
int dnas_train_net_curriculum(struct dnas_train_net *t, const char *text, struct dnas_err *err);

enum dnas_train_end {
    DNAS_TRAIN_DONE,
    DNAS_TRAIN_SAVED, /* stopped by SIGTERM or SIGUSR1, with a checkpoint */
    DNAS_TRAIN_FAILED,
};

/* From now on SIGTERM and SIGUSR1 are noted for dnas_train_net_run; else they are from its
 * beginning.  A program calls this first of all, so that neither ends it before. */
void dnas_train_net_listen(void);
/* They do again what they did before, and one that came does it now: for other work. */
void dnas_train_net_unlisten(void);

/* Trains, and writes
 *   output             the last model
 *   NAME.best.EXT      that of the least validation loss, where there are rows for it
 *   output.checkpoint  on the way: all that --resume needs; removed at the end
 *   output.pairs       standard input, likewise
 * A checkpoint is replaced when the next one is whole.  With resume a run goes on
 * where output.checkpoint stands (if there is one) and ends with the bytes of a
 * run that was not broken.
 * Several ranks all make this call; each opens input, a plain file, itself, and
 * rank 0 writes.  The batch must be a multiple of their number, and what is mixed
 * within a rank's share. */
enum dnas_train_end dnas_train_net_run(const struct dnas_train_net *t, struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
