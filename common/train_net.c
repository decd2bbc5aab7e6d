/* SPDX-License-Identifier: MIT
 *
 * train_net.c - a network trained on pairs of token sequences.  Contract: train_net.h.
 */
#include "common/train_net.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/net_save.h"
#include "common/train_step.h"
#include "common/backbone.h"
#include "common/io.h"
#include "common/msg.h"
#include "common/pair_source.h"
#include "common/train_batch.h"
#include "common/train_draw.h"
#include "common/train_state.h"
#include "common/xmem.h"

struct dnas_train_net dnas_train_net_defaults(void)
{
    return (struct dnas_train_net){
        .batch = 48,
        .max_tokens = 2000,
        .projection = 128,
        .temperature = 0.05,
        .dropout = 0.1,
        .mix_alpha = 1,
        .mask_rate = 0.15,
        .optim = dnas_optim_defaults(),
        .head_rate = 100,
        .checkpoint_s = 600,
        .n_threads = 1,
    };
}

size_t dnas_train_n_ranks(const struct dnas_train_net *t)
{
    return t->comm ? (size_t)dnas_comm_n_ranks(t->comm) : 1;
}

size_t dnas_train_mix_group(const struct dnas_train_net *t)
{
    size_t share = t->batch / dnas_train_n_ranks(t);

    return t->mix_group > 0 && t->mix_group < share ? t->mix_group : share;
}

/* ---- signals ---- */

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    asked_to_stop = number;
}

static const int heard[] = {SIGTERM, SIGUSR1};
#define N_HEARD (sizeof(heard) / sizeof(*heard))
static struct sigaction unheard[N_HEARD]; /* what they did before */
static bool listens;

void dnas_train_net_listen(void)
{
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < N_HEARD; i++)
        sigaction(heard[i], &act, listens ? NULL : &unheard[i]);
    listens = true;
}

void dnas_train_net_unlisten(void)
{
    for (size_t i = 0; listens && i < N_HEARD; i++)
        sigaction(heard[i], &unheard[i], NULL);
    listens = false;
    if (asked_to_stop)
        raise(asked_to_stop);
    asked_to_stop = 0;
}

/* ---- a run ---- */

struct run {
    const struct dnas_train_net *t;
    struct dnas_pair_source *source;
    struct dnas_net *net;
    struct dnas_gpu gpu;          /* not open: the CPU trains */
    struct dnas_net_cuda *on_gpu; /* net there; NULL likewise */
    bool bf16;
    char *pg_json; /* for the model; NULL: none */
    struct dnas_step *step;
    struct dnas_train_batch *batch;
    struct dnas_mlm masks;
    struct dnas_optim optim;
    struct dnas_train_state state;
    json_t *settings;
    struct dnas_tokenizer *tokenizer; /* NULL: none */
    uint64_t steps_an_epoch, n_steps;
    char *checkpoint_path, *best_path, *spool_path;
    FILE *log;
    double began_s, saved_s; /* when this process began and last saved */
    uint64_t began_step;
};

static bool has(const struct dnas_train_net *t, enum dnas_objective o)
{
    for (size_t i = 0; i < t->n_phases; i++)
        if (t->phases[i].objective == o)
            return true;
    return false;
}

/* Whether this rank writes and speaks for all. */
static bool is_first(const struct run *r)
{
    return !r->t->comm || dnas_comm_rank(r->t->comm) == 0;
}

static bool has_contrast(const struct dnas_train_net *t)
{
    return has(t, DNAS_WSIMCLR) || has(t, DNAS_MIMIX) || has(t, DNAS_IMIX) || has(t, DNAS_SUPCON);
}

/* The phase of a step; *epoch is counted over all phases. */
static size_t phase_of(const struct run *r, uint64_t step, uint64_t *epoch)
{
    uint64_t left = step / r->steps_an_epoch;
    size_t i = 0;

    *epoch = left;
    while (i + 1 < r->t->n_phases && left >= r->t->phases[i].epochs)
        left -= r->t->phases[i++].epochs;
    return i;
}

/* ---- setting up ---- */

static int read_tokenizer(struct run *r, const struct dnas_network *init, struct dnas_err *err)
{
    const struct dnas_tokenizer *its = init ? init->tokenizer : NULL;

    if (r->t->tokenizer)
        r->tokenizer = dnas_tokenizer_open(r->t->tokenizer, err);
    else if (its)
        r->tokenizer =
            dnas_tokenizer_read(dnas_tokenizer_text(its), strlen(dnas_tokenizer_text(its)), err);
    return r->tokenizer || (!r->t->tokenizer && !its) ? 0 : -1;
}

/* The network of --init, or a new one. */
static int make_net(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    const struct dnas_net_heads heads = {has_contrast(t) ? t->projection : 0, has(t, DNAS_MLM)};
    struct dnas_shape shape = t->shape;
    struct dnas_network *init =
        t->init ? dnas_network_open(t->init, DNAS_PRECISION_F32, err) : NULL;
    const struct dnas_backbone *backbone = init ? init->backbone : t->backbone;
    int status = t->init && !init ? -1 : read_tokenizer(r, init, err);

    if (status == 0 && t->backbone && backbone != t->backbone)
        status = dnas_err_set(err, "%s: is a network of --arch %s", t->init, backbone->name);
    if (status == 0 && !backbone->net_new)
        status = dnas_err_set(err, "--arch %s can be run, but not yet trained", backbone->name);
    if (status == 0 && heads.mlm && !backbone->mlm_prefix)
        status = dnas_err_set(err, "--arch %s has no head for masked tokens: leave mlm out",
                              backbone->name);
    if (status == 0 && init)
        shape = init->shape;
    else if (status == 0)
        shape.V = dnas_tokenizer_size(r->tokenizer);
    if (status == 0 && r->tokenizer && dnas_tokenizer_size(r->tokenizer) > shape.V)
        status = dnas_err_set(err, "%s: has %zu tokens, the network of %s %zu", t->tokenizer,
                              dnas_tokenizer_size(r->tokenizer), t->init, shape.V);
    if (status == 0 && init && shape.positions > 0 && t->max_tokens > shape.positions)
        status =
            dnas_err_set(err, "%s: takes sequences of %zu tokens at most: try --max-tokens %zu",
                         t->init, shape.positions, shape.positions);
    if (status == 0 && backbone->check_shape && backbone->check_shape(&shape, err) != 0)
        status = dnas_err_at(err, "--arch %s: ", backbone->name);
    if (status == 0 && t->n_frozen > shape.L + 1)
        status = dnas_err_set(err, "%zu layers cannot be frozen: there are %zu", t->n_frozen - 1,
                              shape.L);
    if (status == 0) {
        r->net = dnas_net_new(backbone, &shape, init, &heads);
        dnas_net_init(r->net, t->seed, !init);
        if (init)
            dnas_net_copy(r->net, init);
        if (init && heads.mlm)
            status = dnas_net_copy_mlm(r->net, init, t->init, is_first(r), err);
    }
    dnas_network_close(init);
    return status;
}

/* Opens the GPU where one is to train; -1 with a sentence where there is none for this network. */
static int open_gpu(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;

    if (dnas_net_cuda_check(r->net, t->bf16 != 0 ? DNAS_CUDA_BF16 : DNAS_CUDA_F32, err) != 0)
        return -1;
    return dnas_gpu_open(&r->gpu, t->device.number, err);
}

/* Which device trains, and in which precision. */
static int choose_device(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    bool is_asked = t->device.kind == DNAS_DEVICE_CUDA;
    bool may_use_gpu = is_asked || (t->device.kind == DNAS_DEVICE_AUTO && dnas_gpu_is_expected());
    struct dnas_err why = {"CUDA: not in this build"};
    uint32_t without;

    if (may_use_gpu && open_gpu(r, &why) != 0 && is_asked)
        return dnas_err_set(err, "--device cuda: %s", why.msg);
    without = !r->gpu.api;
    if (t->comm && dnas_comm_any(t->comm, &without, err) != 0)
        return -1;
    if (without && r->gpu.api) { /* all or none */
        dnas_gpu_close(&r->gpu);
        dnas_err_set(&why, "another process has no GPU");
    }
    if (without && t->device.kind == DNAS_DEVICE_AUTO && is_first(r))
        (may_use_gpu && r->net->backbone->pass ? dnas_msg_note : dnas_msg_verbose)(
            "training on the CPU: %s", why.msg);
    if (without && t->exchange == DNAS_EXCHANGE_NCCL && dnas_train_n_ranks(t) > 1)
        return dnas_err_set(err, "--exchange nccl is for GPUs, and this run is on the processor");
    r->bf16 = without ? t->bf16 == 1 : t->bf16 != 0;
    if (!r->gpu.api && r->bf16 && !dnas_has_bf16())
        return dnas_err_set(err, "--precision bf16: this processor has no products of bf16; use "
                                 "--precision f32");
    if (!r->gpu.api && r->bf16)
        dnas_net_use_bf16(r->net);
    r->pg_json = t->pg ? t->pg(t->pg_ctx, r->gpu.api ? "cuda" : "cpu") : NULL;
    return 0;
}

/* Tokens of the tokenizer that the model will have. */
static int check_tokens_object(const struct run *r, struct dnas_err *err)
{
    const json_t *tokens = dnas_pair_source_header(r->source)->tokens;
    const char *hash = json_string_value(json_object_get(tokens, "tokenizer"));

    if (!r->tokenizer)
        dnas_msg_note("the model has no tokenizer: it will take only streams of tokens; -T gives "
                      "it one");
    else if (hash && strcmp(hash, dnas_tokenizer_hash(r->tokenizer)) != 0)
        return dnas_err_set(err, "%s: was made by another tokenizer than %s",
                            dnas_pair_source_name(r->source),
                            r->t->tokenizer ? r->t->tokenizer : r->t->init);
    if (dnas_pair_source_max_id(r->source) >= r->net->shape.V)
        return dnas_err_set(err, "%s: has token %u, and the network %zu: another tokenizer made it",
                            dnas_pair_source_name(r->source), dnas_pair_source_max_id(r->source),
                            r->net->shape.V);
    return 0;
}

static int set_up_masks(struct run *r, struct dnas_err *err)
{
    uint16_t special[DNAS_TOKENIZER_SPECIALS];
    int mask = r->tokenizer ? dnas_tokenizer_mask(r->tokenizer) : -1;

    if (!has(r->t, DNAS_MLM))
        return 0;
    if (mask < 0)
        return dnas_err_set(err, "mlm: there is no tokenizer with a [MASK] token: give -T one");
    dnas_mlm_init(&r->masks, (uint32_t)dnas_tokenizer_size(r->tokenizer), (uint16_t)mask,
                  r->t->mask_rate, special, dnas_tokenizer_specials(r->tokenizer, special));
    return 0;
}

/* How many steps there are; where they end. */
static int plan(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    uint64_t n = dnas_pair_source_n_train(r->source), epochs = 0;

    r->steps_an_epoch = dnas_pair_source_n_batches(r->source, t->batch);
    if (r->steps_an_epoch == 0)
        return dnas_err_set(err,
                            "%s: has %llu pairs to train on, and a batch takes %zu: draw more "
                            "pairs, or give a smaller --batch",
                            dnas_pair_source_name(r->source), (unsigned long long)n, t->batch);
    for (size_t i = 0; i < t->n_phases; i++)
        epochs += t->phases[i].epochs;
    r->n_steps = epochs * r->steps_an_epoch;
    if (t->max_steps > 0 && t->max_steps < r->n_steps)
        r->n_steps = t->max_steps;
    return r->n_steps < UINT32_MAX ? 0
                                   : dnas_err_set(err, "%llu steps are more than can be counted",
                                                  (unsigned long long)r->n_steps);
}

/* A group of the optimiser for each tensor that learns. */
static void set_up_optim(struct run *r)
{
    const struct dnas_train_net *t = r->t;
    const struct dnas_net *net = r->net;
    struct dnas_optim_group *groups = dnas_xalloc(net->n_tensors, sizeof(*groups));
    struct dnas_optim_options o = t->optim;
    size_t n = 0;

    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct dnas_net_tensor *y = &net->tensors[i];
        size_t layer = y->tensor.layer == net->shape.L ? 0 : y->tensor.layer + 1;

        if (y->part == DNAS_NET_ENCODER && layer < t->n_frozen)
            continue;
        groups[n] = (struct dnas_optim_group){
            .first = y->at,
            .n = y->tensor.n,
            .rate = y->part == DNAS_NET_HEAD ? t->head_rate : 1,
            .no_decay = y->tensor.role == DNAS_ROLE_BIAS || y->tensor.role == DNAS_ROLE_NORM,
        };
        n++;
    }
    o.total_steps = r->n_steps;
    dnas_optim_init(&r->optim, &o, net->n, groups, n, t->n_threads);
    free(groups);
}

/* What two runs must share for one to go on where the other stopped: all that
 * the result depends on. */
static json_t *make_settings(const struct run *r)
{
    const struct dnas_train_net *t = r->t;
    const struct dnas_shape *s = &r->net->shape;
    const struct dnas_optim_options *o = &t->optim;
    json_t *phases = json_array(), *j;
    char input[17];

    snprintf(input, sizeof(input), "%016llx", (unsigned long long)dnas_pair_source_hash(r->source));
    j = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, "
                  "s:f, s:f, s:b}",
                  "arch", r->net->backbone->name, "input", input, "tokenizer",
                  r->tokenizer ? dnas_tokenizer_hash(r->tokenizer) : "", "layers", (json_int_t)s->L,
                  "width", (json_int_t)s->C, "heads", (json_int_t)s->H, "inner", (json_int_t)s->F,
                  "batch", (json_int_t)t->batch, "max-tokens", (json_int_t)t->max_tokens,
                  "mix-group", (json_int_t)dnas_train_mix_group(t), "projection",
                  (json_int_t)t->projection, "frozen", (json_int_t)t->n_frozen, "seed",
                  (json_int_t)t->seed, "temperature", t->temperature, "dropout", t->dropout,
                  "mix-alpha", t->mix_alpha, "mask-rate", t->mask_rate, "ignore-labels",
                  (int)t->ignore_labels);

    if (!j)
        DNAS_BUG("settings cannot be written");
    for (size_t i = 0; i < t->n_phases; i++)
        json_array_append_new(phases,
                              json_sprintf("%s:%u", dnas_objective_name(t->phases[i].objective),
                                           t->phases[i].epochs));
    json_object_set_new(j, "curriculum", phases);
    json_object_set_new(j, "compat", json_boolean(t->compat));
    json_object_set_new(j, "bf16", json_boolean(r->bf16));
    json_object_set_new(j, "processes", json_integer((json_int_t)dnas_train_n_ranks(t)));
    json_object_set_new(j, "optimizer",
                        json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:f}",
                                  "kind", (int)o->kind, "rate", o->rate, "head-rate", t->head_rate,
                                  "beta1", o->beta1, "beta2", o->beta2, "eps", o->eps, "decay",
                                  o->decay, "clip", o->clip, "schedule", (int)o->schedule, "warmup",
                                  (json_int_t)o->warmup_steps, "steps", (json_int_t)r->n_steps,
                                  "final", o->final_share));
    return j;
}

/* "model.safetensors" is beside "model.best.safetensors". */
static char *best_name(const char *output)
{
    const char *slash = strrchr(output, '/'), *dot = strrchr(output, '.');

    if (!dot || (slash && dot < slash) || dot == output || (slash && dot == slash + 1))
        return dnas_xasprintf("%s.best", output);
    return dnas_xasprintf("%.*s.best%s", (int)(dot - output), output, dot);
}

static int make_step(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    bool mixes = has(t, DNAS_MIMIX) || has(t, DNAS_IMIX);
    const struct dnas_step_options o = {
        .max_pairs = t->batch > DNAS_VALIDATION_PAIRS ? t->batch : DNAS_VALIDATION_PAIRS,
        .max_T = dnas_pair_source_max_length(r->source),
        .mix_group = mixes ? dnas_train_mix_group(t) : 0,
        .n_frozen = t->n_frozen,
        .freeze_first = t->compat,
        .temperature = t->temperature,
        .dropout = t->dropout,
        .seed = t->seed,
        .n_threads = t->n_threads,
        .comm = t->comm,
        .exchange = t->exchange,
    };

    if (r->gpu.api) {
        r->on_gpu = dnas_net_cuda_new(r->net, &r->gpu, r->bf16 ? DNAS_CUDA_BF16 : DNAS_CUDA_F32,
                                      &r->optim, err);
        if (r->on_gpu)
            r->step = dnas_step_new_cuda(r->on_gpu, &o, err);
        if (!r->step)
            return -1;
    } else {
        if (is_first(r))
            dnas_msg_verbose("%zu parameters; a step needs %.0f MiB beside them",
                             dnas_net_size(r->net), (double)dnas_step_bytes(r->net, &o) / 0x1p20);
        r->step = dnas_step_new(r->net, &o);
    }
    r->batch = dnas_train_batch_new(t, r->source, r->step, r->net->shape.L,
                                    has(t, DNAS_MLM) ? &r->masks : NULL);
    return 0;
}

/* ---- the log ---- */

static int log_line(struct run *r, struct dnas_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int log_line(struct run *r, struct dnas_err *err, const char *fmt, ...)
{
    va_list args;
    long at;

    if (!r->log)
        return 0; /* none was asked for, or another rank writes it */
    va_start(args, fmt);
    vfprintf(r->log, fmt, args);
    va_end(args);
    if (fflush(r->log) != 0 || (at = ftell(r->log)) < 0)
        return dnas_err_set(err, "%s: cannot be written: %s", r->t->log, strerror(errno));
    r->state.log_bytes = (uint64_t)at;
    return 0;
}

/* Opens the log; lines of steps after the checkpoint are cut off. */
static int open_log(struct run *r, struct dnas_err *err)
{
    if (!r->t->log || !is_first(r))
        return 0;
    r->log = fopen(r->t->log, r->state.step > 0 ? "r+" : "w");
    if (!r->log && r->state.step > 0) { /* it was not kept: begin it again */
        r->state.log_bytes = 0;
        r->log = fopen(r->t->log, "w");
    }
    if (!r->log || ftruncate(fileno(r->log), (off_t)r->state.log_bytes) != 0 ||
        fseek(r->log, 0, SEEK_END) != 0)
        return dnas_err_set(err, "%s: cannot be opened: %s", r->t->log, strerror(errno));
    if (r->state.log_bytes > 0)
        return 0;
    return log_line(r, err, "step\tloss\tvalidation\tgradient_norm\trate\tpairs_per_s\n");
}

/* ---- saving ---- */

/* Brings what the host has of a GPU's arrays up to date. */
static int fetch(struct run *r, bool means, bool gradient, struct dnas_err *err)
{
    return r->on_gpu ? dnas_net_cuda_fetch(r->on_gpu, means ? &r->optim : NULL, gradient, err) : 0;
}

static int save_model(struct run *r, const char *path, struct dnas_err *err)
{
    const struct dnas_net_about about = {r->tokenizer, r->pg_json};

    if (!is_first(r))
        return 0;
    if (fetch(r, false, false, err) != 0)
        return -1;
    return dnas_net_save(path, r->net, &about, err);
}

static int save_checkpoint(struct run *r, struct dnas_err *err)
{
    r->saved_s = dnas_clock_s();
    if (!is_first(r))
        return 0;
    if (fetch(r, true, false, err) != 0)
        return -1;
    return dnas_train_state_write(r->checkpoint_path, r->net, &r->optim, &r->state, r->settings,
                                  err);
}

static bool is_time_to_save(const struct run *r)
{
    const struct dnas_train_net *t = r->t;

    return (t->checkpoint_steps > 0 && r->state.step % t->checkpoint_steps == 0) ||
           (t->checkpoint_s > 0 && dnas_clock_s() - r->saved_s >= t->checkpoint_s);
}

/* ---- steps ---- */

/* The validation loss after the steps done so far; the best model is kept. */
static int validate(struct run *r, double *loss, struct dnas_err *err)
{
    uint64_t epoch, step = r->state.step;
    size_t phase = phase_of(r, step > 0 ? step - 1 : 0, &epoch);
    bool masked = r->t->phases[phase].objective == DNAS_MLM;

    *loss = NAN;
    if (dnas_pair_source_n_validation(r->source) == 0)
        return 0;
    if (dnas_train_batch_validate(r->batch, loss, r->t->phases[phase].objective, err) != 0)
        return -1;
    if (step == 0)
        return 0;
    /* Losses of masked tokens and of pairs do not compare. */
    if (masked == r->state.best_masked && !(*loss < r->state.best_loss))
        return 0;
    r->state.best_loss = *loss;
    r->state.best_step = step;
    r->state.best_masked = masked;
    return save_model(r, r->best_path, err);
}

static bool is_time_to_validate(const struct run *r)
{
    uint64_t each = r->t->validate_steps > 0 ? r->t->validate_steps : r->steps_an_epoch;

    return r->state.step % each == 0 || r->state.step == r->n_steps;
}

/* A sentence for a loss or gradient that is not finite. */
static int not_finite(struct run *r, double loss, struct dnas_err *err)
{
    const char *weights, *gradient;
    unsigned long long step = (unsigned long long)r->state.step + 1;
    const char *remedy = "try a lower --rate, a --warmup, or --clip 1; the last checkpoint is kept";

    if (fetch(r, false, true, err) != 0)
        return -1;
    weights = dnas_net_not_finite(r->net, r->net->w);
    gradient = dnas_net_not_finite(r->net, r->net->g);
    if (weights)
        return dnas_err_set(err, "step %llu: the parameter '%s' is not finite: %s", step, weights,
                            remedy);
    if (gradient)
        return dnas_err_set(err, "step %llu: the gradient of '%s' is not finite: %s", step,
                            gradient, remedy);
    return dnas_err_set(err, "step %llu: the loss is %g: %s", step, loss, remedy);
}

/* Changes the parameters, where they are; *finite says whether the gradient was. */
static int update(struct run *r, bool *finite, struct dnas_optim_report *report,
                  struct dnas_err *err)
{
    if (r->on_gpu)
        return dnas_net_cuda_step(r->on_gpu, &r->optim, finite, report, err);
    *finite = dnas_optim_step(&r->optim, r->net->w, r->net->g, report) == 0;
    return 0;
}

/* A step whose batch has no loss: parameters and the optimiser stay as they are, and the log has no
 * loss, unless it is time to validate. */
static int pass_over(struct run *r, struct dnas_err *err)
{
    double validation = NAN;
    char text[32] = "";

    r->state.step++;
    if (r->state.n_passed++ == 0 && is_first(r))
        dnas_msg_note("step %llu: the batch has pairs of one species alone, nothing to be told "
                      "apart: it is passed over, and so are others like it",
                      (unsigned long long)r->state.step);
    if (is_time_to_validate(r) && validate(r, &validation, err) != 0)
        return -1;
    if (isfinite(validation))
        snprintf(text, sizeof(text), "%.9g", validation);
    return log_line(r, err, "%llu\t\t%s\t\t\t\n", (unsigned long long)r->state.step, text);
}

static int one_step(struct run *r, struct dnas_err *err)
{
    struct dnas_optim_report report;
    uint64_t epoch, step = r->state.step;
    size_t phase = phase_of(r, step, &epoch);
    double loss = NAN, validation = NAN, took_s;
    char text[32] = ""; /* nothing where there was no validation */
    bool finite;
    int learnt =
        dnas_train_batch_learn(r->batch, &loss, r->t->phases[phase].objective, (uint32_t)epoch,
                               step % r->steps_an_epoch, (uint32_t)step, err);

    if (learnt < 0)
        return dnas_err_at(err, "step %llu: ", (unsigned long long)step + 1);
    if (learnt == 0)
        return pass_over(r, err);
    finite = isfinite(loss);
    if (finite && update(r, &finite, &report, err) != 0)
        return -1;
    if (!finite)
        return not_finite(r, loss, err);
    r->state.step++;
    if (is_time_to_validate(r) && validate(r, &validation, err) != 0)
        return -1;
    took_s = dnas_clock_s() - r->began_s;
    if (isfinite(validation) && is_first(r))
        dnas_msg_verbose("step %llu, %s: loss %.4f, validation %.4f",
                         (unsigned long long)r->state.step,
                         dnas_objective_name(r->t->phases[phase].objective), loss, validation);
    if (isfinite(validation))
        snprintf(text, sizeof(text), "%.9g", validation);
    return log_line(r, err, "%llu\t%.9g\t%s\t%.9g\t%.9g\t%.4g\n", (unsigned long long)r->state.step,
                    loss, text, report.norm, report.rate,
                    (double)((r->state.step - r->began_step) * r->t->batch) / took_s);
}

/* What the ranks must do after a step, though one alone has the reason. */
enum { STOP = 1, SAVE = 2 };

static int agree(const struct run *r, uint32_t *flags, struct dnas_err *err)
{
    *flags = (asked_to_stop ? STOP : 0) | (asked_to_stop || is_time_to_save(r) ? SAVE : 0);
    return r->t->comm ? dnas_comm_any(r->t->comm, flags, err) : 0;
}

static enum dnas_train_end steps(struct run *r, struct dnas_err *err)
{
    while (r->state.step < r->n_steps) {
        uint32_t flags;

        if (one_step(r, err) != 0 || agree(r, &flags, err) != 0)
            return DNAS_TRAIN_FAILED;
        dnas_progress("training", "pairs", r->state.step * r->t->batch,
                      r->state.step - r->began_step, r->n_steps - r->began_step);
        if ((flags & SAVE) && r->state.step < r->n_steps && save_checkpoint(r, err) != 0)
            return DNAS_TRAIN_FAILED;
        if ((flags & STOP) && r->state.step < r->n_steps)
            return DNAS_TRAIN_SAVED;
    }
    return DNAS_TRAIN_DONE;
}

/* ---- from beginning to end ---- */

/* The checkpoint of an earlier run is either gone on from, or not touched. */
static int take_up(struct run *r, struct dnas_err *err)
{
    bool there = access(r->checkpoint_path, F_OK) == 0;

    r->state.best_loss = INFINITY;
    if (there && !r->t->resume)
        return dnas_err_set(err,
                            "%s: is there from an earlier run: go on with --resume, or remove it",
                            r->checkpoint_path);
    if (there && dnas_train_state_read(&r->state, r->net, &r->optim, r->checkpoint_path,
                                       r->settings, err) != 0)
        return -1;
    if (there)
        dnas_msg_note("going on after step %llu of %llu", (unsigned long long)r->state.step,
                      (unsigned long long)r->n_steps);
    return 0;
}

/* Pairs of one species are not told apart, so batches of such are passed over by contrastive
 * objectives, and left out of their validation; something must be left. */
static int check_species(const struct run *r, struct dnas_err *err)
{
    size_t n = 0, n_left_out = 0;
    bool has_negatives = false;

    for (size_t i = 0; i < r->t->n_phases; i++)
        has_negatives |= dnas_objective_has_negatives(r->t->phases[i].objective);
    if (has_negatives && !dnas_train_batch_tells_apart(r->batch))
        return dnas_err_set(err,
                            "%s: all pairs to train on are of one species, and there is nothing to "
                            "be told apart: give pairs of more species, or --no-mask-same-label",
                            dnas_pair_source_name(r->source));
    if (has_contrast(r->t))
        n = dnas_train_batch_n_validation(r->batch, &n_left_out);
    if (n == 0 || n_left_out == 0)
        return 0;
    if (n_left_out == n)
        return dnas_err_set(
            err,
            "%s: no pair for validation has another species in its batch of %d to "
            "be told apart from: hold out pairs of more species, mixed, or none; or give "
            "--no-mask-same-label",
            dnas_pair_source_name(r->source), DNAS_VALIDATION_PAIRS);
    if (is_first(r))
        dnas_msg_note("validation leaves out %zu of %zu batches: each has pairs of one species "
                      "alone, or a single pair",
                      n_left_out, n);
    return 0;
}

static int begin(struct run *r, struct dnas_err *err)
{
    double loss;

    r->began_s = r->saved_s = dnas_clock_s();
    r->began_step = r->state.step;
    if (check_species(r, err) != 0 || open_log(r, err) != 0)
        return -1;
    if (r->state.step > 0)
        return 0;
    if (validate(r, &loss, err) != 0)
        return -1;
    return isfinite(loss) ? log_line(r, err, "0\t\t%.9g\t\t\t\n", loss) : 0;
}

static int finish(struct run *r, struct dnas_err *err)
{
    const struct dnas_net_about about = {r->tokenizer, r->pg_json};

    if (!is_first(r))
        return 0;
    if (save_model(r, r->t->output, err) != 0)
        return -1;
    if (r->t->hf_folder && dnas_net_save_hf(r->t->hf_folder, r->net, &about, err) != 0)
        return -1;
    unlink(r->checkpoint_path);
    if (r->state.n_passed > 0)
        dnas_msg_verbose("%llu of %llu steps were passed over",
                         (unsigned long long)r->state.n_passed, (unsigned long long)r->state.step);
    if (r->state.best_step > 0)
        dnas_msg_verbose("least validation loss %.4f after step %llu: %s", r->state.best_loss,
                         (unsigned long long)r->state.best_step, r->best_path);
    dnas_msg_closing((r->state.step - r->began_step) * r->t->batch, "pairs");
    return 0;
}

/* Ranks read the same plain file, and begin from the same weights. */
static int check_ranks(const struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    size_t n = dnas_train_n_ranks(t), share = t->batch / n;

    if (n == 1)
        return 0;
    if (t->batch % n != 0)
        return dnas_err_set(err, "--batch %zu is no multiple of %zu processes", t->batch, n);
    if (share % dnas_train_mix_group(t) != 0)
        return dnas_err_set(err, "--mix-group %zu does not divide the %zu pairs of a process",
                            t->mix_group, share);
    if (dnas_comm_check_same(t->comm, dnas_pair_source_hash(r->source), "input", err) != 0)
        return -1;
    return dnas_comm_check_same(t->comm, XXH3_64bits(r->net->w, r->net->n * sizeof(float)),
                                "weights", err);
}

static int set_up(struct run *r, struct dnas_err *err)
{
    const struct dnas_train_net *t = r->t;
    struct dnas_pair_source_options from;

    r->checkpoint_path = dnas_xasprintf("%s.checkpoint", t->output);
    r->spool_path = is_first(r) ? dnas_xasprintf("%s.pairs", t->output)
                                : dnas_xasprintf("%s.pairs.%d", t->output, dnas_comm_rank(t->comm));
    r->best_path = best_name(t->output);
    if (dnas_train_n_ranks(t) > 1 && (!t->input || !dnas_is_regular_file(t->input, NULL)))
        return dnas_err_set(err, "several processes read the pairs from a file: name one");
    if (make_net(r, err) != 0 || choose_device(r, err) != 0 || set_up_masks(r, err) != 0)
        return -1;
    from = (struct dnas_pair_source_options){
        .path = t->input,
        .spool = r->spool_path,
        .resume = t->resume && access(r->checkpoint_path, F_OK) == 0,
        .max_tokens = t->max_tokens,
    };
    r->source = dnas_pair_source_open(&from, err);
    if (!r->source || check_tokens_object(r, err) != 0 || plan(r, err) != 0)
        return -1;
    set_up_optim(r);
    r->settings = make_settings(r);
    if (take_up(r, err) != 0 || check_ranks(r, err) != 0)
        return -1;
    if (make_step(r, err) != 0)
        return -1;
    return begin(r, err);
}

static void release(struct run *r)
{
    if (r->log)
        fclose(r->log);
    dnas_train_batch_free(r->batch);
    dnas_step_free(r->step);
    dnas_net_cuda_free(r->on_gpu);
    dnas_gpu_close(&r->gpu);
    dnas_optim_release(&r->optim);
    dnas_net_free(r->net);
    dnas_pair_source_close(r->source);
    if (has(r->t, DNAS_MLM))
        dnas_mlm_release(&r->masks);
    dnas_tokenizer_free(r->tokenizer);
    json_decref(r->settings);
    free(r->pg_json);
    free(r->checkpoint_path);
    free(r->spool_path);
    free(r->best_path);
}

enum dnas_train_end dnas_train_net_run(const struct dnas_train_net *t, struct dnas_err *err)
{
    struct run r = {.t = t};
    enum dnas_train_end end = DNAS_TRAIN_FAILED;

    dnas_train_net_listen();
    if (set_up(&r, err) == 0)
        end = steps(&r, err);
    if (end != DNAS_TRAIN_FAILED)
        dnas_step_leave(r.step);
    if (end == DNAS_TRAIN_SAVED && is_first(&r))
        dnas_msg_note("saved after step %llu of %llu: run again with --resume",
                      (unsigned long long)r.state.step, (unsigned long long)r.n_steps);
    if (end == DNAS_TRAIN_DONE && finish(&r, err) != 0)
        end = DNAS_TRAIN_FAILED;
    if (end == DNAS_TRAIN_DONE && strcmp(dnas_pair_source_name(r.source), r.spool_path) == 0)
        unlink(r.spool_path);
    release(&r);
    asked_to_stop = 0;
    return end;
}
