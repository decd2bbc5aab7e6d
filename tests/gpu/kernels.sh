#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# kernels.sh - the tests of kernels/cuda on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/kernels/test_cuda" gpu
