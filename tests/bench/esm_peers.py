#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""esm_peers.py - times bench_esm's network in plain PyTorch.

usage: esm_peers.py [THREADS [SECONDS [SIZE [TOKENS...]]]]      (2 threads, 10 s a row, 100m, 512 and 2048 tokens)

The shapes are Nucleotide Transformer v2's; f32, random weights, one sequence of T tokens at a time,
the table of turns made once, outside the clock.  Prints tokens a second, and a second of processor
time.  Debian's reference BLAS makes PyTorch some fifty times slower than OpenBLAS does: install
libopenblas0-pthread for a fair race.
"""
import os
import sys
import time

N_THREADS = sys.argv[1] if len(sys.argv) > 1 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import torch  # noqa: E402
import torch.nn.functional as nnf  # noqa: E402

SIZES = {"50m": (12, 512, 2048), "100m": (22, 512, 2048), "250m": (24, 768, 3072), "500m": (29, 1024, 4096)}
H, V = 16, 4107


def layer(C, F):
    def normal(*shape):
        return 0.02 * torch.randn(*shape)

    return {"norm1": (torch.ones(C), normal(C)), "q": (normal(C, C), normal(C)), "k": (normal(C, C), normal(C)),
            "v": (normal(C, C), normal(C)), "out": (normal(C, C), normal(C)), "norm2": (torch.ones(C), normal(C)),
            "gated": normal(2 * F, C), "down": normal(C, F)}


def turned(x, turns):
    a, b = x.chunk(2, dim=-1)
    return x * turns[0] + torch.cat((-b, a), dim=-1) * turns[1]


def forward(x, layers, turns):
    n, C = x.shape
    for y in layers:
        a = nnf.layer_norm(x, (C,), *y["norm1"], 1e-12)
        q, k, v = (nnf.linear(a, *y[p]).view(n, H, C // H).transpose(0, 1) for p in "qkv")
        scores = torch.matmul(turned(q, turns) / (C // H) ** 0.5, turned(k, turns).transpose(1, 2))
        mixed = torch.matmul(torch.softmax(scores, -1), v).transpose(0, 1).reshape(n, C)
        x = x + nnf.linear(mixed, *y["out"])
        z, gate = nnf.linear(nnf.layer_norm(x, (C,), *y["norm2"], 1e-12), y["gated"]).chunk(2, -1)
        x = x + nnf.linear(nnf.silu(z) * gate, y["down"])
    return nnf.layer_norm(x, (C,))


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    L, C, F = SIZES[sys.argv[3] if len(sys.argv) > 3 else "100m"]
    lengths = [int(a) for a in sys.argv[4:]] or [512, 2048]
    torch.set_num_threads(int(N_THREADS))
    torch.manual_seed(1)
    words, layers = 0.02 * torch.randn(V, C), [layer(C, F) for _ in range(L)]
    print(f"== the same shape in PyTorch {torch.__version__}; {N_THREADS} threads")
    with torch.inference_mode():
        for n in lengths:
            theta = 10000.0 ** (-torch.arange(0, C // H, 2) / (C // H))
            angle = (torch.arange(n)[:, None] * theta).repeat(1, 2)
            turns, ids = (angle.cos(), angle.sin()), torch.randint(V, (n,))
            forward(words[ids[:64]], layers, (turns[0][:64], turns[1][:64]))  # oneDNN and the allocator warm up
            n_runs, start, cpu = 0, time.perf_counter(), time.process_time()
            while n_runs == 0 or time.perf_counter() - start < seconds:
                forward(words[ids], layers, turns)
                n_runs += 1
            took, cpu = time.perf_counter() - start, time.process_time() - cpu
            print(f"{n:7d} tokens {n_runs * n / took:8.0f} tokens/s ({n_runs * n / cpu:.0f} a processor second)",
                  flush=True)


if __name__ == "__main__":
    main()
