#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# make-genomes.py - cuts genomes.fa.gz and tiny.fa, and writes SOURCES.tsv.
#
# In:   a folder with the Debian packages named in SOURCES (below), fetched with
#           apt-get download $(make-genomes.py --packages)
# Out:  genomes.fa.gz, tiny.fa and SOURCES.tsv in the folder given with -o.
#
# The sequences are records of the public databases; the packages are only where
# they were found.  Python's Mersenne Twister with a fixed seed and random() alone
# are used, which give the same numbers in every version of Python 3.

import argparse
import gzip
import hashlib
import io
import lzma
import math
import os
import random
import re
import subprocess
import sys
import tarfile

SEED = 20
MIN_BP, MAX_BP = 2000, 20000
MAX_N_SHARE = 0.05
DOC = "usr/share/doc/"

# species, windows, package, version, file ("archive!member" for a file in a tar),
# accession: (a) None: every record, its accession from the record itself;
#            (b) a list: only these records;  (c) a string: the one record has no
#            accession of its own, and this is the one known for it; then the note why.
SOURCES = [
    ("Escherichia_coli", 50, "bowtie-examples", "1.3.1-1",
     DOC + "bowtie/examples/genomes/NC_008253.fna.gz", None, ""),
    ("Klebsiella_pneumoniae", 50, "kleborate-examples", "2.3.1-2",
     DOC + "kleborate/examples/data/Klebs_Kp1084.fna.xz", None, ""),
    ("Vibrio_cholerae", 50, "ragout-examples", "2.3-4",
     DOC + "ragout/examples/V.Cholerae/references/O1_biovar.fasta.gz", None, ""),
    ("Helicobacter_pylori", 50, "sibelia-examples", "3.0.7+dfsg-3",
     DOC + "sibelia/examples/Sibelia/Helicobacter_pylori/Helicobacter_pylori.fasta.gz",
     ["NC_017366.1"], ""),
    ("Staphylococcus_aureus", 50, "sibelia-examples", "3.0.7+dfsg-3",
     DOC + "sibelia/examples/C-Sibelia/Staphylococcus_aureus/NCTC8325.fasta.gz", None, ""),
    ("Streptococcus_suis", 50, "abacas-examples", "1.3.1-9",
     DOC + "abacas-examples/SS_SC84.dna.gz", "NC_012924",
     "the file names the strain (SC84) only; the accession is that of the strain's genome"),
    ("Chlamydia_trachomatis", 50, "r-cran-seqinr", "4.2-23-1",
     "usr/lib/R/site-library/seqinr/sequences/ct.gbk.gz", "AE001273",
     "accession from the record's /db_xref; strain D/UW-3/CX"),
    ("Leptospira_kirschneri", 50, "any2fasta-examples", "0.4.2-2",
     DOC + "any2fasta/examples/test.gbk.gz", None, "draft genome in contigs"),
    ("Mycobacterium_tuberculosis", 50, "kmer-examples", "0~20150903+r2013-8",
     DOC + "kmer-examples/test_data.tar.gz!GCF_000195955.2_ASM19595v2_genomic.fna", None, ""),
    ("Mycobacterium_leprae", 50, "kmer-examples", "0~20150903+r2013-8",
     DOC + "kmer-examples/test_data.tar.gz!GCF_000195855.1_ASM19585v1_genomic.fna", None, ""),
    ("Dictyostelium_discoideum", 50, "spaln-data", "2.4.13f+dfsg-1",
     "usr/share/spaln/seqdb/dictdisc_g.gf.gz", ["NC_007087.2", "NC_007088.4"], ""),
    ("Homo_sapiens", 50, "emboss-test", "6.6.0+dfsg-12",
     "usr/share/EMBOSS/test/genbank/gbpri1.seq", ["BA000025.2"], ""),
    ("Drosophila_melanogaster", 20, "python-biopython-doc", "1.80+dfsg-4",
     DOC + "python-biopython-doc/Tests/GenBank/extra_keywords.gb.gz", ["AL138972.1"], ""),
    ("Arabidopsis_thaliana", 9, "python-biopython-doc", "1.80+dfsg-4",
     DOC + "python-biopython-doc/Tests/GenBank/arab1.gb.gz", ["AC007323.5"], ""),
    ("Escherichia_phage_lambda", 5, "bowtie2-examples", "2.5.0-3",
     DOC + "bowtie2/examples/reference/lambda_virus.fa.gz", None, ""),
    ("MERS_coronavirus", 4, "parsnp", "1.7.4+dfsg-2",
     DOC + "parsnp/examples/mers_virus/genomes/NC_019843.2.fna", None, ""),
]
TINY = {"Mycobacterium_tuberculosis": 4, "Staphylococcus_aureus": 4}
TINY_BP = 1200


def unpacked(data, name):
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".xz"):
        return lzma.decompress(data)
    return data


def member(tar_bytes, name):
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        for entry in tar:
            if entry.name.removeprefix("./") == name:
                return tar.extractfile(entry).read()
    sys.exit(f"make-genomes.py: no file {name} in the package")


def package_file(folder, package, version, path):
    """The bytes of one file of a package, unpacked, as text."""
    found = [f for f in os.listdir(folder)
             if re.fullmatch(re.escape(f"{package}_{version}") + r"_\w+\.deb", f)]
    if len(found) != 1:
        sys.exit(f"make-genomes.py: {folder} has no {package} {version}; apt-get download {package}")
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", os.path.join(folder, found[0])],
                         check=True, stdout=subprocess.PIPE).stdout
    outer, _, inner = path.partition("!")
    data = unpacked(member(tar, outer), outer)
    return (member(data, inner) if inner else data).decode("latin-1")


def fasta_records(text):
    for record in re.split(r"^>", text, flags=re.M)[1:]:
        head, _, body = record.partition("\n")
        ncbi = re.search(r"gi\|\d+\|\w+\|([^|\s]+)\|\s*(.*)", head)  # NCBI's old style of header
        accession, title = ncbi.groups() if ncbi else (head.split() + [""])[0:1] + [
            head.partition(" ")[2].strip()]
        yield accession, title, "".join(body.split()).upper()


def genbank_records(text):
    for record in re.split(r"^//\s*$", text, flags=re.M):
        origin = re.search(r"^ORIGIN.*?\n(.*)", record, flags=re.M | re.S)
        if not origin:
            continue
        title = re.search(r"^DEFINITION\s+(.*(?:\n {12}.*)*)", record, flags=re.M).group(1)
        version = re.search(r"^VERSION\s+(\S+)", record, flags=re.M)
        sequence = re.sub(r"[^A-Za-z]", "", origin.group(1)).upper()
        yield version.group(1) if version else "", " ".join(title.split()), sequence


def genome(folder, package, version, path, accession):
    """[(accession, title, sequence)] of one species."""
    text = package_file(folder, package, version, path)
    parse = fasta_records if text.startswith(">") else genbank_records
    records = list(parse(text))
    if isinstance(accession, str):
        records = [(accession, title, seq) for _, title, seq in records]
    elif accession:
        records = [r for r in records if r[0] in accession]
    if not records:
        sys.exit(f"make-genomes.py: no record wanted in {path} of {package}")
    return records


def place(rng, records, taken, length):
    """A window that overlaps none of `taken`, or None: (record, start)."""
    total = sum(len(seq) for _, _, seq in records)
    for _ in range(2000):
        at = int(rng.random() * total)
        which = 0
        while at >= len(records[which][2]):
            at -= len(records[which][2])
            which += 1
        sequence = records[which][2][at:at + length]
        if len(sequence) < length:
            continue
        if sum(sequence.count(letter) for letter in "ACGT") < (1 - MAX_N_SHARE) * length:
            continue
        if all(at + length <= start or end <= at for w, start, end in taken if w == which):
            return which, at
    return None


def windows(rng, records, lengths, taken):
    """Longest first, so that small genomes fill up: [(accession, start, strand, sequence)]."""
    complement = str.maketrans("ACGTRYKMBDHV", "TGCAYRMKVHDB")
    result = []
    for length in sorted(lengths, reverse=True):
        found = place(rng, records, taken, length)
        if not found:
            continue
        which, start = found
        taken.append((which, start, start + length))
        sequence = records[which][2][start:start + length]
        strand = "+" if rng.random() < 0.5 else "-"
        if strand == "-":
            sequence = sequence.translate(complement)[::-1]
        result.append((records[which][0], start, strand, sequence))
    return result


def shuffled(rng, items):
    """random.shuffle, with random() alone."""
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        items[i], items[j] = items[j], items[i]
    return items


def fasta(rng, cut, prefix, digits):
    out = []
    for i, (species, (accession, start, strand, seq)) in enumerate(shuffled(rng, cut), 1):
        out.append(f">{prefix}{i:0{digits}d} label={species} "
                   f"source={accession}:{start + 1}-{start + len(seq)}{strand}\n")
        out.extend(seq[i:i + 80] + "\n" for i in range(0, len(seq), 80))
    return "".join(out).encode()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def main():
    parser = argparse.ArgumentParser(description="cuts the example genomes from Debian packages")
    parser.add_argument("--packages", action="store_true", help="print the packages and exit")
    parser.add_argument("-o", metavar="DIR", default=".", help="where to write [.]")
    parser.add_argument("debs", nargs="?", default=".", help="folder of .deb files [.]")
    args = parser.parse_args()
    if args.packages:
        print(*(f"{p}={v}" for p, v in sorted({(s[2], s[3]) for s in SOURCES})))
        return
    cut, tiny = [], []
    table = ["species\taccession\tpackage\tversion\tfile\twindows\tbp\ttitle\tnote\n"]
    for index, (species, n, package, version, path, accession, note) in enumerate(SOURCES):
        rng = random.Random(SEED * 1000 + index)
        records = genome(args.debs, package, version, path, accession)
        lengths = [int(MIN_BP * math.exp(rng.random() * math.log(MAX_BP / MIN_BP)))
                   for _ in range(n)]
        taken = []
        got = windows(rng, records, lengths, taken)
        cut += [(species, w) for w in got]
        tiny += [(species, w) for w in windows(rng, records, [TINY_BP] * TINY.get(species, 0), taken)]
        for name, title, _ in records:
            sizes = [len(w[3]) for w in got if w[0] == name]
            if sizes:
                table.append("\t".join([species, name, package, version, path, str(len(sizes)),
                                        str(sum(sizes)), title.rstrip(". "), note]) + "\n")
    text = fasta(random.Random(SEED), cut, "seq", 4)
    write(os.path.join(args.o, "genomes.fa.gz"), gzip.compress(text, 9, mtime=0))
    write(os.path.join(args.o, "tiny.fa"), fasta(random.Random(SEED + 1), tiny, "tiny", 1))
    write(os.path.join(args.o, "SOURCES.tsv"), "".join(table).encode())
    print(f"genomes.fa: {len(cut)} sequences, {sum(len(w[3]) for _, w in cut)} bp, "
          f"sha256 {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main()
