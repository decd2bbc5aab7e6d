#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# bpe-make.py - what the Hugging Face `tokenizers` library (0.23.3) makes of odd texts.
#
# In:  bpe-small.json (dnas_bpe_trainer_run, 100 entries, random letters), beside this file
# Out: bpe-odd.json, a vocabulary that needs the general encoder; bpe-tokens.tsv with the
#      vocabulary, the text's bytes in hexadecimal and the library's ids, specials included.
#      Bytes that are not UTF-8 go to the library as U+FFFD, as Python decodes them.
import json
import os
import random

from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))
rng = random.Random(11)

ODD_MERGES = [  # merges that a later one feeds, of other letters, and two that make one text
    ("AC", "GT"), ("A", "C"), ("G", "T"), ("N", "N"), ("NN", "NN"), ("NN", "N"), ("a", "c"),
    ("T", "T"), ("TT", "T"), ("T", "TT"), ("_", "A"), ("C", "_A"), ("1", "N"),
]
ODD_TOKENS = ["<unk>", "<mask>", "<mask>A", "A", "C", "G", "T", "N", "a", "c", "_", "1", "-", " ",
              "\u00e9", "\ufffd"]


def make_odd():
    vocab = {}
    for token in ODD_TOKENS + [a + b for a, b in ODD_MERGES]:
        vocab.setdefault(token, len(vocab) * 3 + 2)
    flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": vocab[t], "content": t, **flags} for t in ODD_TOKENS[:3]],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(m) for m in ODD_MERGES]},
    }


def texts():
    yield from ["", "A", "N", "acgt", "AC-GT", "AC GT", "  ", "A\tC\nG\rT", "AAAACCCCGGGGTTTTACGTN",
                "[MASK]", "AC[MASK]GT", "[MASK", "[[MASK]]", "[UNK]N[CLS]", "<mask>A", "A<mask>AC",
                "<mas", "A.C*G", "A\u00a0C", "A\u3000\u2028C", "\u00e9\u00e9A", "e\u0301", "\ufffdA",
                "ACG\U0001f9ecTTT", "A\u200bC", "A\x1cC", "A\x85C", "A\0C", "NNNNNNN", "_ACAC_A", "1N1NN",
                "TTTTTTTTT", "ACGTACGT", "aacACac"]
    yield from [b"A\xffC", b"\xc3", b"\xc3A", b"\xe2\x82", b"\xe2\x82A\xe2", b"\xf0\x9f\xa7A",
                b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\x80A", b"A\x80\x80"]
    for alphabet in ["A", "T", "AC", "GT", "ACGT", "ACGTN", "ACGTN-c_1 ", "ACGT[MASK]<mask>",
                     "AC\u00e9\u3000\u03b1."]:
        for n in [2, 7, 33, 90]:
            yield "".join(rng.choice(alphabet) for _ in range(n))
    yield "".join(rng.choice("ACGT") for _ in range(2000))
    yield "".join(rng.choice(["A", "TTTTTTTTTT", "ACACACAC"]) for _ in range(300))


def main():
    with open(os.path.join(here, "bpe-odd.json"), "w", encoding="utf-8") as f:
        json.dump(make_odd(), f, indent=1, ensure_ascii=True)
        f.write("\n")
    cases = [t if isinstance(t, bytes) else t.encode() for t in texts()]
    with open(os.path.join(here, "bpe-tokens.tsv"), "w", encoding="utf-8") as f:
        f.write("vocabulary\ttext\tids\n")
        for name in ["bpe-small.json", "bpe-odd.json"]:
            tokenizer = Tokenizer.from_file(os.path.join(here, name))
            for text in cases:
                ids = tokenizer.encode(text.decode("utf-8", "replace")).ids
                f.write(f"{name}\t{text.hex()}\t{' '.join(map(str, ids))}\n")


main()
