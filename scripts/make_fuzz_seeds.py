#!/usr/bin/env python3
"""Writes the binary seeds of the fuzzers, a folder a target.

    scripts/make_fuzz_seeds.py OUT

The seeds of schedule_text are text and lie in fuzz/corpus; checkpoint_reader
writes its own.
"""

import gzip
import io
import json
import pathlib
import random
import struct
import sys
import tarfile
from typing import Dict, Sequence


def idx(magic: int, sizes: Sequence[int], values: bytes) -> bytes:
    """An IDX file; the magic number's last byte counts the dimensions."""
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + values


def idx_seeds() -> Dict[str, bytes]:
    """The first byte chooses what the target does with the rest."""
    images = idx(0x803, (2, 3, 4), bytes(range(24)))
    labels = idx(0x801, (2,), b"\x00\x09")
    small = idx(0x803, (1, 1, 1), b"\xff")
    integers = idx(0xC02, (1, 8), struct.pack(">8i", 9, 4, 3, 2, 1, 0, 0, 0))
    # A pair is cut in the middle: labels of the length of the images.
    same = idx(0x803, (1, 1, 4), b"abcd"), idx(0x801, (12,), bytes(12))
    return {
        "images": b"\x00" + images,
        "one-pixel": b"\x00" + small,
        "pair": b"\x01" + b"".join(same),
        "labels-first": b"\x01" + labels + labels,
        "no-room": b"\x00" + idx(0x803, (2**32 - 1,) * 3, b""),
        "header": b"\x00" + images[:10],
        "letters": b"\x02" + images,
        "upright": b"\x04" + images,
        "integers": b"\x08" + images,
        "integer-pair": b"\x01" + idx(0x803, (1, 4, 7), bytes(28)) + integers,
    }


def gzip_seeds() -> Dict[str, bytes]:
    """Files as they lie on a disk."""
    packed = gzip.compress(bytes(range(64)), mtime=0)
    return {
        "plain": b"plain bytes",
        "gzip": packed,
        "cut": packed[:-9],
        "twice": 2 * packed,
        "trailing": packed + b"rest",
    }


def tar_seeds() -> Dict[str, bytes]:
    """An odd first byte has the checksums made right."""
    seeds = {}
    formats = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT}
    for name, kind in formats.items():
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=kind) as archive:
            for member in ("a/data_batch_1.bin", "c" * 50 + "/" + "b" * 70):
                info = tarfile.TarInfo(member)
                info.size = 600
                archive.addfile(info, io.BytesIO(bytes(range(200)) * 3))
        content = packed.getvalue()[: 12 * 512]
        seeds[name] = b"\x00" + content
        seeds[f"{name}-summed"] = b"\x01" + content
        seeds[f"{name}-cut"] = b"\x00" + content[:1200]
    return seeds


def safetensors_seeds() -> Dict[str, bytes]:
    """The last byte says what the rest is: a file, or a header."""
    entries, size = {}, 0
    for name, dtype, shape, length in (
        ("num_batches_tracked", "I64", [], 8),
        ("weight", "F32", [2], 8),
        ("bias", "F32", [2], 8),
        ("running_mean", "F16", [2], 4),
        ("running_var", "BF16", [2, 1], 4),
        ("mask", "BOOL", [1, 3], 3),
        ("none", "U8", [0, 4], 0),
        ("packed", "F4", [2], 1),
    ):
        entries[name] = {
            "dtype": dtype, "shape": shape, "data_offsets": [size, size + length]
        }
        size += length
    known = {"__metadata__": {"by": "hand"}, **entries}
    del known["packed"]
    fitting = dict(list(entries.items())[:3])
    fitting["running_mean"] = {
        "dtype": "F64", "shape": [2], "data_offsets": [24, 40]
    }
    fitting["running_var"] = {
        "dtype": "F32", "shape": [2], "data_offsets": [40, 48], "x": [{}, [1]]
    }
    texts = [json.dumps(d).encode() for d in (known, entries, fitting)]
    whole = struct.pack("<Q", len(texts[0])) + texts[0] + bytes(35)
    return {
        "file": whole + b"\x00",
        "cut": whole[:-9] + b"\x00",
        "length": b"\xff" * 7 + whole[7:] + b"\x00",
        "header": texts[0] + b"\x01",
        "other-types": texts[1] + b"\x01",
        "module": texts[2] + b"\x02",
        "misfit": texts[0] + b"\x02",
        "twice": b'{"a":{},"a":{}}\x01',
        "deep": b'{"a":{"b":' + b"[" * 500 + b"\x01",
    }


def config_seeds() -> Dict[str, bytes]:
    """The configurations of the goldens; behind some a run's length."""
    goldens = pathlib.Path(__file__).parent.parent / (
        "tests/schedule/goldens/configs.txt"
    )
    lines = goldens.read_text(encoding="utf-8").splitlines()
    configs = [line[5:] for line in lines if line.startswith("case ")]
    return {
        f"{index:02}": (config + ("\n" if index % 2 else "")).encode()
        for index, config in enumerate(configs)
    }


def cifar_seeds() -> Dict[str, bytes]:
    """Bytes: what to do, labels a record, bytes too many, then the labels."""
    return {
        "cifar10": bytes((0, 0, 0)) + bytes(range(10)),
        "cifar100": bytes((1, 1, 0)) + bytes((0, 0, 19, 99, 7, 50)),
        "high-label": bytes((0, 0, 0, 10)),
        "too-long": bytes((0, 0, 3, 1, 2)),
        "short": bytes((2, 1, 2)),
        "record": bytes((2, 5)) + bytes(3072),
        "fine-record": bytes((3, 5, 6)) + bytes(3072),
    }


def checkpoint_edits() -> Dict[str, bytes]:
    """What the archives of a checkpoint are edited by: any bytes will do."""
    draw = random.Random(1)
    return {f"edits-{n}": draw.randbytes(32 * 2**n) for n in range(6)}


def main(out: pathlib.Path) -> None:
    """Writes every seed."""
    targets = {
        "idx_reader": idx_seeds(),
        "cifar_reader": cifar_seeds(),
        "config_text": config_seeds(),
        "gzip_file": gzip_seeds(),
        "tar_file": tar_seeds(),
        "checkpoint_load": checkpoint_edits(),
        "safetensors_reader": safetensors_seeds(),
    }
    for target, seeds in targets.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_fuzz_seeds.py OUT")
    main(pathlib.Path(sys.argv[1]))
