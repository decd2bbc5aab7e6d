#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kernels-train.sh - the operations of training on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda_train" gpu
