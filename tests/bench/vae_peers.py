#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# vae_peers.py - what bench_vae does, by PyTorch on one thread: rows a processor
# second of steps of training an autoencoder of VAMB's size.
#
#   vae_peers.py [ROUNDS]
import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # others would spin
import torch
from torch import nn

torch.set_num_threads(1)
I, H, L, ROWS = 103, 256, 32, 16384
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3


def block(inputs, outputs):
    return [nn.Linear(inputs, outputs), nn.LeakyReLU(0.01), nn.BatchNorm1d(outputs)]


print("batch\trows_per_cpu_s\ttorch " + torch.__version__)
for batch in (256, 4096):
    encoder = nn.Sequential(*block(I, H), *block(H, H), nn.Linear(H, L))
    decoder = nn.Sequential(*block(L, H), *block(H, H), nn.Linear(H, I))
    adam = torch.optim.Adam(list(encoder.parameters()) + list(decoder.parameters()), lr=1e-3)
    x, noise = torch.randn(batch, I), torch.randn(batch, L)
    best = 1e30
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(ROWS // batch):
            mu = encoder(x)
            y = decoder(mu + noise)
            loss = (0.5 * ((y - x) ** 2).mean(dim=1) + 0.5 * (mu**2).sum(dim=1) / (L * 200)).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        best = min(best, time.process_time() - start)
    print("%d\t%.0f" % (batch, ROWS / best))
