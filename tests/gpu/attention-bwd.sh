#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# attention-bwd.sh - attention backward on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda_attention_bwd" gpu
