#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gpu_peers.py - bench_gpu's attention and network in PyTorch, on the same GPU.

usage: gpu_peers.py

Attention: 12 heads of 64, bf16, ALiBi's bias, about 65536 tokens in all: dense scores as DNABERT-2's code
has them, scaled_dot_product_attention with the bias as its mask, and flash_attn's with slopes where that is
installed.  Network: DNABERT-2's shape, random weights, the same three ways.  The bias is made outside the
clock.  Medians of 20 after 3 to warm up; operations of attention counted as dense.
"""
import torch
import torch.nn.functional as nnf

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None

L, C, H, F, V = 12, 768, 12, 3072, 4096
DEVICE, TYPE = "cuda", torch.bfloat16


def slopes():
    """ALiBi's, as DNABERT-2 has them for 12 heads: those of 8, then every other one of 16."""
    return torch.tensor([2.0 ** -(h + 1) for h in range(8)] + [2.0 ** -(h + 0.5) for h in range(4)], device=DEVICE)


def bias_of(n):
    at = torch.arange(n, dtype=torch.float32, device=DEVICE)
    return (-slopes()[:, None, None] * (at[:, None] - at[None, :]).abs()).to(TYPE)


def dense(q, k, v, bias):
    scores = torch.matmul(q, k.transpose(-1, -2)) / (C // H) ** 0.5 + bias
    return torch.matmul(torch.softmax(scores, -1), v)


def sdpa(q, k, v, bias):
    return nnf.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(q.shape[0], -1, -1, -1))


def flash(q, k, v, _bias):
    out = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), alibi_slopes=slopes())
    return out.transpose(1, 2)


WAYS = {"dense scores": dense, "scaled_dot_product_attention": sdpa}
if flash_attn_func:
    WAYS["flash_attn"] = flash


def seconds(work):
    took = []
    for i in range(23):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        if i >= 3:
            took.append(start.elapsed_time(end) * 1e-3)
    return sorted(took)[len(took) // 2]


def layer():
    def normal(*shape):
        return (0.02 * torch.randn(*shape, device=DEVICE)).to(TYPE)

    one = torch.ones(C, device=DEVICE, dtype=TYPE)
    return {"qkv": (normal(3 * C, C), normal(3 * C)), "out": (normal(C, C), normal(C)), "norm1": (one, normal(C)),
            "gated": normal(2 * F, C), "down": (normal(C, F), normal(C)), "norm2": (one, normal(C))}


def forward(ids, words, layers, bias, attend):
    batch, n = ids.shape
    x = nnf.layer_norm(words[ids], (C,))
    for y in layers:
        q, k, v = nnf.linear(x, *y["qkv"]).view(batch, n, 3, H, C // H).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v, bias).transpose(1, 2).reshape(batch, n, C)
        x = nnf.layer_norm(nnf.linear(mixed, *y["out"]) + x, (C,), *y["norm1"], 1e-12)
        z, gate = nnf.linear(x, y["gated"]).split(F, -1)
        x = nnf.layer_norm(nnf.linear(nnf.gelu(z) * gate, *y["down"]) + x, (C,), *y["norm2"], 1e-12)
    return x.float().mean(1)


def attention():
    print("== attention in PyTorch, bf16, operations counted as dense")
    for n in (512, 2000, 8000, 20000):
        batch = max(1, 65536 // n)
        for name, way in WAYS.items():
            try:
                q, k, v = (torch.randn(batch, H, n, C // H, device=DEVICE).to(TYPE) for _ in range(3))
                bias = None if way is flash else bias_of(n)
                took = seconds(lambda: way(q, k, v, bias))
            except torch.cuda.OutOfMemoryError:
                print(f"{name}, {batch} sequences of {n}: out of memory")
            except RuntimeError as e:
                print(f"{name}, {batch} sequences of {n}: {str(e).splitlines()[0]}")
            else:
                print(f"{name + f', {batch} sequences of {n}':44s} {took * 1e6:10.1f} us"
                      f" {4e-12 * C * n * n * batch / took:9.2f} TFLOP/s", flush=True)
            q = k = v = bias = None
            torch.cuda.empty_cache()


def network():
    print("== the network in PyTorch, bf16, from tokens")
    words, layers = (0.02 * torch.randn(V, C, device=DEVICE)).to(TYPE), [layer() for _ in range(L)]
    for n in (512, 2000):
        for name, way in WAYS.items():
            batch = max(1, (16384 if way is dense else 65536) // n)
            try:
                ids = torch.randint(V, (batch, n), device=DEVICE)
                bias = None if way is flash else bias_of(n)
                took = seconds(lambda: forward(ids, words, layers, bias, way))
            except torch.cuda.OutOfMemoryError:
                print(f"{name}, {batch} of {n} tokens: out of memory")
            except RuntimeError as e:
                print(f"{name}, {batch} of {n} tokens: {str(e).splitlines()[0]}")
            else:
                print(f"{name + f', {batch} of {n} tokens':44s} {took * 1e6:10.1f} us {batch / took:9.2f} seq/s",
                      flush=True)
            bias = None
            torch.cuda.empty_cache()


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name()}"
          + ("" if flash_attn_func else "; flash_attn is not installed and left out"))
    with torch.inference_mode():
        attention()
        network()
