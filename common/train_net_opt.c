/* SPDX-License-Identifier: MIT
 *
 * train_net_opt.c - the command line of a network's training.  Contract: train_net_opt.h.
 */
#include "common/train_net_opt.h"

const char *const dnas_optimizers[] = {"adam", "adamw", NULL};
const char *const dnas_schedules[] = {"constant", "cosine", "linear", NULL};
const char *const dnas_precisions[] = {"f32", "bf16", NULL};
const char *const dnas_train_compats[] = {"none", "dnabert-s", NULL};

static int check(const struct dnas_train_net *t, const struct dnas_train_net_cli *c,
                 struct dnas_err *err)
{
    if (!c->init && !c->tokenizer)
        return dnas_err_set(err, "a network from scratch needs -T, the tokenizer.json that made "
                                 "the tokens; or give --init a model");
    if (!c->init && c->width % c->heads != 0)
        return dnas_err_set(err, "--width %lld is no multiple of --heads %lld", (long long)c->width,
                            (long long)c->heads);
    if (t->bf16 == 1 && !dnas_has_bf16() &&
        (t->device.kind == DNAS_DEVICE_CPU || !dnas_gpu_is_expected()))
        return dnas_err_set(err, "--precision bf16: this processor has no products of bf16; use "
                                 "--precision f32");
    if (c->rate == 0)
        return dnas_err_set(err, "--rate 0 learns nothing");
    for (size_t i = 0; i < t->n_phases; i++)
        if (t->phases[i].objective != DNAS_MLM && c->batch < 2)
            return dnas_err_set(err, "--batch 1: a pair has nothing to be told apart from");
    return 0;
}

int dnas_train_net_resolve(struct dnas_train_net *t, const struct dnas_train_net_cli *c,
                           struct dnas_err *err)
{
    *t = dnas_train_net_defaults();
    if (dnas_device_parse(&t->device, c->device, err) != 0)
        return -1;
    if (dnas_train_net_curriculum(t, c->curriculum, err) != 0)
        return dnas_err_at(err, "--curriculum: ");
    t->init = c->init;
    t->tokenizer = c->tokenizer;
    t->shape = (struct dnas_shape){
        .L = (size_t)c->layers,
        .C = (size_t)c->width,
        .H = (size_t)c->heads,
        .F = (size_t)(c->inner > 0 ? c->inner : 4 * c->width),
        .positions = (size_t)c->max_tokens,
        .eps = 1e-12f,
    };
    t->batch = (size_t)c->batch;
    t->max_tokens = (size_t)c->max_tokens;
    t->mix_group = (size_t)c->mix_group;
    t->bf16 = c->precision;
    t->projection = (size_t)c->projection;
    t->n_frozen = (size_t)c->freeze;
    t->temperature = c->temperature;
    t->dropout = c->dropout;
    t->mix_alpha = c->mix_alpha;
    t->mask_rate = c->mask_rate;
    t->compat = c->compat == 1;
    t->ignore_labels = c->no_mask || t->compat;
    t->exchange = (enum dnas_exchange)c->exchange;
    t->optim.kind = c->optimizer == 1 ? DNAS_OPTIM_ADAMW : DNAS_OPTIM_ADAM;
    t->optim.rate = c->rate;
    t->optim.decay = c->decay;
    t->optim.clip = c->clip;
    t->optim.schedule = (enum dnas_schedule)c->schedule;
    t->optim.warmup_steps = (uint64_t)c->warmup;
    t->optim.final_share = c->final_share;
    t->head_rate = c->head_rate;
    t->max_steps = (uint64_t)c->max_steps;
    t->hf_folder = c->save_hf;
    t->log = c->log;
    t->checkpoint_steps = (uint64_t)c->checkpoint_steps;
    t->checkpoint_s = 60 * c->checkpoint_minutes;
    t->validate_steps = (uint64_t)c->validate_steps;
    t->resume = c->resume;
    return check(t, c, err);
}
