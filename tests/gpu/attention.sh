#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# attention.sh - attention on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda_attention" gpu
