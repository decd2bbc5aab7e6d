#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bert_peers.py - times bench_bert's network in plain PyTorch.

usage: bert_peers.py [THREADS [SECONDS [TOKENS...]]]      (2 threads, 10 s a row, 512 and 2000 tokens)

The shape is DNABERT-2's: 12 layers, 768 channels, 12 heads, gated width 3072, ALiBi's bias (made once,
outside the clock) added to dense scores, layer norm after each half; f32, random weights, one sequence
of T tokens at a time.  Prints tokens a second, and a second of processor time; operations a second with
attention counted dense.  Debian's reference BLAS makes PyTorch some fifty times slower than OpenBLAS
does: install libopenblas0-pthread for a fair race.
"""
import os
import sys
import time

N_THREADS = sys.argv[1] if len(sys.argv) > 1 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import torch  # noqa: E402
import torch.nn.functional as nnf  # noqa: E402

L, C, H, F, V = 12, 768, 12, 3072, 4096


def slopes():
    """ALiBi's, as DNABERT-2 has them for 12 heads: those of 8, then every other one of 16."""
    return [2.0 ** -(h + 1) for h in range(8)] + [2.0 ** -(h + 0.5) for h in range(4)]


def layer():
    def normal(*shape):
        return 0.02 * torch.randn(*shape)

    return {"qkv": (normal(3 * C, C), normal(3 * C)), "out": (normal(C, C), normal(C)),
            "norm1": (torch.ones(C), normal(C)), "gated": normal(2 * F, C),
            "down": (normal(C, F), normal(C)), "norm2": (torch.ones(C), normal(C))}


def forward(x, layers, bias):
    n = x.shape[0]
    for y in layers:
        q, k, v = nnf.linear(x, *y["qkv"]).view(n, 3, H, C // H).permute(1, 2, 0, 3)
        scores = torch.matmul(q, k.transpose(1, 2)) / (C // H) ** 0.5 + bias
        mixed = torch.matmul(torch.softmax(scores, -1), v).transpose(0, 1).reshape(n, C)
        x = nnf.layer_norm(nnf.linear(mixed, *y["out"]) + x, (C,), *y["norm1"], 1e-12)
        z, gate = nnf.linear(x, y["gated"]).split(F, -1)
        x = nnf.layer_norm(nnf.linear(nnf.gelu(z) * gate, *y["down"]) + x, (C,), *y["norm2"], 1e-12)
    return x


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    lengths = [int(a) for a in sys.argv[3:]] or [512, 2000]
    torch.set_num_threads(int(N_THREADS))
    torch.manual_seed(1)
    words, layers = 0.02 * torch.randn(V, C), [layer() for _ in range(L)]
    print(f"== the same shape in PyTorch {torch.__version__}; {N_THREADS} threads")
    with torch.inference_mode():
        for n in lengths:
            ids, at = torch.randint(V, (n,)), torch.arange(n, dtype=torch.float32)
            bias = -torch.tensor(slopes())[:, None, None] * (at[:, None] - at[None, :]).abs()
            forward(words[ids[:64]], layers, bias[:, :64, :64])  # oneDNN and the allocator warm up
            n_runs, start, cpu = 0, time.perf_counter(), time.process_time()
            while n_runs == 0 or time.perf_counter() - start < seconds:
                x = nnf.layer_norm(words[ids], (C,))
                forward(x, layers, bias)
                n_runs += 1
            took, cpu = time.perf_counter() - start, time.process_time() - cpu
            flop = n * (2 * L * (4 * C * C + 3 * F * C) + 4 * C * L * n)
            print(f"{n:7d} tokens {n_runs * n / took:8.0f} tokens/s ({n_runs * n / cpu:.0f} a processor second)"
                  f" {n_runs * flop / took * 1e-9:7.0f} GFLOP/s"
                  " done, attention dense", flush=True)


if __name__ == "__main__":
    main()
