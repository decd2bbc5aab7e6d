#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sm90-gpu.sh - the instructions of compute capability 9.0 on a GPU, one at a time: where one fails,
# kernels-sm90.sh does, too, and this says why.  `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/cuda/tests/kernels/test_sm90"
