#!/usr/bin/env python3
"""Exchanges files of the format safetensors with C++.

    safetensors_exchange.py PROGRAM

has PROGRAM (safetensors_exchange.cpp) write files, reads them by code of its own
and compares them bit for bit with what the formulas say; writes such files, and
has PROGRAM read them. Exit code 77: there is no PyTorch.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError as error:
    # Debian's package is for Debian's Python, which need not be the first.
    debian = "/usr/bin/python3"
    if os.path.exists(debian) and "STEPSIZE_OTHER_PYTHON" not in os.environ:
        os.environ["STEPSIZE_OTHER_PYTHON"] = sys.executable
        os.execv(debian, [debian, "-B", *sys.argv])
    print(f"skipped: {error}; the package python3-torch has it")
    sys.exit(77)

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
    "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {value: key for key, value in TYPES.items()}


def load_file(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length).decode("utf-8"))
        data = bytearray(file.read())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.tensor(list(data[begin:end]), dtype=torch.uint8)
        tensors[name] = flat.view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata, header, length, len(data)


def bytes_of(tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.numel() == 0:
        return b""
    return bytes(flat.view(torch.uint8).tolist())


def save_file(path, tensors, metadata):
    # In the order that they come in, and with spaces as a header may have them.
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        more = bytes_of(tensor)
        header[name] = {
            "shape": list(tensor.shape),
            "dtype": NAMES[tensor.dtype],
            "data_offsets": [len(data), len(data) + len(more)],
        }
        data += more
    text = json.dumps(header, indent=1).encode("utf-8")
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4))
        self.embedding = torch.nn.Embedding(7, 8)
        self.lstm = torch.nn.LSTM(8, 4, num_layers=2)
        self.attention = torch.nn.MultiheadAttention(8, 2)
        self.encoder = torch.nn.TransformerEncoderLayer(8, 2, 16)
        self.norm = torch.nn.LayerNorm(8)
        self.head_weight = self.embedding.weight


def values(name, shift, like):
    total = shift + sum(name.encode("utf-8"))
    numbers = (torch.arange(like.numel()) * 37 + total) % 251 - 125
    if like.is_floating_point():
        numbers = numbers.to(torch.float64) / 64
    return numbers.to(like.dtype).reshape(like.shape)


def all_types():
    numbers = torch.arange(-6, 6).reshape(3, 4)
    odd = [0x7FC12345, -(2**31), 0x7F800000, 0xFF800000 - 2**32, 1]
    return {
        "f64": numbers.to(torch.float64) / 8,
        "f32": numbers.to(torch.float32) / 8,
        "f16": numbers.to(torch.float16) / 8,
        "bf16": numbers.to(torch.bfloat16) / 8,
        "i64": numbers * 2**40,
        "i32": numbers.to(torch.int32),
        "i16": numbers.to(torch.int16),
        "i8": numbers.to(torch.int8),
        "u8": (numbers + 200).to(torch.uint8),
        "bool": numbers % 2 == 0,
        "turned": numbers.to(torch.float32).t(),
        "scalar": torch.tensor(42),
        "nothing": torch.empty(0, 3),
        "odd": torch.tensor(odd, dtype=torch.int32).view(torch.float32),
        'na"m\\e \u00fc\n': torch.ones(2),
    }


def expect_same(what, found, expected):
    assert found.dtype == expected.dtype, (what, found.dtype, expected.dtype)
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    assert bytes_of(found) == bytes_of(expected), what


def check_layout(path, header, length, size):
    # 8 bytes each: every tensor lies on its own alignment in the file.
    assert length % 8 == 0, f"{path}: a header of {length} bytes"
    end = 0
    for name, entry in sorted(
            header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, next_end = entry["data_offsets"]
        assert begin == end, f"{path}: a hole or an overlap at {name}"
        item = torch.empty(0, dtype=TYPES[entry["dtype"]]).element_size()
        assert begin % item == 0, f"{path}: {name} is not aligned"
        end = next_end
    assert end == size, f"{path}: {size} bytes, {end} of them spoken for"


def main(program):
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.safetensors")
        types = os.path.join(folder, "types.safetensors")

        subprocess.run([program, "write", model, types], check=True)
        tensors, metadata, *layout = load_file(model)
        check_layout(model, *layout)
        assert metadata == {
            "written by": "C++", "format": "pt",
            "head_weight": "embedding.weight",
        }, metadata
        missing, unexpected = net.load_state_dict(tensors, strict=False)
        assert missing == ["head_weight"] and not unexpected, (
            missing, unexpected)
        for name, tensor in net.state_dict().items():
            kept = "embedding.weight" if name == "head_weight" else name
            expect_same(name, tensor, values(kept, 1, tensor))
        found, _, *layout = load_file(types)
        check_layout(types, *layout)
        expected = all_types()
        assert found.keys() == expected.keys(), found.keys()
        for name, tensor in expected.items():
            expect_same(name, found[name], tensor)

        # As save_model() does: of the two names one.
        state = {
            name: values(name, 2, tensor)
            for name, tensor in net.state_dict().items()
            if name != "head_weight"
        }
        save_file(model, state, {"written by": "Python"})
        save_file(types, all_types(), {})
        subprocess.run([program, "read", model, types], check=True)
    print(f"{len(tensors)} tensors of a network and {len(expected)} of all "
          "types went both ways, bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
