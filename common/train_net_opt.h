/* SPDX-License-Identifier: MIT
 *
 * train_net_opt.h - the command line of a network's training.
 *
 *     struct dnas_train_net_cli cli = DNAS_TRAIN_NET_CLI;
 *     const struct dnas_opt opts[] = {DNAS_TRAIN_NET_OPTIONS(cli), {0}};
 *     ... parse ...
 *     status = dnas_train_net_resolve(&train, &cli, &err);
 */
#ifndef DNAS_TRAIN_NET_OPT_H
#define DNAS_TRAIN_NET_OPT_H

#include "common/opt.h"
#include "common/train_net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As options have them. */
struct dnas_train_net_cli {
    const char *device, *init, *tokenizer, *curriculum, *save_hf, *log;
    int64_t layers, width, heads, inner;
    int64_t batch, max_tokens, mix_group, projection, freeze, warmup, max_steps;
    int64_t checkpoint_steps, validate_steps;
    double rate, head_rate, decay, clip, final_share, checkpoint_minutes;
    double temperature, dropout, mix_alpha, mask_rate;
    int optimizer, schedule, compat, exchange;
    int precision; /* -1: what is usual on the device */
    bool no_mask, resume;
};

extern const char *const dnas_optimizers[],
    *const dnas_schedules[], *const dnas_precisions[], *const dnas_train_compats[];

/* The defaults, as dnas_train_net_defaults has them; a network from scratch is small. */
#define DNAS_TRAIN_NET_CLI                                                                         \
    {                                                                                              \
        .curriculum = "wsimclr:1,mimix:2", .layers = 4, .width = 256, .heads = 4, .batch = 48,     \
        .max_tokens = 2000, .projection = 128, .rate = 3e-6, .head_rate = 100,                     \
        .checkpoint_minutes = 10, .temperature = 0.05, .dropout = 0.1, .mix_alpha = 1,             \
        .mask_rate = 0.15, .device = "auto", .precision = -1                                       \
    }

/* clang-format off */
#define DNAS_TRAIN_NET_OPTIONS(c)                                                                  \
    {'d', "device", "DEVICE", DNAS_OPT_TEXT, &(c).device, 0, 0, dnas_devices,                      \
     "bert: auto, cpu, cuda, or cuda:N"},                                                          \
    {0, "init", "MODEL", DNAS_OPT_TEXT, &(c).init, 0, 0, NULL,                                     \
     "net: go on from this model instead of random weights"},                                      \
    {'T', "tokenizer", "FILE", DNAS_OPT_TEXT, &(c).tokenizer, 0, 0, NULL,                          \
     "net: the tokenizer that made the tokens [the one of --init]"},                               \
    {0, "layers", "N", DNAS_OPT_INT, &(c).layers, 1, 1000, NULL,                                   \
     "net: layers of a network from scratch"},                                                     \
    {0, "width", "N", DNAS_OPT_INT, &(c).width, 1, 65536, NULL, "net: channels"},                  \
    {0, "heads", "N", DNAS_OPT_INT, &(c).heads, 1, 4096, NULL, "bert, esm: attention heads"},      \
    {0, "inner", "N", DNAS_OPT_INT, &(c).inner, 1, 262144, NULL,                                   \
     "net: the width of its feed-forward part [4 times --width]"},                                 \
    {0, "curriculum", "LIST", DNAS_OPT_TEXT, &(c).curriculum, 0, 0, NULL,                          \
     "net: epochs of wsimclr, mimix, imix, supcon and, not for hyena, mlm"},                       \
    {'b', "batch", "PAIRS", DNAS_OPT_INT, &(c).batch, 1, 65536, NULL, "net: pairs a step"},        \
    {0, "max-tokens", "N", DNAS_OPT_INT, &(c).max_tokens, 1, 1048576, NULL,                        \
     "net: cut sequences after N tokens"},                                                         \
    {0, "rate", "X", DNAS_OPT_REAL, &(c).rate, 0, 1e30, NULL, "net: learning rate"},               \
    {0, "head-rate", "X", DNAS_OPT_REAL, &(c).head_rate, 0, 1e6, NULL,                             \
     "net: the contrastive head's rate, as a multiple"},                                           \
    {0, "optimizer", "NAME", DNAS_OPT_CHOICE, &(c).optimizer, 0, 0, dnas_optimizers,               \
     "net: adam or adamw"},                                                                        \
    {0, "decay", "X", DNAS_OPT_REAL, &(c).decay, 0, 1, NULL, "net: weight decay"},                 \
    {0, "warmup", "STEPS", DNAS_OPT_INT, &(c).warmup, 0, 4e9, NULL,                                \
     "net: let the rate rise over so many steps"},                                                 \
    {0, "schedule", "NAME", DNAS_OPT_CHOICE, &(c).schedule, 0, 0, dnas_schedules,                  \
     "net: then constant, cosine or linear"},                                                      \
    {0, "final-rate", "SHARE", DNAS_OPT_REAL, &(c).final_share, 0, 1, NULL,                        \
     "net: where cosine and linear end, as a share of the rate"},                                  \
    {0, "clip", "NORM", DNAS_OPT_REAL, &(c).clip, 0, 1e30, NULL,                                   \
     "net: the largest norm of all gradients; 0: any"},                                            \
    {0, "dropout", "RATE", DNAS_OPT_REAL, &(c).dropout, 0, 0.9, NULL, "net: dropout"},             \
    {0, "temperature", "X", DNAS_OPT_REAL, &(c).temperature, 1e-4, 100, NULL,                      \
     "net: temperature of the contrastive losses"},                                                \
    {0, "mix-alpha", "X", DNAS_OPT_REAL, &(c).mix_alpha, 1e-3, 1e3, NULL,                          \
     "net: mixing coefficients are drawn from Beta(X, X)"},                                        \
    {0, "mix-group", "PAIRS", DNAS_OPT_INT, &(c).mix_group, 0, 65536, NULL,                        \
     "net: mix among so many pairs only; 0: all that a process has"},                              \
    {0, "mask-rate", "RATE", DNAS_OPT_REAL, &(c).mask_rate, 0.001, 0.9, NULL,                      \
     "bert, esm: the share of tokens that mlm masks"},                                             \
    {0, "projection", "N", DNAS_OPT_INT, &(c).projection, 1, 65536, NULL,                          \
     "net: outputs of the contrastive head"},                                                      \
    {0, "freeze", "N", DNAS_OPT_INT, &(c).freeze, 0, 1001, NULL,                                   \
     "net: 1: the embedding stays as it is; 1 + K: and the first K layers"},                       \
    {0, "no-mask-same-label", NULL, DNAS_OPT_FLAG, &(c).no_mask, 0, 0, NULL,                       \
     "net: take pairs of one species as negatives of each other, too"},                            \
    {0, "precision", "TYPE", DNAS_OPT_CHOICE, &(c).precision, 0, 0, dnas_precisions,               \
     "net: multiply in f32 or, where the device can, in bf16 [a GPU bf16, else f32]"},             \
    {0, "compat", "NAME", DNAS_OPT_CHOICE, &(c).compat, 0, 0, dnas_train_compats,                  \
     "net: dnabert-s does what the original code does"},                                           \
    {0, "exchange", "WAY", DNAS_OPT_CHOICE, &(c).exchange, 0, 0, dnas_exchanges,                   \
     "net: several GPUs add up gradients by nccl, from GPU to GPU, or on the host"},               \
    {0, "max-steps", "N", DNAS_OPT_INT, &(c).max_steps, 0, 4e9, NULL,                              \
     "net: end after N steps; 0: after the curriculum"},                                           \
    {0, "validate-steps", "N", DNAS_OPT_INT, &(c).validate_steps, 0, 4e9, NULL,                    \
     "net: validate every N steps; 0: after each epoch"},                                          \
    {0, "checkpoint-steps", "N", DNAS_OPT_INT, &(c).checkpoint_steps, 0, 4e9, NULL,                \
     "net: save a checkpoint every N steps; 0: by time alone"},                                    \
    {0, "checkpoint-minutes", "X", DNAS_OPT_REAL, &(c).checkpoint_minutes, 0, 1e6, NULL,           \
     "net: and every X minutes; 0: by steps alone"},                                               \
    {0, "resume", NULL, DNAS_OPT_FLAG, &(c).resume, 0, 0, NULL,                                    \
     "net: go on from the checkpoint beside the output, if there is one"},                         \
    {0, "log", "FILE", DNAS_OPT_TEXT, &(c).log, 0, 0, NULL,                                        \
     "net: write a line a step: loss, validation loss, rate"},                                     \
    {0, "save-hf", "DIR", DNAS_OPT_TEXT, &(c).save_hf, 0, 0, NULL,                                 \
     "net: write the model as a Hugging Face folder, too"}
/* clang-format on */

/* Fills t from the options, but for output, input, seed, threads and program line; -1 with a
 * sentence about the command line.  What is no device (gpu.h) is a bug here. */
int dnas_train_net_resolve(struct dnas_train_net *t, const struct dnas_train_net_cli *c,
                           struct dnas_err *err);

#ifdef __cplusplus
}
#endif
#endif
