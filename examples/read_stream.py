#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# read_stream.py - a dnas stream in Python.  The format: man/dnas-stream.5.
#
#   stream = read_stream("emb.dnas")
#   header = next(stream)          # a dict: kind, columns, embedding, pg, ...
#   for block in stream:           # a dict by column, of some rows
#       block["embedding"]         # numpy [rows, C]; texts and lists: a list, an item a row

import json
import sys

import numpy as np

try:
    from xxhash import xxh3_64_intdigest as xxh3
except ImportError:
    xxh3 = None  # then hashes are not compared
TYPES = {"utf8": "u1", "u8": "u1", "u16": "<u2", "u32": "<u4", "i32": "<i4", "i64": "<i8",
         "f32": "<f4", "bf16": "<u2"}


def take(f, n):
    data = f.read(n)
    if len(data) != n:
        raise EOFError("the stream is truncated")
    return data


def hashed(data, digest):
    if xxh3 and xxh3(data) != int.from_bytes(digest, "little"):
        raise ValueError("the stream is damaged")
    return data


def read_header(f, magic):
    fixed = magic + take(f, 16 - len(magic))
    if fixed[:12] != b"\x89DNAS\r\n\x1a\1\0\0\0":
        raise ValueError("not a dnas stream of version 1")
    data = fixed + take(f, int.from_bytes(fixed[12:], "little"))
    return json.loads(hashed(data, take(f, 8))[16:])


def read_column(column, payload, at, rows):  # its cells, and where the next column begins
    dtype, shape = TYPES[column["type"]], column["shape"]
    if column["type"] == "utf8" or shape == [None]:
        ends = np.frombuffer(payload, "<u8", rows + 1, at).tolist()
        values = np.frombuffer(payload, dtype, ends[-1], at + 8 * len(ends))
        cells = [values[a:b] for a, b in zip(ends, ends[1:])]
        if column["type"] == "utf8":
            cells = [bytes(c).decode() for c in cells]
        n_bytes = 8 * len(ends) + values.nbytes
    else:
        cells = np.frombuffer(payload, dtype, rows * int(np.prod(shape)), at).reshape(rows, *shape)
        n_bytes = cells.nbytes
        if column["type"] == "bf16":
            cells = (cells.astype("<u4") << 16).view("<f4")
    return cells, at + (n_bytes + 63) // 64 * 64


def read_stream(path):
    f = open(path, "rb")
    if f.peek(4)[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard
        f = zstandard.ZstdDecompressor().stream_reader(f, read_across_frames=True)
    header, n_rows = read_header(f, b""), 0
    yield header
    while True:
        raw = take(f, 64)
        first, rows, size = np.frombuffer(hashed(raw[:56], raw[56:]), "<u8", 3, 8).tolist()
        if raw[:4] == b"END ":
            if first != n_rows:
                raise ValueError("rows are missing")
            magic, n_rows = f.read(8), 0
            if not magic:
                return
            if read_header(f, magic)["columns"] != header["columns"]:  # joined with cat
                raise ValueError("streams of different columns")
            continue
        payload, block, at = hashed(take(f, size), raw[32:40]), {}, 0
        if raw[:4] == b"ROWS":
            for column in header["columns"]:
                block[column["name"]], at = read_column(column, payload, at, rows)
            n_rows += rows
            yield block
        elif raw[4] & 1:
            raise ValueError("a block that this program does not know")


if __name__ == "__main__":
    stream = read_stream(sys.argv[1])
    print(next(stream)["kind"])
    for block in stream:
        print(*(f"{name} {getattr(c, 'shape', len(c))}" for name, c in block.items()))
