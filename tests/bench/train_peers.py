#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""train_peers.py - times bench_train's step in plain PyTorch.

usage: train_peers.py [THREADS [PAIRS [TOKENS]]]      (2 threads, 2 pairs of 2,000 tokens)

The networks and the objective are bench_train's: 4 layers of 256 channels and 12 of 768, ALiBi's bias (made
once, outside the clock) on dense scores, mean over tokens, the contrastive head, Weighted SimCLR at
temperature 0.05, dropout 0.1 after the embedding, attention's output and the gate; forward of all rows at
once, backward by autograd; f32.  No optimizer step, as there.  Prints seconds a step, of processor time
beside them.  Debian's reference BLAS makes PyTorch some fifty times slower than OpenBLAS does: install
libopenblas0-pthread for a fair race.
"""
import os
import sys
import time

N_THREADS = sys.argv[1] if len(sys.argv) > 1 else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import torch  # noqa: E402
import torch.nn.functional as nnf  # noqa: E402

V, P, TEMPERATURE, DROPOUT = 4096, 128, 0.05, 0.1


def slopes(n):
    """ALiBi's: of the power of two below, then every other one of the power above."""
    power = 1
    while 2 * power <= n:
        power *= 2
    return [2.0 ** (-8 * (h + 1) / power) for h in range(power)] + [
        2.0 ** (-8 * (h + 0.5) / power) for h in range(n - power)]


class Net:
    def __init__(self, n_layers, width, heads, inner):
        def normal(*shape):
            return (0.02 * torch.randn(*shape)).requires_grad_()

        self.width, self.heads = width, heads
        self.words = normal(V, width)
        self.layers = [{"qkv": normal(3 * width, width), "qkv_b": normal(3 * width), "out": normal(width, width),
                        "out_b": normal(width), "gated": normal(2 * inner, width), "down": normal(width, inner),
                        "down_b": normal(width)} for _ in range(n_layers)]
        self.head = [normal(width, width), normal(P, width)]

    def rows(self, ids, bias):
        n, c, h = ids.shape[1], self.width, self.heads
        x = nnf.dropout(nnf.layer_norm(self.words[ids], (c,)), DROPOUT)
        for y in self.layers:
            q, k, v = nnf.linear(x, y["qkv"], y["qkv_b"]).view(-1, n, 3, h, c // h).permute(2, 0, 3, 1, 4)
            p = torch.softmax(torch.matmul(q, k.transpose(2, 3)) / (c // h) ** 0.5 + bias, -1)
            mixed = torch.matmul(p, v).transpose(1, 2).reshape(-1, n, c)
            x = nnf.layer_norm(nnf.dropout(nnf.linear(mixed, y["out"], y["out_b"]), DROPOUT) + x, (c,))
            z, gate = nnf.linear(x, y["gated"]).chunk(2, -1)
            x = nnf.layer_norm(nnf.linear(nnf.dropout(nnf.gelu(z) * gate, DROPOUT), y["down"], y["down_b"]) + x, (c,))
        z = nnf.linear(torch.relu(nnf.linear(x.mean(1), self.head[0])), self.head[1])
        return nnf.normalize(z)


def loss_of(z):
    """Weighted SimCLR (Zhou et al. 2024, equation 2) with every other row a negative."""
    n = z.shape[0] // 2
    s = z @ z.T / TEMPERATURE
    others = ~torch.eye(2 * n, dtype=torch.bool)
    partner = torch.arange(2 * n).roll(n)
    positive = torch.zeros_like(others).scatter_(1, partner[:, None], True)
    negative = s.masked_fill(~(others & ~positive), float("-inf"))
    weight = torch.softmax(negative.detach(), 1) * (2 * n - 2)
    below = torch.exp(s[positive]) + (weight * torch.exp(negative)).sum(1)
    return (torch.log(below) - s[positive]).mean()


def main():
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    torch.set_num_threads(int(N_THREADS))
    torch.manual_seed(1)
    ids, at = torch.randint(V, (2 * pairs, n)), torch.arange(n, dtype=torch.float32)
    print(f"== the same steps in PyTorch {torch.__version__}; {N_THREADS} threads")
    for name, shape in {"4 x 256": (4, 256, 4, 1024), "12 x 768": (12, 768, 12, 3072)}.items():
        net = Net(*shape)
        bias = -torch.tensor(slopes(shape[2]))[:, None, None] * (at[:, None] - at[None, :]).abs()
        loss_of(net.rows(ids[:, :64], bias[:, :64, :64])).backward()  # oneDNN and the allocator warm up
        start, cpu = time.perf_counter(), time.process_time()
        loss = loss_of(net.rows(ids, bias))
        loss.backward()
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        if not torch.isfinite(loss):
            sys.exit("the loss is not finite")
        print(f"{name:10s} wsimclr  dropout {DROPOUT}  {took:6.2f} s a step of {pairs} pairs ({cpu:.2f} of processor"
              f" time)  {2 * pairs * n / took:6.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
