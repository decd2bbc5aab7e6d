#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""train_peers.py - times bench_train's step in plain PyTorch.

usage: train_peers.py [THREADS [PAIRS [TOKENS]]]      (2 threads, 2 pairs of 2,000 tokens)
       train_peers.py gpu [--tiny] [FILE]             48 pairs on GPU number 0; tiny: on the CPU

The networks and the objectives are bench_train's: 4 layers of 256 channels and 12 of 768, ALiBi's bias (made
once, outside the clock), mean over tokens, the contrastive head, temperature 0.05, dropout 0.1 after the
embedding, attention's output and the gate.

On the CPU: Weighted SimCLR on dense scores, forward of all rows at once, backward by autograd; f32.  No
optimizer step, as there.  Prints seconds a step, of processor time beside them.  Debian's reference BLAS makes
PyTorch some fifty times slower than OpenBLAS does: install libopenblas0-pthread for a fair race.

On a GPU: what DNABERT-S's training code has PyTorch do, bf16 by autocast with f32 parameters and Adam included,
by Weighted SimCLR and by MI-Mix before the middle layer: with scaled_dot_product_attention, and with dense
scores, which the code falls back to without Triton.  Where a step does not fit into memory, layers are computed
again in backward, and where that does not either, in smaller batches one after the other; the row says so.
FILE: what bench_train printed, whose milliseconds stand beside.  Medians of 5 steps after 2.
"""
import itertools
import math
import os
import re
import sys
import time

N_THREADS = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] != "gpu" else "2"
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = N_THREADS
import torch  # noqa: E402
import torch.nn.functional as nnf  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

V, P, TEMPERATURE, DROPOUT = 4096, 128, 0.05, 0.1
SHAPES = {"4 x 256": (4, 256, 4, 1024), "12 x 768": (12, 768, 12, 3072)}


def slopes(n):
    """ALiBi's: of the power of two below, then every other one of the power above."""
    power = 1
    while 2 * power <= n:
        power *= 2
    return [2.0 ** (-8 * (h + 1) / power) for h in range(power)] + [
        2.0 ** (-8 * (h + 0.5) / power) for h in range(n - power)]


def bias_of(heads, n, device="cpu"):
    at = torch.arange(n, dtype=torch.float32, device=device)
    return -torch.tensor(slopes(heads), device=device)[:, None, None] * (at[:, None] - at[None, :]).abs()


def dense(q, k, v, bias):
    return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(2, 3)) / q.shape[-1] ** 0.5 + bias, -1), v)


def sdpa(q, k, v, bias):
    return nnf.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype).expand(q.shape[0], -1, -1, -1))


class Net:
    def __init__(self, n_layers, width, heads, inner, attend=dense, device="cpu"):
        def normal(*shape):
            return (0.02 * torch.randn(*shape, device=device)).requires_grad_()

        self.width, self.heads, self.attend, self.again = width, heads, attend, False
        self.words = normal(V, width)
        self.layers = [{"qkv": normal(3 * width, width), "qkv_b": normal(3 * width), "out": normal(width, width),
                        "out_b": normal(width), "gated": normal(2 * inner, width), "down": normal(width, inner),
                        "down_b": normal(width)} for _ in range(n_layers)]
        self.head = [normal(width, width), normal(P, width)]

    def layer(self, x, y, bias):
        n, c, h = x.shape[1], self.width, self.heads
        q, k, v = nnf.linear(x, y["qkv"], y["qkv_b"]).view(-1, n, 3, h, c // h).permute(2, 0, 3, 1, 4)
        mixed = self.attend(q, k, v, bias).transpose(1, 2).reshape(-1, n, c)
        x = nnf.layer_norm(nnf.dropout(nnf.linear(mixed, y["out"], y["out_b"]), DROPOUT) + x, (c,))
        z, gate = nnf.linear(x, y["gated"]).chunk(2, -1)
        return nnf.layer_norm(nnf.linear(nnf.dropout(nnf.gelu(z) * gate, DROPOUT), y["down"], y["down_b"]) + x, (c,))

    def rows(self, ids, bias, mix=None):
        """Unit rows [2B,P]; mix: before which layer the first half is mixed, with what, and how much stays."""
        x = nnf.dropout(nnf.layer_norm(self.words[ids], (self.width,)), DROPOUT)
        for i, y in enumerate(self.layers):
            if mix and i == mix[0]:
                first = x[:len(x) // 2]
                x = torch.cat([mix[2] * first + (1 - mix[2]) * first[mix[1]], x[len(x) // 2:]])
            x = checkpoint(self.layer, x, y, bias, use_reentrant=False) if self.again else self.layer(x, y, bias)
        z = nnf.linear(torch.relu(nnf.linear(x.mean(1), self.head[0])), self.head[1])
        return nnf.normalize(z.float())

    def encoder(self):
        return [self.words] + [w for y in self.layers for w in y.values()]


def log_weighted(s, is_negative):
    """log of the sum over the negatives of a row of a e^s, a = e^s / mean of e^s (Zhou et al. 2024, equation 2)."""
    s = s.masked_fill(~is_negative, float("-inf"))
    return torch.logsumexp(2 * s, 1) - torch.logsumexp(s, 1) + torch.log(is_negative.sum(1))


def loss_of(z):
    """Weighted SimCLR with every other row a negative."""
    n = len(z) // 2
    s = z @ z.T / TEMPERATURE
    partner = torch.arange(2 * n, device=z.device).roll(n)
    positive = torch.zeros_like(s, dtype=torch.bool).scatter_(1, partner[:, None], True)
    others = ~torch.eye(2 * n, dtype=torch.bool, device=z.device) & ~positive
    return (torch.logaddexp(s[positive], log_weighted(s, others)) - s[positive]).mean()


def mixed_loss_of(z, perm, share):
    """MI-Mix's, of mixed first rows and second rows (equation 4)."""
    n = len(z) // 2
    s = z[:n] @ z[n:].T / TEMPERATURE
    own, other = s.diagonal(), s[torch.arange(n, device=z.device), perm]
    below = torch.logaddexp(own, log_weighted(s, ~torch.eye(n, dtype=torch.bool, device=z.device)))
    return (below - share * own - (1 - share) * other).mean()


# ---- on the CPU ----

def on_cpu():
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    torch.set_num_threads(int(N_THREADS))
    torch.manual_seed(1)
    ids = torch.randint(V, (2 * pairs, n))
    print(f"== the same steps in PyTorch {torch.__version__}; {N_THREADS} threads")
    for name, shape in SHAPES.items():
        net, bias = Net(*shape), bias_of(shape[2], n)
        loss_of(net.rows(ids[:, :64], bias[:, :64, :64])).backward()  # oneDNN and the allocator warm up
        start, cpu = time.perf_counter(), time.process_time()
        loss = loss_of(net.rows(ids, bias))
        loss.backward()
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        if not torch.isfinite(loss):
            sys.exit("the loss is not finite")
        print(f"{name:10s} wsimclr  dropout {DROPOUT}  {took:6.2f} s a step of {pairs} pairs ({cpu:.2f} of processor"
              f" time)  {2 * pairs * n / took:6.0f} tokens/s", flush=True)


# ---- on a GPU ----

class Training:
    """Steps of one network by one objective."""
    def __init__(self, shape, attend, mixes, pairs, n, device):
        torch.manual_seed(1)
        self.net, self.bias = Net(*shape, attend, device), bias_of(shape[2], n, device)
        self.device, self.layer, self.share = device, shape[0] // 2 if mixes else None, 0.75
        self.ids = torch.randint(V, (2, pairs, n), device=device)
        self.adam = torch.optim.Adam([{"params": self.net.encoder()}, {"params": self.net.head, "lr": 3e-4}], lr=3e-6,
                                     fused=device == "cuda")

    def step(self, n_parts):
        """A step of the whole batch, or the gradients of n_parts smaller ones added up."""
        self.adam.zero_grad(set_to_none=True)
        for ids in self.ids.chunk(n_parts, 1):
            perm = torch.arange(ids.shape[1], device=self.device).roll(-1)
            with torch.autocast(self.device, torch.bfloat16):
                z = self.net.rows(ids.flatten(0, 1), self.bias,
                                  None if self.layer is None else (self.layer, perm, self.share))
            loss = loss_of(z) if self.layer is None else mixed_loss_of(z, perm, self.share)
            (loss / n_parts).backward()
        self.adam.step()
        return loss.item()  # waits

    def seconds(self, n_parts, n_steps):
        took = []
        for _ in range(n_steps):
            start = time.perf_counter()
            if not math.isfinite(self.step(n_parts)):
                sys.exit("the loss is not finite")
            took.append(time.perf_counter() - start)
        return sorted(took[2:] or took)[len(took[2:] or took) // 2]


def first_that_fits(training, n_steps):
    """The first way of a step that fits into memory: seconds, what was done for it; None where none does."""
    for again, n_parts in ((False, 1), (True, 1), (True, 2), (True, 4), (True, 8)):
        if n_parts > training.ids.shape[1]:
            return None
        training.net.again = again
        if training.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            return training.seconds(n_parts, n_steps), "; ".join(
                ["layers run twice"] * again + [f"{n_parts} batches"] * (n_parts > 1))
        except torch.cuda.OutOfMemoryError:
            training.adam.zero_grad(set_to_none=True)
    return None


def measured_by_us(path):
    """Milliseconds of a step by network and objective, from bench_train's lines."""
    line = re.compile(r"(\d+ x \d+) +(\w+) +([\d.]+) ms a step")
    with open(path, encoding="utf-8") as f:
        return {m.group(1, 2): float(m[3]) for m in map(line.match, f) if m}


def on_gpu(tiny, path):
    device = "cpu" if tiny else "cuda"
    shapes, pairs, n = ({"1 x 32": (1, 32, 2, 64)}, 2, 33) if tiny else (SHAPES, 48, 2000)
    ours = measured_by_us(path) if path else {}
    where = "the CPU" if tiny else torch.cuda.get_device_name()
    print(f"== the same steps in PyTorch {torch.__version__} on {where}, bf16 by autocast")
    ways = {"sdpa": sdpa, "dense scores": dense}
    if not hasattr(nnf, "scaled_dot_product_attention"):
        print("this PyTorch has no scaled_dot_product_attention: sdpa is left out")
        del ways["sdpa"]
    for (name, shape), mixes, way in itertools.product(shapes.items(), (False, True), ways):
        objective = "mimix" if mixes else "wsimclr"
        what = f"{name:8s} {objective:8s} {way:12s}"
        training = Training(shape, ways[way], mixes, pairs, n, device)
        done = first_that_fits(training, 1 if tiny else 7)
        if not done:
            print(f"{what} does not fit into memory", flush=True)
            continue
        took, how = done
        high = "" if tiny else f" {torch.cuda.max_memory_reserved() * 1e-9:6.1f} GB taken"
        mine = ours.get((name, objective))
        beside = f"   ours {mine:.1f} ms: {took * 1e3 / mine:.2f} times as fast" if mine else ""
        print(f"{what} {took * 1e3:8.1f} ms a step of {pairs} pairs {2 * pairs * n / took:10.0f} tokens/s{high}"
              f"{beside}{how and '   (' + how + ')'}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "gpu":
        rest = [a for a in sys.argv[2:] if a != "--tiny"]
        on_gpu("--tiny" in sys.argv, rest[0] if rest else None)
    else:
        on_cpu()
