/* SPDX-License-Identifier: MIT
 *
 * vae.h - a variational autoencoder over rows of numbers, as VAMB's (Nissen et
 * al. 2021) with one sample and no abundances: the network, its loss and its
 * gradients.  train_vae.h feeds it.
 *
 *   encoder  I -> H -> H -> L = mu        decoder  L -> H -> H -> I = y
 *   z = mu + noise                        noise: standard normal (sigma is 1, as in VAMB 4 on)
 *
 * Each layer is linear; those of width H are followed by leaky ReLU (0.01), dropout and batch
 * normalisation (Ioffe and Szegedy 2015; eps 1e-5), in this order.  With a weight w for each row,
 *   loss = mean over rows of w (alpha / I |y - x|^2 + 1 / (L beta) |mu|^2 / 2),
 * the last term being the divergence of N(mu, 1) from N(0, 1).
 */
#ifndef DNAS_VAE_H
#define DNAS_VAE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DNAS_VAE_LAYERS 6  /* 0, 1: encoder; 2: mu; 3, 4: decoder; 5: y */
#define DNAS_VAE_ENCODER 3 /* of them make mu */

struct dnas_vae_options {
    size_t I, H, L;
    size_t max_rows; /* of a batch */
    double alpha, beta;
    double dropout; /* rate, below 1 */
    uint64_t seed;  /* draws DNAS_RNG_VAE_WEIGHTS and DNAS_RNG_VAE_DROPOUT */
    int n_threads;
};

/* Where a layer's numbers lie among the weights, and among the gradients alike. */
struct dnas_vae_layer {
    size_t I, O;
    size_t weight, bias; /* [O,I], [O] */
    size_t scale, shift; /* [O] each, of batch normalisation; 0: the layer has none */
};

struct dnas_vae;

/* A network with weights as PyTorch draws them (uniform within 1 / sqrt(inputs); scale 1, shift
 * 0).  A size of 0 is a bug.  Free with dnas_vae_free, which takes NULL. */
struct dnas_vae *dnas_vae_new(const struct dnas_vae_options *options);
void dnas_vae_free(struct dnas_vae *v);

const struct dnas_vae_layer *dnas_vae_get_layer(const struct dnas_vae *v, int layer);
size_t dnas_vae_n_weights(const struct dnas_vae *v);
/* f32 [n_weights]; the caller may change the weights between calls. */
float *dnas_vae_weights(struct dnas_vae *v);
const float *dnas_vae_gradients(const struct dnas_vae *v);

struct dnas_vae_loss {
    double total;
    double error;      /* mean over rows of w |y - x|^2 / I */
    double divergence; /* mean over rows of w |mu|^2 / 2 */
};

/* The loss of a batch and the gradient of its total; running means and variances of batch
 * normalisation move a tenth of the way to the batch's (variances unbiased).
 *   x      f32 [B,I]      w  f32 [B]      noise  f32 [B,L]      B from 2 to max_rows, else a bug
 *   step   names the numbers of dropout
 * The same bits for any number of threads, on one instruction set. */
void dnas_vae_step(struct dnas_vae *v, struct dnas_vae_loss *loss, const float *x, const float *w,
                   const float *noise, size_t B, uint32_t step);

/* Encoder layer 0, 1 or 2 as it is once trained, with the batch normalisation before it (by the
 * running numbers) worked in: weight f32 [O,I], bias f32 [O].  Layers 0 and 1 are followed by leaky
 * ReLU, and that is all. */
void dnas_vae_encoder(const struct dnas_vae *v, int layer, float *weight, float *bias);

#ifdef __cplusplus
}
#endif
#endif
