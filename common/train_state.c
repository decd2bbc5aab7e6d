/* SPDX-License-Identifier: MIT
 *
 * train_state.c - a training run set down and taken up again.  Contract: train_state.h.
 *
 * A safetensors file: each parameter's tensor three times, under weights/,
 * mean/ and square/, and "state" and "settings" in the metadata.
 */
#include "common/train_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/net_save.h"
#include "common/xmem.h"

#define N_KINDS 3
static const char *const prefixes[N_KINDS] = {"weights/", "mean/", "square/"};

static char *state_json(const struct dnas_train_state *state)
{
    /* Infinity is no JSON. */
    json_t *best = isfinite(state->best_loss) ? json_real(state->best_loss) : json_null();
    json_t *j = json_pack("{s:I, s:I, s:o, s:I, s:b, s:I}", "step", (json_int_t)state->step,
                          "passed", (json_int_t)state->n_passed, "best_loss", best, "best_step",
                          (json_int_t)state->best_step, "best_masked", (int)state->best_masked,
                          "log_bytes", (json_int_t)state->log_bytes);
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));

    json_decref(j);
    return text;
}

int dnas_train_state_write(const char *path, const struct dnas_net *net,
                           const struct dnas_optim *optim, const struct dnas_train_state *state,
                           const json_t *settings, struct dnas_err *err)
{
    const float *values[N_KINDS] = {net->w, optim->m, optim->v};
    struct dnas_tensor *all = dnas_xzalloc(N_KINDS * net->n_tensors, sizeof(*all));
    char *text[2] = {state_json(state), json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS)};
    const struct dnas_metadata metadata[2] = {{"state", text[0]}, {"settings", text[1]}};
    int status;

    for (size_t k = 0; k < N_KINDS; k++) {
        struct dnas_tensor *some = dnas_net_tensors(net, values[k], prefixes[k]);

        memcpy(all + k * net->n_tensors, some, net->n_tensors * sizeof(*some));
        free(some);
    }
    status = dnas_safetensors_write(path, all, N_KINDS * net->n_tensors, metadata, 2, err);
    dnas_net_tensors_free(all, N_KINDS * net->n_tensors);
    free(text[0]);
    free(text[1]);
    return status;
}

static int compare_settings(const json_t *settings, const json_t *saved, struct dnas_err *err)
{
    const char *key;
    json_t *value;
    char *was, *is;

    json_object_foreach((json_t *)settings, key, value)
    {
        json_t *other = json_object_get(saved, key);

        if (other && json_equal(value, other))
            continue;
        was = other ? json_dumps(other, JSON_ENCODE_ANY) : dnas_xstrdup("nothing");
        is = json_dumps(value, JSON_ENCODE_ANY);
        dnas_err_set(err,
                     "was made with %s as '%s', which is %s now: give the same input and options, "
                     "or leave --resume out to begin anew",
                     was, key, is);
        free(was);
        free(is);
        return -1;
    }
    return 0;
}

static int parse_state(struct dnas_train_state *state, struct dnas_weights *w,
                       const json_t *settings, struct dnas_err *err)
{
    const char *text = dnas_weights_metadata(w, "state");
    const char *made = dnas_weights_metadata(w, "settings");
    json_t *j = text ? json_loads(text, 0, NULL) : NULL,
           *saved = made ? json_loads(made, 0, NULL) : NULL;
    json_int_t step, passed = 0, best_step, log_bytes;
    json_t *best;
    int masked = 0, status = -1;

    if (!saved || !j ||
        json_unpack(j, "{s:I, s?I, s:o, s:I, s:b, s:I}", "step", &step, "passed", &passed,
                    "best_loss", &best, "best_step", &best_step, "best_masked", &masked,
                    "log_bytes", &log_bytes) != 0 ||
        passed < 0 || step < passed || best_step < 0 || log_bytes < 0) {
        dnas_err_set(err, "is no checkpoint of a training run");
    } else if (compare_settings(settings, saved, err) == 0) {
        *state = (struct dnas_train_state){
            .step = (uint64_t)step,
            .n_passed = (uint64_t)passed,
            .best_loss = json_is_number(best) ? json_number_value(best) : INFINITY,
            .best_step = (uint64_t)best_step,
            .best_masked = masked != 0,
            .log_bytes = (uint64_t)log_bytes,
        };
        status = 0;
    }
    json_decref(j);
    json_decref(saved);
    return status;
}

int dnas_train_state_read(struct dnas_train_state *state, struct dnas_net *net,
                          struct dnas_optim *optim, const char *path, const json_t *settings,
                          struct dnas_err *err)
{
    float *values[N_KINDS] = {net->w, optim->m, optim->v};
    struct dnas_weights *w = dnas_weights_open(path, err);
    struct dnas_err why = {""};
    int status;

    if (!w)
        return -1;
    status = parse_state(state, w, settings, &why);
    for (size_t k = 0; status == 0 && k < N_KINDS; k++)
        status = dnas_net_read(values[k], net, w, prefixes[k], &why);
    if (status != 0)
        dnas_err_set(err, "%s: %s", path, why.msg);
    else
        optim->step = state->step - state->n_passed;
    dnas_weights_close(w);
    return status;
}
