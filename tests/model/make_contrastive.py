#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make_contrastive.py - losses and gradients of common/contrastive.c by PyTorch's
# autograd in float64, for what the original code does not have: labels, and the
# supervised loss.
#
#   make_contrastive.py > tests/data/training/contrastive.txt
#
# SupCon is written as in the authors' code (HobbitLong/SupContrast, losses.py),
# in plain steps; an anchor without a positive gives 0 and counts in the mean.
import torch

torch.manual_seed(20261120)
torch.set_default_dtype(torch.float64)
B, D = 7, 12


def show(name, values):
    print(name, *("%.17g" % v for v in torch.as_tensor(values, dtype=torch.float64).flatten().tolist()))


def weighted(scores, negatives):
    """log sum_j a_j e^{s_j} over the negatives of each row."""
    some = scores.masked_fill(~negatives, -torch.inf)
    n = negatives.sum(1).double()
    return torch.logsumexp(2 * some, 1) - torch.logsumexp(some, 1) + torch.log(n)


def wsimclr(z, label, temperature):
    n = len(z) // 2
    s = z @ z.T / temperature
    labels = torch.cat([label, label])
    positive = s[torch.arange(2 * n), (torch.arange(2 * n) + n) % (2 * n)]
    negatives = weighted(s, labels[:, None] != labels[None, :])
    return (torch.logaddexp(positive, negatives) - positive).mean()


def mixed(z1, z2, perm, lam, label, temperature):
    n = len(z1)
    s = z1 @ z2.T / temperature
    other = label[perm]
    negative = (label[:, None] != label[None, :]) & (other[:, None] != label[None, :])
    negative[torch.arange(n), perm] = True
    negative[torch.arange(n), torch.arange(n)] = False
    first = s.diagonal()
    second = s[torch.arange(n), perm]
    d = torch.logaddexp(first, weighted(s, negative))
    return -(lam * (first - d) + (1 - lam) * (second - d)).mean()


def supcon(z, label, temperature):
    n = len(z)
    s = z @ z.T / temperature
    others = ~torch.eye(n, dtype=torch.bool)
    log_p = s - torch.logsumexp(s.masked_fill(~others, -torch.inf), 1, keepdim=True)
    positive = ((label[:, None] == label[None, :]) & others).double()
    count = positive.sum(1)
    count = torch.where(count == 0, torch.ones(n), count)
    return -((positive * log_p).sum(1) / count).mean()


def unit(rows):
    # Rounded to f32, since that is what the C side is given.
    z = torch.nn.functional.normalize(torch.randn(rows, D), dim=1)
    return z.float().double()


def gradients(loss, *leaves):
    return torch.autograd.grad(loss, leaves)


print("# torch", torch.__version__)
z1, z2 = unit(B), unit(B)
label = torch.tensor([0, 1, 1, 2, 0, 3, 2])
perm = torch.tensor([3, 1, 0, 2, 6, 5, 4])
lam = (torch.rand(B) / 2 + 0.5).float().double()
show("z1", z1)
show("z2", z2)
show("label", label)
show("perm", perm)
show("lambda", lam)
for temperature in (0.05, 0.2):
    z = torch.cat([z1, z2]).requires_grad_()
    loss = wsimclr(z, label, temperature)
    show("wsimclr_%g" % temperature, loss)
    show("wsimclr_gz_%g" % temperature, gradients(loss, z)[0])
    loss = supcon(z, torch.cat([label, label]), temperature)
    show("supcon_%g" % temperature, loss)
    show("supcon_gz_%g" % temperature, gradients(loss, z)[0])
    # The first rows alone: 3 has no other of its label.
    alone = z1.clone().requires_grad_()
    loss = supcon(alone, label, temperature)
    show("alone_%g" % temperature, loss)
    show("alone_gz_%g" % temperature, gradients(loss, alone)[0])
    first, second = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    loss = mixed(first, second, perm, lam, label, temperature)
    g1, g2 = gradients(loss, first, second)
    show("mixed_%g" % temperature, loss)
    show("mixed_gz1_%g" % temperature, g1)
    show("mixed_gz2_%g" % temperature, g2)
    # F.normalize of rows that are not unit, under a fixed slope.
x = (3 * torch.randn(B, D)).float().double().requires_grad_()
slope = torch.randn(B, D).float().double()
y = torch.nn.functional.normalize(x, dim=1)
show("x", x.detach())
show("gy", slope)
show("gx", gradients((y * slope).sum(), x)[0])
