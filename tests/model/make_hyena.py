#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_hyena.py - gradients of HyenaDNA's network by PyTorch's autograd in float64,
# for common/hyena_tape.c.
#
#   make_hyena.py > tests/data/training/hyena.txt
#
# The network is written here in plain steps, on the weights and the positions of
# tests/data/golden/hyena_tiny, whose embeddings (the original code's, in float64) it
# must give first.  The loss is sum of out[t,c] cos(0.37 (48 t + c)); of each tensor's
# gradient: its norm, and every stride-th element.
import json
import struct
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
GOLDEN = "tests/data/golden/hyena_tiny/"
PREFIX = "hyena.backbone."
SHOWN = 24


def tensors():
    raw = open(GOLDEN + "model.safetensors", "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name.startswith(PREFIX):
            a, b = (8 + n + x for x in t["data_offsets"])
            x = np.frombuffer(raw[a:b], np.float32).reshape(t["shape"])
            out[name[len(PREFIX):]] = torch.tensor(x.astype(np.float64))
    return out


def norm(x, w, name):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def convolve(u, k):
    """sum over s of k[s] u[t - s], for each column."""
    n = 2 * len(u)
    return torch.fft.irfft(torch.fft.rfft(u, n, dim=0) * torch.fft.rfft(k, n, dim=0), n, dim=0)[:len(u)]


def block(x, w, l):
    mixer, T, C = "layers.%d.mixer." % l, *x.shape
    implicit = mixer + "filter_fn.implicit_filter."
    p = linear(norm(x, w, "layers.%d.norm1" % l), w, mixer + "in_proj")
    p = torch.cat([torch.zeros(2, 3 * C), p])
    taps = w[mixer + "short_filter.weight"]
    c = w[mixer + "short_filter.bias"] + sum(p[k:k + T] * taps[:, 0, k] for k in range(3))
    h = w[mixer + "filter_fn.pos_emb.z"][0, :T]
    for i in (0, 2, 4):
        h = torch.sin(w[implicit + "1.freq"] * linear(h, w, implicit + str(i)))
    t, delta = w[mixer + "filter_fn.pos_emb.t"][0, :T], w[mixer + "filter_fn.modulation.deltas"][0]
    k = h @ w[implicit + "6.weight"].T * (torch.exp(-t * delta.abs()) + 0.05)
    u = c[:, C:2 * C] * c[:, 2 * C:]
    y = convolve(u, k) + u * w[mixer + "filter_fn.bias"]
    x = x + linear(y * c[:, :C], w, mixer + "out_proj")
    z = linear(norm(x, w, "layers.%d.norm2" % l), w, "layers.%d.mlp.fc1" % l)
    z = z / 2 * (1 + torch.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3)))
    return x + linear(z, w, "layers.%d.mlp.fc2" % l)


def network(ids, w):
    x = w["embeddings.word_embeddings.weight"][ids]
    for l in range(3):
        x = block(x, w, l)
    return norm(x, w, "ln_f")


w = tensors()
golden = np.load(GOLDEN + "forward.npz")
for row, T in enumerate(golden["lengths"]):
    got = network(torch.tensor(golden["input_ids"][row, :T].astype(np.int64)), w).mean(0).numpy()
    want = golden["embedding_f64"][row]
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    if not error < 2e-7:
        sys.exit("sequence %d: embedding off by %g" % (row, error))

learnt = [k for k in w if "pos_emb" not in k and "deltas" not in k and ".3.freq" not in k and ".5.freq" not in k]
for k in learnt:
    w[k].requires_grad_(True)
torch.manual_seed(20261121)
loss = 0
for i, T in enumerate((70, 33)):
    ids = torch.randint(7, 12, (T,))
    ids[-1] = 1
    print("ids%d" % i, *ids.tolist())
    out = network(ids, w)
    loss = loss + (out * torch.cos(0.37 * torch.arange(T * 48)).reshape(T, 48)).sum()
print("loss %.17g" % loss.item())
loss.backward()
for k in learnt:
    g = w[k].grad.flatten()
    shown = g[::(len(g) + SHOWN - 1) // SHOWN]
    print(k, "%.17g" % g.norm().item(), *("%.9g" % v for v in shown.tolist()))
