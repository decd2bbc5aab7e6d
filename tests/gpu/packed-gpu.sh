#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# packed-gpu.sh - tests/model/test_packed.c on a GPU: `make check-gpu` runs it.
set -u
: "${BUILD:=$PWD/build}"
exec "$BUILD/tests/model/test_packed" gpu
