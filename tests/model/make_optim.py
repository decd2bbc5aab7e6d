#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_optim.py - weights after steps of torch.optim's Adam and AdamW, with its
# clip_grad_norm_ and LambdaLR, in float64.
#
#   make_optim.py > tests/data/training/optim.txt
#
# Three groups: 11 weights; 37 with a hundred times the rate; 5 without decay.
import math

import torch

torch.manual_seed(20261121)
torch.set_default_dtype(torch.float64)
SIZES, STEPS = (11, 37, 5), 12


def show(name, values):
    print(name, *("%.17g" % v for v in torch.as_tensor(values, dtype=torch.float64).flatten().tolist()))


print("# torch", torch.__version__)
start = torch.randn(sum(SIZES)).float().double()
# From step to step larger, so that clipping acts on some of them.
slopes = (torch.randn(STEPS, sum(SIZES)) * torch.linspace(0.02, 0.4, STEPS)[:, None]).float().double()
show("start", start)
show("slopes", slopes)


def warm(then):
    """A warm-up of 4 steps, then a share of how much is done."""
    return lambda s: (s + 1) / 4 if s < 4 else then((s - 4) / (10 - 4) if s < 10 else 1.0)


def run(name, kind, decay=0.0, clip=0.0, share=lambda s: 1.0):
    w = [torch.nn.Parameter(p.clone()) for p in torch.split(start, SIZES)]
    groups = [
        {"params": [w[0]], "weight_decay": decay},
        {"params": [w[1]], "weight_decay": decay, "lr": 1.0},
        {"params": [w[2]], "weight_decay": 0.0},
    ]
    optimizer = kind(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    rates, norms = [], []
    for step in range(STEPS):
        for p, g in zip(w, torch.split(slopes[step], SIZES)):
            p.grad = g.clone()
        norms.append(float(torch.nn.utils.clip_grad_norm_(w, clip if clip else math.inf)))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    show(name, torch.cat([p.detach() for p in w]))
    show(name + "_rates", torch.tensor(rates))
    show(name + "_norms", torch.tensor(norms))


run("adam", torch.optim.Adam)
run("adam_decay", torch.optim.Adam, decay=0.1)
run("adamw", torch.optim.AdamW, decay=0.1)
run("adamw_clip", torch.optim.AdamW, decay=0.1, clip=1.0)
run("adamw_cosine", torch.optim.AdamW, decay=0.1, share=warm(lambda x: 0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2))
run("adam_linear", torch.optim.Adam, share=warm(lambda x: 1 - x))
run("adam_warm", torch.optim.Adam, clip=1.0, share=warm(lambda x: 1.0))
