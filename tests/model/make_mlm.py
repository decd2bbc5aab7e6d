#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_mlm.py - loss and gradients of masked-language-model training for the
# network in tests/data/golden/dnabert2_tiny, by PyTorch's autograd in float64.
#
#   make_mlm.py > tests/data/training/mlm.txt
#
# The network is written out below in plain steps, and checked against the
# hidden states and embeddings that the original code gave.  On top of it comes
# DNABERT-2's head (cls.predictions): dense, GELU, layer norm, and a decoder whose
# matrix is the word embeddings, with a bias of its own.  Its weights are
# fixed(...) below; tests/model/mlm_numbers.h has the same function.  Loss: the
# mean over all masked positions of the batch.  No dropout; row 0 of the word
# embeddings is trained like any other.
import json
import math
import os
import struct

import numpy
import torch

torch.set_default_dtype(torch.float64)
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/golden/dnabert2_tiny")
L, C, H, F, V = 3, 96, 6, 192, 256
MASK = 4


def safetensors(path):
    """Tensors of f32 by name, in float64."""
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    out = {}
    for name, t in json.loads(raw[8 : 8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            x = numpy.frombuffer(raw[8 + n + a : 8 + n + b], "<f4").reshape(t["shape"])
            out[name] = torch.tensor(x.astype("f8"))
    return out


def fixed(stream, shape, scale):
    """Numbers on [-scale, scale), exact in f32 for a power of two: murmur3's last mix of a counter."""
    x = numpy.arange(math.prod(shape), dtype=numpy.uint64) + stream * 1000003
    x = x & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x85EBCA6B & 0xFFFFFFFF
    x ^= x >> 13
    x = x * 0xC2B2AE35 & 0xFFFFFFFF
    x ^= x >> 16
    return torch.tensor(((x >> 8).astype("f8") * 2.0**-23 - 1) * scale).reshape(shape)


def layer_norm(x, w, b):
    return torch.nn.functional.layer_norm(x, (C,), w, b, 1e-12)


SLOPES = torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3])


def forward(w, ids):
    T = len(ids)
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"])
    distance = (torch.arange(T)[:, None] - torch.arange(T)[None, :]).abs()
    for l in range(L):
        p = "encoder.layer.%d." % l
        qkv = x @ w[p + "attention.self.Wqkv.weight"].T + w[p + "attention.self.Wqkv.bias"]
        q, k, v = (part.reshape(T, H, C // H).transpose(0, 1) for part in qkv.split(C, 1))
        s = q @ k.transpose(1, 2) / math.sqrt(C // H) - SLOPES[:, None, None] * distance
        o = (torch.softmax(s, 2) @ v).transpose(0, 1).reshape(T, C)
        o = o @ w[p + "attention.output.dense.weight"].T + w[p + "attention.output.dense.bias"]
        x = layer_norm(o + x, w[p + "attention.output.LayerNorm.weight"], w[p + "attention.output.LayerNorm.bias"])
        g = x @ w[p + "mlp.gated_layers.weight"].T
        h = torch.nn.functional.gelu(g[:, :F]) * g[:, F:]
        h = h @ w[p + "mlp.wo.weight"].T + w[p + "mlp.wo.bias"]
        x = layer_norm(h + x, w[p + "mlp.layernorm.weight"], w[p + "mlp.layernorm.bias"])
    return x


def check_network(w):
    golden = numpy.load(os.path.join(GOLDEN, "forward.npz"))
    at = 0
    for row, n in enumerate(golden["lengths"]):
        x = forward(w, torch.tensor(golden["input_ids"][row, :n].astype("i8")))
        hidden = numpy.abs(x.numpy() - golden["hidden_last"][at : at + n]).max()
        mean = numpy.abs(x.numpy().mean(0) - golden["embedding_f64"][row]).max()
        # Hidden states were in f32, embeddings in f64 from weights and ALiBi's slopes in f32.
        assert hidden < 2e-5 and mean < 1e-9, (row, hidden, mean)
        at += n


def show(name, values):
    print(name, *("%.10g" % v for v in torch.as_tensor(values, dtype=torch.float64).flatten().tolist()))


w = safetensors(os.path.join(GOLDEN, "model.safetensors"))
w = {name: x for name, x in w.items() if not name.startswith("pooler.")}
check_network(w)

P = "cls.predictions."
w[P + "transform.dense.weight"] = fixed(1, (C, C), 2.0**-3)
w[P + "transform.dense.bias"] = fixed(2, (C,), 2.0**-3)
w[P + "transform.LayerNorm.weight"] = fixed(3, (C,), 2.0**-3)
w[P + "transform.LayerNorm.bias"] = fixed(4, (C,), 2.0**-4)
w[P + "decoder.bias"] = fixed(5, (V,), 2.0**-2)
for x in w.values():
    x.requires_grad_()

# Three sequences; of each some positions are asked for, as BERT's rule would:
# most show [MASK], one another id, one is as it was.  The last has only one.
rng = numpy.random.default_rng(20261120)
print("# torch", torch.__version__)
total, n_asked = 0, 0
for row, (T, asked) in enumerate([(40, 6), (65, 10), (9, 1)]):
    ids = rng.integers(5, V, T)
    ids[0], ids[-1] = 1, 2
    at = numpy.sort(rng.choice(numpy.arange(1, T - 1), asked, replace=False))
    seen = ids.copy()
    seen[at] = MASK
    if asked > 2:
        seen[at[1]] = rng.integers(5, V)
        seen[at[2]] = ids[at[2]]
    show("ids_%d" % row, seen)
    show("at_%d" % row, at)
    show("was_%d" % row, ids[at])
    x = forward(w, torch.tensor(seen))[torch.tensor(at)]
    x = x @ w[P + "transform.dense.weight"].T + w[P + "transform.dense.bias"]
    x = torch.nn.functional.gelu(x)
    x = layer_norm(x, w[P + "transform.LayerNorm.weight"], w[P + "transform.LayerNorm.bias"])
    logits = x @ w["embeddings.word_embeddings.weight"].T + w[P + "decoder.bias"]
    total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(ids[at]), reduction="sum")
    n_asked += asked
    if row == 0:
        show("logits_0_0", logits[0].detach())  # of the first position asked for
loss = total / n_asked
show("loss", loss.detach())

# Of every tensor's gradient its norm and its product with fixed(9, ...), whose
# counter runs over the tensor; of some all or a row.
names = sorted(w)
slopes = dict(zip(names, torch.autograd.grad(loss, [w[n] for n in names])))
for name in names:
    g = slopes[name]
    show("norm:" + name, g.norm())
    show("dot:" + name, (g * fixed(9, tuple(g.shape), 1.0)).sum())
for name in [
    P + "transform.dense.bias",
    P + "transform.LayerNorm.weight",
    P + "transform.LayerNorm.bias",
    P + "decoder.bias",
    "embeddings.LayerNorm.weight",
    "encoder.layer.0.attention.self.Wqkv.bias",
    "encoder.layer.2.mlp.layernorm.bias",
]:
    show("all:" + name, slopes[name])
for name, row in [
    (P + "transform.dense.weight", 17),
    ("embeddings.word_embeddings.weight", MASK),
    ("embeddings.word_embeddings.weight", 0),
    ("encoder.layer.1.mlp.gated_layers.weight", 5),
]:
    show("row%d:%s" % (row, name), slopes[name][row])
