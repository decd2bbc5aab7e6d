#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_nt.py - a small network of Nucleotide Transformer v2's kind with random
# weights, its hidden states, logits and gradients, by Hugging Face's code.
#
#   make_nt.py tests/data/golden/nt_tiny
#
# The code is EsmForMaskedLM of the package transformers (4.46.3, with PyTorch
# 1.13), which has everything but the gated feed-forward part: that is put in
# below, as the configuration of the published models describes it (SwiGLU, no
# biases).  Everything is computed in float64 but `hidden`, which is float32.
import json
import os
import sys

import numpy
import torch
from safetensors.torch import save_file
from transformers import EsmConfig, EsmForMaskedLM

SEED = 20261121
LENGTHS = [1, 7, 64, 129, 2048]
LETTERS = "ATCG"


class Gated(torch.nn.Module):
    """In the place of EsmIntermediate."""

    def __init__(self, config):
        super().__init__()
        self.dense = torch.nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)

    def forward(self, x):
        z, gate = self.dense(x).chunk(2, dim=-1)
        return torch.nn.functional.silu(z) * gate


def vocabulary():
    """As Nucleotide Transformer's, with words of two letters."""
    words = [a + b for a in LETTERS for b in LETTERS]
    return ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>"] + words + list(LETTERS) + ["N"]


def make_model(config):
    torch.manual_seed(SEED)
    model = EsmForMaskedLM(config).eval()
    for layer in model.esm.encoder.layer:
        layer.intermediate = Gated(config)
        layer.output.dense = torch.nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
    for name, p in model.named_parameters():
        if "norm" in name.lower():
            p.data = torch.randn(p.shape) * 0.3 + (1 if name.endswith("weight") else 0)
        elif p.dim() == 2:
            p.data = torch.randn(p.shape) * 1.5 / p.shape[1] ** 0.5
        else:
            p.data = torch.randn(p.shape) * 0.3
    return model


def weight(T, C):
    """The gradient of the last hidden states that backward begins with."""
    t, c = torch.arange(T, dtype=torch.float64), torch.arange(C, dtype=torch.float64)
    return torch.sin(1 + 0.37 * t[:, None] + 1.3 * c[None, :]) / T


def main():
    folder = sys.argv[1]
    tokens = vocabulary()
    config = EsmConfig(
        vocab_size=len(tokens), mask_token_id=2, pad_token_id=1, hidden_size=24, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        max_position_embeddings=20, layer_norm_eps=1e-12, position_embedding_type="rotary",
        emb_layer_norm_before=False, token_dropout=False, tie_word_embeddings=False, add_bias_fnn=False,
        is_folding_model=False)
    model = make_model(config)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "vocab.txt"), "w").write("\n".join(tokens))
    kept = {k: v for k, v in config.to_dict().items() if k in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "layer_norm_eps", "position_embedding_type", "emb_layer_norm_before", "token_dropout", "model_type",
        "tie_word_embeddings", "add_bias_fnn", "max_position_embeddings", "mask_token_id", "pad_token_id")}
    json.dump(kept, open(os.path.join(folder, "config.json"), "w"), indent=2, sort_keys=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, os.path.join(folder, "model.safetensors"))

    rng = numpy.random.default_rng(SEED)
    ids = [numpy.concatenate([[3], rng.integers(6, len(tokens), T - 1)]) for T in LENGTHS]
    out = {"input_ids": numpy.concatenate(ids).astype("i8"), "lengths": numpy.array(LENGTHS, "i8")}
    hidden, means, logits = [], [], []
    with torch.no_grad():  # never one length twice in a row: the tables of turns are kept by it
        for x in ids:
            row = model.double()(torch.tensor(x)[None], output_hidden_states=True)
            means.append(row.hidden_states[-1][0].mean(0).numpy())
            logits.append(row.logits[0].mean(0).numpy())
        for x in ids[:4]:
            hidden.append(model.float().esm(torch.tensor(x)[None])[0][0].numpy())
    out.update(hidden=numpy.concatenate(hidden), embedding_f64=numpy.stack(means), logits_f64=numpy.stack(logits))
    numpy.savez(os.path.join(folder, "forward.npz"), **out)

    model.double().zero_grad()
    for x, T in list(zip(ids, LENGTHS))[:4]:
        (model.esm(torch.tensor(x)[None])[0][0] * weight(T, config.hidden_size)).sum().backward()
    grads = {k: p.grad.float().contiguous() for k, p in model.esm.named_parameters() if p.grad is not None}
    save_file(grads, os.path.join(folder, "gradients.safetensors"))


main()
