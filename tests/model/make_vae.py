#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_vae.py - a small variational autoencoder of VAMB's kind in PyTorch, in
# float64: its loss, gradients, and encoder after two batches.
#
#   make_vae.py > tests/data/training/vae.txt
import torch
from torch import nn

torch.manual_seed(20261121)
torch.set_default_dtype(torch.float64)
I, H, L, B, ALPHA, BETA = 7, 6, 3, 9, 0.5, 20.0


def f32(*shape, scale=1.0):
    """Numbers that f32 holds exactly."""
    return (scale * torch.randn(*shape)).float().double()


def show(name, values):
    print(name, *("%.17g" % v for v in values.detach().flatten().tolist()))


def block(inputs, outputs):
    return [nn.Linear(inputs, outputs), nn.LeakyReLU(0.01), nn.BatchNorm1d(outputs)]


encoder = nn.Sequential(*block(I, H), *block(H, H), nn.Linear(H, L))
decoder = nn.Sequential(*block(L, H), *block(H, H), nn.Linear(H, I))
parameters = list(encoder.parameters()) + list(decoder.parameters())
with torch.no_grad():
    for p in parameters:
        p.copy_(f32(*p.shape, scale=0.5))

print("# torch", torch.__version__)
show("weights", torch.cat([p.flatten() for p in parameters]))
for step in range(2):
    x, noise, weight = f32(B, I), f32(B, L), (0.5 + f32(B).abs()).float().double()
    mu = encoder(x)
    y = decoder(mu + noise)
    error = ((y - x) ** 2).sum(dim=1) / I
    divergence = 0.5 * (mu**2).sum(dim=1)
    loss = (weight * (ALPHA * error + divergence / (L * BETA))).mean()
    for p in parameters:
        p.grad = None
    loss.backward()
    show("x%d" % step, x)
    show("noise%d" % step, noise)
    show("weight%d" % step, weight)
    show("loss%d" % step, torch.stack([loss, (weight * error).mean(), (weight * divergence).mean()]))
    show("gradients%d" % step, torch.cat([p.grad.flatten() for p in parameters]))
encoder.eval()
show("encoded", encoder(x))
