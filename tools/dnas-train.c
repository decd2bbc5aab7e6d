/* SPDX-License-Identifier: MIT
 *
 * dnas-train - genomes or pairs to a model.
 *
 * In:  bert, hyena, esm: PAIRS of tokens
 *      kmer: FASTA or FASTQ, or PAIRS of letters
 *      vae: FASTA or FASTQ
 * Out: a model (safetensors)
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/msg.h"
#include "common/opt.h"
#include "common/backbone.h"
#include "common/provenance.h"
#include "common/train_net.h"
#include "common/train_net_opt.h"
#include "common/train_kmer.h"
#include "common/train_vae.h"

/* From bert on networks (backbone.h). */
enum arch { ARCH_KMER, ARCH_VAE, ARCH_BERT, ARCH_HYENA, ARCH_ESM };
static const char *const archs[] = {"kmer", "vae", "bert", "hyena", "esm", NULL};

struct train {
    struct dnas_common common;
    int arch;
    int64_t seed;
    /* --arch kmer */
    struct dnas_train_kmer kmer;
    struct dnas_labels labels;
    const char *k, *transform, *length, *labels_path;
    int64_t dims, windows, hidden, hidden_steps;
    int objective;
    /* --arch vae; hidden, too */
    struct dnas_train_vae vae;
    int64_t latent, epochs;
    /* networks */
    struct dnas_comm_options ranks;
    struct dnas_train_net net;
    struct dnas_train_net_cli cli;
};

/* The program line as JSON text, or NULL with --no-pg. */
static char *program_line(const struct train *t, const struct dnas_tool *tool)
{
    struct dnas_header h;
    char *text = NULL;

    dnas_header_init(&h, DNAS_PAIRS);
    dnas_provenance_add(&h, NULL, tool, &t->common, &t->seed);
    if (h.pg)
        text = json_dumps(h.pg, JSON_COMPACT);
    dnas_header_release(&h);
    return text;
}

/* ---- --arch kmer ---- */

static int check_kmer(struct train *t, struct dnas_err *err)
{
    if (dnas_train_kmer_parse(&t->kmer, t->k, t->transform, t->length, err) != 0)
        return dnas_usage_error("%s", err->msg);
    t->kmer.dims = (size_t)t->dims;
    t->kmer.windows = (size_t)t->windows;
    t->kmer.hidden = (size_t)t->hidden;
    t->kmer.hidden_steps = (uint64_t)t->hidden_steps;
    t->kmer.objective = (enum dnas_kmer_objective)t->objective;
    t->kmer.seed = (uint64_t)t->seed;
    t->kmer.n_threads = (int)t->common.threads;
    if (!t->labels_path)
        return -1;
    if (dnas_labels_load(&t->labels, t->labels_path, err) != 0) {
        dnas_msg_error("%s", err->msg);
        return 1;
    }
    t->kmer.labels = &t->labels;
    return -1;
}

static void report_net(const struct dnas_train_kmer_report *r, const struct train *t)
{
    for (int i = 0; r->steps_chosen && i < DNAS_TRAIN_KMER_LOOKS; i++)
        dnas_msg_verbose("%d steps: held-out genera %.4f", i * DNAS_TRAIN_KMER_EVERY, r->look[i]);
    if (!r->steps_chosen && t->hidden_steps == 0)
        dnas_msg_note("too few genera to choose the network's steps on: they are %llu",
                      (unsigned long long)r->hidden_steps);
    if (r->hidden_steps == 0)
        dnas_msg_note("on held-out genera the map is best alone: the model has no network "
                      "(--hidden-steps insists)");
    else
        dnas_msg_verbose("%llu steps: loss %.4f", (unsigned long long)r->hidden_steps, r->loss);
}

static void report_kmer(const struct dnas_train_kmer_report *r, const struct train *t)
{
    const struct dnas_kmer_map *map = &r->map;

    dnas_msg_verbose("%llu profiles of %llu species, %zu dimensions",
                     (unsigned long long)map->n_rows, (unsigned long long)map->n_classes, map->O);
    for (int i = 0; map->chosen && i < DNAS_KMER_N_RIDGES; i++)
        dnas_msg_verbose("ridge %g: held-out genera %.4f", map->ridges[i], map->score[i]);
    if (!map->chosen && t->kmer.ridge < 0)
        dnas_msg_note("too few labelled genera to choose the ridge on: it is %g", map->ridge);
    if (map->O < t->kmer.dims)
        dnas_msg_note("%llu species give %zu dimensions, not %zu",
                      (unsigned long long)map->n_classes, map->O, t->kmer.dims);
    if (t->hidden > 0)
        report_net(r, t);
    dnas_msg_closing(r->n_records, "sequences");
}

static int run_kmer(struct train *t, const struct dnas_tool *tool, char **paths, int n_paths,
                    struct dnas_err *err)
{
    struct dnas_train_kmer_report report;
    struct dnas_kmer_model *m = dnas_train_kmer_run(&t->kmer, paths, n_paths, &report, err);
    char *pg = NULL;
    int status = -1;

    if (!m)
        return -1;
    pg = program_line(t, tool);
    status = dnas_kmer_model_write(m, t->common.output, pg, err);
    if (status == 0)
        report_kmer(&report, t);
    free(pg);
    dnas_kmer_map_release(&report.map);
    dnas_kmer_model_free(m);
    return status;
}

/* ---- --arch bert, hyena, esm ---- */

/* -1 to go on, or the exit status. */
static int check_net(struct train *t, int n_paths, struct dnas_err *err)
{
    if (!t->common.output)
        return dnas_usage_error("where to? give -o a file: checkpoints are written beside it");
    if (n_paths > 1)
        return dnas_usage_error("a network takes one FILE of pairs; cat joins streams");
    if (t->arch == ARCH_HYENA) { /* it has no heads, and one tokenizer */
        t->cli.heads = 1;
        t->cli.tokenizer = t->cli.tokenizer || t->cli.init ? t->cli.tokenizer : "hyena";
    }
    if (dnas_train_net_resolve(&t->net, &t->cli, err) != 0)
        return dnas_usage_error("%s", err->msg);
    if (t->arch == ARCH_KMER) /* --init says which */
        t->arch = ARCH_BERT;
    else
        t->net.backbone = dnas_backbone_named(archs[t->arch]);
    t->net.output = t->common.output;
    t->net.seed = (uint64_t)t->seed;
    t->net.n_threads = (int)t->common.threads;
    return -1;
}

struct pg {
    const struct train *t;
    const struct dnas_tool *tool;
};

static char *pg_of_net(const void *ctx, const char *device)
{
    const struct pg *pg = ctx;
    struct train t = *pg->t;

    t.common.device = device;
    return program_line(&t, pg->tool);
}

static int run_net(struct train *t, const struct dnas_tool *tool, char **paths, int n_paths,
                   struct dnas_err *err)
{
    const struct pg pg = {t, tool};
    struct dnas_comm *comm = dnas_comm_open(&t->ranks, err);
    enum dnas_train_end end;

    if (!comm)
        return -1;
    t->net.comm = comm;
    t->net.pg = pg_of_net;
    t->net.pg_ctx = &pg;
    t->net.input = n_paths > 0 ? paths[0] : NULL;
    if (!strchr(t->cli.device, ':')) /* a GPU for each process of a machine */
        t->net.device.number = dnas_comm_local_rank(comm);
    end = dnas_train_net_run(&t->net, err);
    if (end == DNAS_TRAIN_FAILED) { /* said now: closing may end this process */
        dnas_msg_error("%s", err->msg);
        dnas_comm_close(comm, true);
        return 1;
    }
    dnas_comm_close(comm, false);
    switch (end) {
    case DNAS_TRAIN_DONE:
        return 0;
    case DNAS_TRAIN_SAVED:
        return 75;
    case DNAS_TRAIN_FAILED:
        break;
    }
    return 1;
}

/* ---- --arch vae ---- */

static int run_vae(struct train *t, const struct dnas_tool *tool, char **paths, int n_paths,
                   struct dnas_err *err)
{
    const struct dnas_seq_options options = {.keep_case = false};
    struct dnas_train_vae_report r;
    struct dnas_kmer_model *m;
    char *pg = NULL;
    int status = -1;

    t->vae.latent = (size_t)t->latent;
    t->vae.hidden = t->hidden > 0 ? (size_t)t->hidden : 256;
    t->vae.epochs = (int)t->epochs;
    t->vae.seed = (uint64_t)t->seed;
    t->vae.n_threads = (int)t->common.threads;
    m = dnas_train_vae_run(&t->vae, paths, n_paths, &options, &r, err);
    if (m) {
        pg = program_line(t, tool);
        status = dnas_kmer_model_write(m, t->common.output, pg, err);
    }
    if (status == 0) {
        dnas_msg_verbose("error a number %.4f at first, %.4f at last; divergence %.4g, %.4g",
                         r.error_first, r.error_last, r.divergence_first, r.divergence_last);
        dnas_msg_closing(r.n_rows, "sequences");
    }
    free(pg);
    dnas_kmer_model_free(m);
    return status;
}

/* ---- all ---- */

/* What the table of options cannot check.  -1 to go on, or the exit status. */
static int check(struct train *t, int n_paths, struct dnas_err *err)
{
    struct dnas_device device;

    if (dnas_device_parse(&device, t->cli.device, err) != 0)
        return dnas_usage_error("%s", err->msg);
    if (t->arch >= ARCH_BERT || t->cli.init)
        return check_net(t, n_paths, err);
    if (device.kind == DNAS_DEVICE_CUDA)
        return dnas_usage_error("--device cuda is for networks; --arch %s is trained on the CPU",
                                archs[t->arch]);
    dnas_train_net_unlisten();
    if (!t->common.output && isatty(STDOUT_FILENO)) {
        dnas_msg_error("standard output is a terminal: redirect it, use -o FILE");
        return 1;
    }
    return t->arch == ARCH_VAE ? -1 : check_kmer(t, err);
}

/* The exit status, or -1 with a sentence. */
static int run(struct train *t, const struct dnas_tool *tool, char **paths, int n_paths,
               struct dnas_err *err)
{
    switch ((enum arch)t->arch) {
    case ARCH_KMER:
        return run_kmer(t, tool, paths, n_paths, err);
    case ARCH_BERT:
    case ARCH_HYENA:
    case ARCH_ESM:
        return run_net(t, tool, paths, n_paths, err);
    case ARCH_VAE:
        return run_vae(t, tool, paths, n_paths, err);
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct train t = {.seed = 1,
                      .k = "4,5",
                      .transform = "sqrt",
                      .length = "2000-20000",
                      .dims = 64,
                      .windows = 100,
                      .kmer.ridge = -1,
                      .vae = DNAS_TRAIN_VAE_DEFAULTS,
                      .latent = 32,
                      .epochs = 300,
                      .ranks.deadline_s = 600,
                      .cli = DNAS_TRAIN_NET_CLI};
    /* clang-format off */
    const struct dnas_opt opts[] = {
        {0, "arch", "NAME", DNAS_OPT_CHOICE, &t.arch, 0, 0, archs,
         "kmer, a map of k-mers; vae, an autoencoder; or a network (net): bert, hyena, esm"},
        {'s', "seed", "N", DNAS_OPT_INT, &t.seed, 0, 9007199254740991.0, NULL,
         "draws with this seed"},
        {0, "no-pg", NULL, DNAS_OPT_FLAG, &t.common.no_pg, 0, 0, NULL,
         "leave this command out of the model"},
        /* kmer */
        {'k', "k", "LIST", DNAS_OPT_TEXT, &t.k, 0, 0, NULL,
         "kmer: count k-mers of these lengths"},
        {0, "transform", "LIST", DNAS_OPT_TEXT, &t.transform, 0, 0, NULL,
         "kmer: frequency, sqrt, cbrt or log; one, or one for each k"},
        {0, "dims", "N", DNAS_OPT_INT, &t.dims, 1, 4096, NULL,
         "kmer: dimensions of the embedding"},
        {0, "ridge", "SHARE", DNAS_OPT_REAL, &t.kmer.ridge, 0, 1000, NULL,
         "kmer: added to variances, as a share of the largest [chosen on held-out genera]"},
        {0, "windows", "N", DNAS_OPT_INT, &t.windows, 2, 1e6, NULL,
         "kmer: windows drawn of each species"},
        {0, "length", "RANGE", DNAS_OPT_TEXT, &t.length, 0, 0, NULL,
         "kmer: letters of a window, BP or LO-HI"},
        {0, "shrink", NULL, DNAS_OPT_FLAG, &t.kmer.shrink, 0, 0, NULL,
         "kmer: shrink what is uncertain, in short sequences most"},
        {0, "hidden", "N", DNAS_OPT_INT, &t.hidden, 0, DNAS_KMER_WIDTH_MAX, NULL,
         "kmer: a network of N hidden values on the map; vae: width of layers; 0: none, 256"},
        {0, "hidden-steps", "N", DNAS_OPT_INT, &t.hidden_steps, 0, 1e9, NULL,
         "kmer: train it for N steps; 0: as held-out genera say"},
        {0, "hidden-objective", "NAME", DNAS_OPT_CHOICE, &t.objective, 0, 0, dnas_kmer_objectives,
         "kmer: its objective, supcon or wsimclr"},
        {0, "labels", "FILE", DNAS_OPT_TEXT, &t.labels_path, 0, 0, NULL,
         "kmer: take species from a TSV of id and label, before label= in the headers"},
        /* vae */
        {0, "latent", "N", DNAS_OPT_INT, &t.latent, 1, 4096, NULL,
         "vae: dimensions of the embedding"},
        {0, "epochs", "N", DNAS_OPT_INT, &t.epochs, 1, 100000, NULL,
         "vae: times that each sequence is looked at"},
        {0, "alpha", "X", DNAS_OPT_REAL, &t.vae.alpha, 0, 1e6, NULL,
         "vae: weight of the error"},
        {0, "beta", "X", DNAS_OPT_REAL, &t.vae.beta, 1e-6, 1e9, NULL,
         "vae: the divergence weighs 1 / (latent x beta)"},
        {0, "vae-dropout", "RATE", DNAS_OPT_REAL, &t.vae.dropout, 0, 0.9, NULL, "vae: dropout"},
        DNAS_TRAIN_NET_OPTIONS(t.cli),
        {0, "deadline", "SECONDS", DNAS_OPT_REAL, &t.ranks.deadline_s, 1, 1e9, NULL,
         "net: of several processes, how long one waits for the others"},
        {0, "rendezvous", "FOLDER", DNAS_OPT_TEXT, &t.ranks.rendezvous, 0, 0, NULL,
         "net: processes find each other in this folder that all see, without MPI"},
        {0, "job", "NAME", DNAS_OPT_TEXT, &t.ranks.job, 0, 0, NULL,
         "net: tells runs with one --rendezvous apart [the launcher's number of the job]"},
        {0},
    };
    /* clang-format on */
    const struct dnas_tool tool = {
        .name = "dnas-train",
        .summary = "train a model",
        .operands = "[FILE...]",
        .max_operands = -1,
        .writes_stream = false,
        .opts = opts,
        .example = "dnas-train --arch kmer -o model.safetensors genomes/*.fa.gz",
    };
    struct dnas_err err = {""};
    char **paths;
    int n_paths, status;

    dnas_train_net_listen();
    dnas_start(argv);
    status = dnas_opt_parse(&tool, &t.common, argc, argv, &paths, &n_paths);
    if (status < 0)
        status = check(&t, n_paths, &err);
    if (status < 0) {
        status = run(&t, &tool, paths, n_paths, &err);
        if (status < 0) {
            dnas_msg_error("%s", err.msg);
            status = 1;
        }
    }
    if (t.labels_path)
        dnas_labels_release(&t.labels);
    free(t.common.command_line);
    return dnas_finish(status);
}
