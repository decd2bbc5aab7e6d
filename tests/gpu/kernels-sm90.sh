#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kernels-sm90.sh - the kernels for compute capability 9.0 on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda_sm90" gpu
