#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ranks.sh - sums over the GPUs of several processes, by NCCL, one at least: `make check-gpu`
# runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda_ranks" gpu
