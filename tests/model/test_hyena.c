/* SPDX-License-Identifier: MIT
 *
 * test_hyena.c - HyenaDNA's network against numbers from the original code.
 *
 * tests/data/golden/hyena_tiny/README.md says how they were made.
 */
#include "common/hyena.h"
#include "kernels/kernels.h"

#define GOLDEN "tests/data/golden/hyena_tiny"
#define HIDDEN "hidden_last"
#include "tests/model/golden.h"

#define C 48
#define MAX_T 2000

/* PyTorch's own f32 is within 5e-6 of its f64; ours computes the filter in double. */
static void test_golden(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(n);
    struct golden g;
    size_t at = 0;

    CHECK_INT(n->shape.V, 16);
    CHECK_INT(n->shape.positions, 2050);
    golden_load(&g, HIDDEN);
    for (size_t row = 0; row < g.lengths.n; row++) {
        uint16_t ids[MAX_T];
        size_t T = golden_ids(ids, &g, row);
        const float *x = dnas_network_forward(run, ids, T, 1);
        double mean[C], *got = dnas_xalloc(T * C, sizeof(*got));
        double *want = dnas_xalloc(T * C, sizeof(*want));

        for (size_t i = 0; i < T * C; i++) {
            got[i] = (double)x[i];
            want[i] = (double)g.hidden.f32[at + i];
        }
        at += T * C;
        CHECK_NEAR(relative_error(got, want, T * C), 0, 2e-5);
        dnas_cpu_meanpool_fwd(mean, x, T, C);
        CHECK_NEAR(relative_error(mean, g.embedding.f64 + row * C, C), 0, 2e-6);
        free(got);
        free(want);
    }
    CHECK_INT(at, g.hidden.n);
    golden_release(&g);
    dnas_network_run_free(run);
    dnas_network_close(n);
}

static void test_same_bytes_in_any_order(void)
{
    golden_same_bytes_in_any_order(HIDDEN);
}

/* What comes later does not show in what came before. */
static void test_causal(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_network_run *run = dnas_network_run_new(n);
    float early[600 * C];
    uint16_t ids[1300];
    const float *x;

    for (size_t t = 0; t < 1300; t++)
        ids[t] = (uint16_t)(7 + t * t % 13 % 4);
    memcpy(early, dnas_network_forward(run, ids, 1300, 1), sizeof(early));
    for (size_t t = 600; t < 1300; t++)
        ids[t] = 11;
    x = dnas_network_forward(run, ids, 1300, 1);
    for (size_t i = 0; i < 600 * C; i++)
        CHECK_NEAR(x[i], early[i], 1e-5); /* the transform mixes rounding alone */
    dnas_network_run_free(run);
    dnas_network_close(n);
}

static void test_ids_are_checked(void)
{
    struct dnas_network *n = golden_open(DNAS_PRECISION_F32);
    struct dnas_err err = {""};
    uint16_t ids[2051] = {0};

    CHECK_INT(dnas_network_check_ids(n, ids, 2050, &err), 0);
    CHECK_INT(dnas_network_check_ids(n, ids, 2051, &err), -1);
    CHECK(strstr(err.msg, "has 2051 tokens, and the model takes 2050 at most") != NULL);
    ids[1] = 16;
    CHECK_INT(dnas_network_check_ids(n, ids, 3, &err), -1);
    CHECK(strstr(err.msg, "token 2 is number 16 of a vocabulary of 16") != NULL);
    dnas_network_close(n);
}

/* ---- models as they should be, and not ---- */

static struct dnas_tensor *named(struct dnas_tensor *t, size_t n, const char *part)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(t[i].name, part))
            return &t[i];
    CHECK_FAIL("no tensor %s", part);
    return t;
}

static void one_less(struct dnas_tensor *t, size_t *n)
{
    golden_leave_out(t, n, "layers.1.mixer.filter_fn.bias");
}

static void one_more(struct dnas_tensor *t, size_t *n)
{
    t[*n] = t[0];
    t[(*n)++].name = "hyena.backbone.layers.9.surplus";
}

static float changed[2050 * 5];

static void other_positions(struct dnas_tensor *t, size_t *n)
{
    struct dnas_tensor *z = named(t, *n, "layers.2.mixer.filter_fn.pos_emb.z");

    memcpy(changed, z->data, z->size_bytes);
    for (size_t i = 0; i < 2050 * 5; i++)
        changed[i] += i % 5 == 3 ? 1e-3f : 0;
    z->data = changed;
}

static void fewer_positions(struct dnas_tensor *t, size_t *n)
{
    struct dnas_tensor *z = named(t, *n, "layers.0.mixer.filter_fn.pos_emb.t");

    z->shape[1] = 2049;
    z->n_elements = 2049;
    z->size_bytes = 2049 * 4;
}

static void other_frequencies(struct dnas_tensor *t, size_t *n)
{
    struct dnas_tensor *f = named(t, *n, "layers.1.mixer.filter_fn.implicit_filter.5.freq");

    memcpy(changed, f->data, f->size_bytes);
    changed[15] += 1;
    f->data = changed;
}

static void without_dimension(struct dnas_tensor *t, size_t *n)
{
    struct dnas_tensor *w = named(t, *n, "layers.1.mixer.short_filter.weight");

    w->n_dims = 2;
    w->shape[1] = 3;
}

static void test_tensors_are_refused(void)
{
    golden_refused(one_less, NULL, "'hyena.backbone.layers.1.mixer.filter_fn.bias' is missing");
    golden_refused(one_more, NULL,
                   "'hyena.backbone.layers.9.surplus' is not one of this network's");
    golden_refused(other_positions, NULL, "layer 2 has positions of its own");
    golden_refused(fewer_positions, NULL, "pos_emb.t' has 2049 elements, not 2050");
    golden_refused(other_frequencies, NULL, "layer 1 has three sets of frequencies");
    golden_refused(without_dimension, NULL, "short_filter.weight' does not have the shape");
}

/* As a training run of the original code leaves them: ".layer" in the names. */
static void nested_names(struct dnas_tensor *t, size_t *n)
{
    static const char *const parts[] = {".mixer.", ".mlp."};

    for (size_t i = 0; i < *n; i++)
        for (size_t k = 0; k < 2; k++) {
            const char *at = strstr(t[i].name, parts[k]);
            char *name;

            if (!at)
                continue;
            name = dnas_xasprintf("model%.*s%slayer%s", (int)(at - t[i].name - 5), t[i].name + 5,
                                  parts[k], at + strlen(parts[k]) - 1);
            free((char *)t[i].name);
            t[i].name = name;
        }
    for (size_t i = 0; i < *n; i++)
        if (strncmp(t[i].name, "hyena", 5) == 0)
            memcpy((char *)t[i].name, "model", 5);
}

/* What can be computed or is there twice may be left out. */
static void lean(struct dnas_tensor *t, size_t *n)
{
    golden_leave_out(t, n, "pos_emb");
    golden_leave_out(t, n, "3.freq");
    golden_leave_out(t, n, "5.freq");
}

#define OLD_CONFIG                                                                                 \
    "{\"d_model\": 48, \"n_layer\": 3, \"d_inner\": 96, \"vocab_size\": 12, "                      \
    "\"resid_dropout\": 0.0, \"embed_dropout\": 0.1, \"residual_in_fp32\": true, "                 \
    "\"pad_vocab_size_multiple\": 8, \"return_hidden_state\": true, \"layer\": {\"_name_\": "      \
    "\"hyena\", \"emb_dim\": 5, \"filter_order\": 16, \"local_order\": 3, \"l_max\": 2050, "       \
    "\"modulate\": true, \"w\": 10, \"lr\": 6e-4, \"wd\": 0.0, \"lr_pos_emb\": 0.0}}"

static void check_same(void (*change)(struct dnas_tensor *, size_t *), const char *config)
{
    static const uint16_t ids[5] = {7, 8, 9, 10, 1};
    struct dnas_network *n[2] = {golden_open(DNAS_PRECISION_F32), NULL};
    struct dnas_err err = {""};
    float x[2][5 * C] = {{0}};

    n[1] = golden_open_changed(change, "", config, &err);
    CHECK_STR(err.msg, "");
    for (int i = 0; i < 2 && n[1]; i++) {
        struct dnas_network_run *run = dnas_network_run_new(n[i]);

        memcpy(x[i], dnas_network_forward(run, ids, 5, 1), sizeof(x[i]));
        dnas_network_run_free(run);
    }
    CHECK(memcmp(x[0], x[1], sizeof(x[0])) == 0);
    dnas_network_close(n[0]);
    dnas_network_close(n[1]);
}

static void test_other_names_and_configs(void)
{
    char *config = golden_config();

    check_same(nested_names, config);
    check_same(lean, config);
    check_same(nested_names, OLD_CONFIG);
    free(config);
}

#define SHAPE                                                                                      \
    "\"model_type\": \"hyenadna\", \"d_model\": 48, \"n_layer\": 3, \"d_inner\": 96, "             \
    "\"vocab_size\": 12, \"max_seq_len\": 2050, \"filter_order\": 16"

static void test_configs_are_refused(void)
{
    static const struct {
        const char *config, *sentence;
    } bad[] = {
        {"{\"model_type\": \"hyenadna\"}", "no 'n_layer'"},
        {"{" SHAPE "}", "no 'emb_dim'"},
        {"{" SHAPE ", \"emb_dim\": 4}", "'emb_dim' is not an odd number from 3 to 65"},
        {"{" SHAPE ", \"emb_dim\": 7}", "0.weight' does not have the shape"},
        {"{" SHAPE ", \"emb_dim\": 5, \"hyena_order\": 3}", "its 'hyena_order' is not 2"},
        {"{" SHAPE ", \"emb_dim\": 5, \"short_filter_order\": 4}", "'short_filter_order' is not 3"},
        {"{" SHAPE ", \"emb_dim\": 5, \"num_inner_mlps\": 1}", "its 'num_inner_mlps' is not 2"},
        {"{" SHAPE ", \"emb_dim\": 5, \"bidirectional\": true}", "'bidirectional' is not false"},
        {"{" SHAPE ", \"emb_dim\": 5, \"use_bias\": 1}", "its 'use_bias' is not true"},
        {"{" SHAPE ", \"emb_dim\": 5, \"pad_vocab_size_multiple\": 0}",
         "no 'pad_vocab_size_multiple' from 1"},
        {"{" SHAPE ", \"emb_dim\": 5, \"pad_vocab_size_multiple\": 1}",
         "word_embeddings.weight' does not have the shape"},
        {"{" SHAPE ", \"emb_dim\": 5, \"layer_norm_epsilon\": 2}", "not between 0 and 1"},
        {"{\"layer\": {\"_name_\": \"hyena\", \"modulate\": false}}", "its 'modulate' is not true"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        golden_refused(NULL, bad[i].config, bad[i].sentence);
}

/* weights.ckpt as PyTorch writes that of a training run: the tensors under
 * "state_dict", beside them an optimizer's, and objects of Python. */
static void test_checkpoint_of_a_run(void)
{
#define FIND                                                                                       \
    "P=$(for p in python3 /usr/bin/python3; do $p -c 'import torch' && echo $p && break; done "    \
    "2>/dev/null); "
    char *command;
    const char *folder = file_path("run");
    struct dnas_network *n, *golden;
    struct dnas_err err = {""};

    if (system(FIND "[ -n \"$P\" ]") != 0)
        SKIP("no PyTorch");
    golden = golden_open(DNAS_PRECISION_F32);
    command = dnas_xasprintf(
        FIND
        "mkdir -p '%s' && cp " GOLDEN "/config.json '%s' && $P - '%s' <<'E'\n"
        "import argparse, collections, enum, functools, json, os, pathlib, struct, sys\n"
        "import numpy as np, torch\n"
        "class Kind(enum.Enum):\n"
        "    LAST = 'last'\n"
        "class Evil:\n"
        "    def __reduce__(self):\n"
        "        return os.system, ('touch ' + sys.argv[1] + '/evil',)\n"
        "raw = open('" GOLDEN "/model.safetensors', 'rb').read()\n"
        "n = struct.unpack('<Q', raw[:8])[0]\n"
        "state = collections.OrderedDict()\n"
        "state._metadata = collections.OrderedDict([('', {'version': 1})])\n"
        "for name, t in json.loads(raw[8:8 + n]).items():\n"
        "    if name != '__metadata__':\n"
        "        a, b = (8 + n + x for x in t['data_offsets'])\n"
        "        x = np.frombuffer(raw[a:b], np.float32).reshape(t['shape'])\n"
        "        state['model' + name[5:]] = torch.tensor(x)\n"
        "model = torch.nn.Linear(3, 2)\n"
        "optimizer = torch.optim.AdamW(model.parameters())\n"
        "model(torch.ones(1, 3)).sum().backward()\n"
        "optimizer.step()\n"
        "loop = [1]\n"
        "loop.append(loop)\n"
        "pair = ([],)\n"
        "pair[0].append(pair)\n"
        "run = {'epoch': 3, 'rate': 0.1, 'pytorch-lightning_version': '1.8.6',\n"
        "       'optimizer_states': [optimizer.state_dict()], 'model': model,\n"
        "       'lr_schedulers': [{'lambda': None, 'last': [6e-4], 'big': 1 << 3000}],\n"
        "       'callbacks': {Kind: {'best': torch.tensor(2.5), 'path': pathlib.Path('/')},\n"
        "                     pathlib.Path: collections.defaultdict(list, {1: [2]})},\n"
        "       'state_dict': state, 'loop': loop, 'pair': pair, 'set': {1, frozenset([2])},\n"
        "       'hyper_parameters': argparse.Namespace(kind=Kind.LAST, evil=Evil()),\n"
        "       'numpy': [np.float64(1), np.arange(3), np.dtype('f4'), np.random.get_state()],\n"
        "       'torch': [torch.arange(3), torch.ones(2).half(), torch.Size([1]), torch.int8,\n"
        "                 torch.device('cpu'), torch.zeros(2, 2).to_sparse()],\n"
        "       'more': [b'\\xff', bytearray(3), 1j, slice(3), range(2), len, str.join,\n"
        "                functools.partial(max, 1), collections.deque([1]), Ellipsis, -1 << 70]}\n"
        "for protocol in 2, 3, 4, 5:\n"
        "    to = sys.argv[1] + ('/%%d' %% protocol)\n"
        "    os.makedirs(to)\n"
        "    os.link(sys.argv[1] + '/config.json', to + '/config.json')\n"
        "    torch.save(run, to + '/weights.ckpt', pickle_protocol=protocol)\n"
        "E\n",
        folder, folder, folder);
    CHECK_INT(system(command), 0);
    for (int protocol = 2; protocol <= 5; protocol++) {
        char *path = dnas_xasprintf("%s/%d", folder, protocol);

        err.msg[0] = '\0';
        n = dnas_network_open(path, DNAS_PRECISION_F32, &err);
        CHECK_STR(err.msg, "");
        if (n)
            CHECK_STR(n->hash, golden->hash);
        dnas_network_close(n);
        free(path);
    }
    dnas_network_close(golden);
    free(command);
    command = dnas_xasprintf("[ ! -e '%s/evil' ] && rm -rf '%s'", folder, folder);
    CHECK_INT(system(command), 0);
    free(command);
}

static void test_bf16_is_refused(void)
{
    struct dnas_err err = {""};

    CHECK(dnas_network_open(GOLDEN, DNAS_PRECISION_BF16, &err) == NULL);
    CHECK(strstr(err.msg, "use --precision f32") != NULL);
}

int main(void)
{
    RUN(test_golden);
    RUN(test_same_bytes_in_any_order);
    RUN(test_causal);
    RUN(test_ids_are_checked);
    RUN(test_tensors_are_refused);
    RUN(test_other_names_and_configs);
    RUN(test_configs_are_refused);
    RUN(test_checkpoint_of_a_run);
    RUN(test_bf16_is_refused);
    return check_done();
}
