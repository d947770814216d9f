#!/usr/bin/env python3
"""Reads what write_events.cpp has written, by the formats alone: no protobuf,
and a checksum of its own.

    read_events.py PROGRAM [without-svg]
"""

import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def records(path):
    """The records of a file, which must all be whole."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        (length, crc) = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at:at + 8]), (path, at)
        body = data[at + 12:at + 12 + length]
        (crc,) = struct.unpack_from("<I", data, at + 12 + length)
        assert crc == masked(body), (path, at)
        yield body
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """A message of protobuf: the last value of each field, by its number."""
    at, found = 0, {}
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            assert len(value) == length
        else:
            assert key & 7 == 5, key
            value, at = data[at:at + 4], at + 4
        found[key >> 3] = value
    return found


def decoded_png(data):
    """The channels of a PNG of eight bits in RGB or RGBA, and its rows."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        assert crc == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            assert depth == 8 and colour in (2, 6), (depth, colour)
            channels = 3 if colour == 2 else 4
        if kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, stride = zlib.decompress(packed), channels * width
    rows, above = [], [0] * stride
    for y in range(height):
        start = y * (stride + 1)
        kind, row = raw[start], list(raw[start + 1:start + 1 + stride])
        for i in range(stride):
            left = row[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            guess = left + above[i] - corner
            near = min((left, above[i], corner), key=lambda v: abs(guess - v))
            row[i] += (0, left, above[i], (left + above[i]) // 2, near)[kind]
            row[i] %= 256
        rows.append([
            tuple(row[i:i + 3]) for i in range(0, stride, channels)])
        above = row
    return channels, rows


def scalar(value):
    return struct.unpack("<f", value[2])[0]


def check_image(value, width, height):
    assert value.keys() == {1, 4}, value
    image = fields(value[4])
    channels, rows = decoded_png(image[4])
    assert (image[2], image[1], image[3]) == (width, height, channels), image
    assert len(rows) == height and len(rows[0]) == width
    return rows


def loaded(runs, tag, has_sessions):
    """A curve as a loader of TensorBoard has it. With sessions, as
    plugin_event_accumulator.py: each start but the first of a folder drops what
    there is of its step and later ones. Without, as reservoir.rs: an event does
    so for its tag.
    """
    curve, starts = [], 0
    for step, content, value in [event for run in runs for event in run]:
        if content == 7:
            starts += 1
            if has_sessions and starts > 1:
                curve = [point for point in curve if point[0] < step]
        elif value[1] == tag:
            if not has_sessions:
                curve = [point for point in curve if point[0] < step]
            curve.append((step, scalar(value)))
    return curve


def main(program, *options):
    with tempfile.TemporaryDirectory() as folder:
        before = time.time()
        subprocess.run([program, folder, *options], check=True)
        names = sorted(os.listdir(folder))
        assert len(names) == 2, names
        runs = []
        for name in names:
            assert re.fullmatch(
                r"events\.out\.tfevents\.\d{10}\.stepsize\.\d+\.\d+", name
            ), name
            events = [fields(r) for r in records(os.path.join(folder, name))]
            for event in events:
                (wall_time,) = struct.unpack("<d", event[1])
                assert before - 1 <= wall_time <= time.time() + 1, wall_time
            assert events[0][3] == b"brain.Event:2", events[0]
            runs.append([])
            for event in events[1:]:
                content = 7 if 7 in event else 5
                body = fields(event[content])
                value = body if content == 7 else fields(body[1])
                runs[-1].append((event.get(2, 0), content, value))
    first, second = runs

    curve = [(s, v[1], scalar(v)) for s, c, v in first[:3]]
    assert curve == [
        (1, b"loss/train", 1.5), (2, b"loss/train", 0.75),
        (3, b"loss/train", 0.5)], curve
    assert first[3][0] == 1 and math.isnan(scalar(first[3][2]))
    assert first[4][0] == 2**40 and scalar(first[4][2]) == -math.inf

    # From step 3 on the first file does not hold any more.
    for has_sessions in (False, True):
        curve = loaded(runs, b"loss/train", has_sessions)
        assert curve == [(1, 1.5), (2, 0.75), (3, 0.25)], curve
    assert len(loaded(runs, b"odd", True)) == 1
    while second[0][1] == 7:
        assert second[0] == (3, 7, {1: 1}), second[0]
        del second[0]
    assert second[0][0] == 3 and scalar(second[0][2]) == 0.25
    text = second[1][2]
    assert text[1] == b"notes" and text.keys() == {1, 8, 9}, text
    assert fields(fields(text[9])[1]) == {1: b"text"}
    assert fields(text[8]) == {
        1: 7, 2: b"", 8: "# lr\n\n\u00fc 0.1".encode()}, fields(text[8])
    if options:
        print("read all but pictures")
        return
    rows = check_image(second[2][2], 40, 20)
    assert all(
        row == [(255, 0, 0)] * 20 + [(0, 0, 255)] * 20
        for row in rows), rows[0]
    plot = fields(second[3][2][4])
    rows = check_image(second[3][2], plot[2], plot[1])
    assert len({pixel for row in rows for pixel in row}) > 2, "a blank plot"
    print(f"read {sum(map(len, runs))} events; "
          f"the plot has {plot[2]} x {plot[1]} pixels")


if __name__ == "__main__":
    main(*sys.argv[1:])
