#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hyena_peers.py - times bench_hyena's network in plain PyTorch.

usage: hyena_peers.py [THREADS [SECONDS [TOKENS...]]]      (2 threads, 10 s a row, 1000 and 20000 tokens)

The shape is hyenadna-medium-450k's: 8 layers, 256 channels, 1024 inner; f32, random weights, one sequence
at a time; long convolutions by torch.fft with the padding of the original code.  The filters are drawn,
not made, outside the clock; install libopenblas0-pthread for a fair race.  Prints tokens a second, and a second of processor time.
"""
import os
import sys
import time

N_THREADS = sys.argv[1] if len(sys.argv) > 1 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import torch  # noqa: E402
import torch.nn.functional as nnf  # noqa: E402

L, C, F, V = 8, 256, 1024, 16


def layer(n_tokens):
    def normal(*shape):
        return 0.02 * torch.randn(*shape)

    return {"in": (normal(3 * C, C), normal(3 * C)), "short": (normal(3 * C, 1, 3), normal(3 * C)),
            "filter": normal(C, n_tokens), "skip": normal(C, 1), "out": (normal(C, C), normal(C)),
            "up": (normal(F, C), normal(F)), "down": (normal(C, F), normal(C))}


def forward(x, layers):
    n = len(x)
    for w in layers:
        p = nnf.linear(nnf.layer_norm(x, (C,)), *w["in"]).T
        c = nnf.conv1d(p[None], *w["short"], padding=2, groups=3 * C)[0, :, :n]
        x0, x1, v = c.split(C)
        v = v * x1
        y = torch.fft.irfft(torch.fft.rfft(v, n=2 * n) * torch.fft.rfft(w["filter"], n=2 * n), n=2 * n)[:, :n]
        x = x + nnf.linear(((y + v * w["skip"]) * x0).T, *w["out"])
        x = x + nnf.linear(nnf.gelu(nnf.linear(nnf.layer_norm(x, (C,)), *w["up"]), approximate="tanh"), *w["down"])
    return nnf.layer_norm(x, (C,))


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    torch.set_num_threads(int(N_THREADS))
    table = torch.randn(V, C)
    for n in [int(t) for t in sys.argv[3:]] or [1000, 20000]:
        layers = [layer(n) for _ in range(L)]
        ids = torch.randint(V, (n,))
        done = 0
        with torch.no_grad():
            forward(table[ids], layers)
            start, cpu = time.time(), time.process_time()
            while time.time() - start < seconds:
                forward(table[ids], layers)
                done += n
        took, cpu = time.time() - start, time.process_time() - cpu
        print("%7d tokens %8.0f tokens/s (%.0f a processor second)" % (n, done / took, done / cpu), flush=True)


if __name__ == "__main__":
    main()
