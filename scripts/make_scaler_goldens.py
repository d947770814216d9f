#!/usr/bin/env python3
"""Writes tests/optim/files/grad_scaler.txt and autocast.txt: what Python's
torch.amp.GradScaler and torch.autocast do on a CPU.

    python3 scripts/make_scaler_goldens.py [DIR]

It wants torch 2.3 or later, of which the first has a GradScaler for CPUs; the
files that are committed come from 2.14.1. Nothing here is needed to build or to
test.

grad_scaler.txt holds cases. Two parts of one loss, A and B, each with its
optimizer, share a scaler; a line

    case NAME INIT_SCALE GROWTH_FACTOR BACKOFF_FACTOR GROWTH_INTERVAL MAX_NORM

is followed by a line an update,

    step FACTOR_A FACTOR_B SCALE GROWTH_TRACKER SKIPPED_A SKIPPED_B VALUE ...

with the factors of the two parts, by which they overflow, and what is there
after update(): scale, counts and all parameters. A is stepped by SGD, its
gradient clipped to MAX_NORM after unscale_(), B by Adam.

autocast.txt has, of a small network under autocast to bfloat16, the type of a
layer's output, the loss and the gradients, and the loss without autocast.
"""

import math
import os
import sys

import torch

COUNTS = (4, 2)
INF = math.inf
# Factors by update, for A and B; 1 elsewhere. With 1e36 it is the scale that is
# too large, where it is large.
OVERFLOWS = {
    3: (INF, 1),
    4: (math.nan, 1),
    9: (1, INF),
    15: (1e36, 1),
    16: (INF, INF),
    22: (-INF, 1),
}
STEPS = 30
CASES = (
    ("defaults", 65536.0, 2.0, 0.5, 2000, INF),
    ("quick", 8.0, 2.0, 0.5, 3, INF),
    ("every", 1024.0, 2.0, 0.5, 1, INF),
    ("uneven", 100.0, 1.5, 0.3, 2, INF),
    ("clipped", 4096.0, 2.0, 0.5, 4, 0.25),
    # It would grow beyond float32.
    ("largest", 2.0**126, 4.0, 0.5, 2, INF),
)


def numbers(first, count, function):
    return torch.tensor([function(i) for i in range(first, first + count)])


def clip(parameters, max_norm):
    """The update's own rule: max_norm / max(norm, max_norm)."""
    norm = math.sqrt(sum((p.grad.double() ** 2).sum().item() for p in parameters))
    if math.isfinite(norm) and norm > max_norm:
        for p in parameters:
            p.grad.mul_(max_norm / norm)


def write_scaler(file):
    print("torch", torch.__version__.split("+")[0], file=file)
    for name, init, growth, backoff, interval, max_norm in CASES:
        print("case", name, init, growth, backoff, interval, max_norm, file=file)
        parts, curvature, lowest, first = [], [], [], 0
        for count in COUNTS:
            start = numbers(first, count, lambda i: ((3 * i) % 17 - 8) / 16)
            parts.append(torch.nn.Parameter(start))
            curvature.append(numbers(first, count, lambda i: (1 + 7 * i % 11) / 8))
            lowest.append(numbers(first, count, lambda i: (5 * i % 13 - 6) / 8))
            first += count
        a = torch.optim.SGD(parts[:1], lr=0.1, momentum=0.9)
        b = torch.optim.Adam(parts[1:], lr=0.05)
        scaler = torch.amp.GradScaler(
            "cpu",
            init_scale=init,
            growth_factor=growth,
            backoff_factor=backoff,
            growth_interval=interval,
        )
        skipped = [0, 0]
        for step in range(1, STEPS + 1):
            factors = OVERFLOWS.get(step, (1, 1))
            if name == "largest":
                factors = (1, 1)
            if name in ("quick", "uneven") and step == 15:
                factors = (INF, 1)
            a.zero_grad()
            b.zero_grad()
            loss = 0
            for k, p in enumerate(parts):
                far = p - lowest[k]
                own = (curvature[k] / 2 * far * far).sum()
                # The largest scale has room for small gradients only.
                own = own * (2.0**-10 if name == "largest" else 1)
                loss = loss + own * factors[k]
            scaler.scale(loss).backward()
            if math.isfinite(max_norm):
                scaler.unscale_(a)
                clip(parts[:1], max_norm)
            for k, optimizer in enumerate((a, b)):
                before = parts[k].detach().clone()
                count = sum(
                    1 for group in optimizer.param_groups for p in group["params"]
                    if torch.isfinite(p.grad).all()
                )
                scaler.step(optimizer)
                if count == 0:
                    assert torch.equal(before, parts[k])
                    skipped[k] += 1
            scaler.update()
            values = [v for p in parts for v in p.detach().double().tolist()]
            print(
                "step",
                *factors,
                scaler.get_scale(),
                scaler._get_growth_tracker(),
                *skipped,
                *values,
                file=file,
            )


def write_autocast(file):
    def wave(shape, first, size):
        values = [
            size * math.sin(1.3 * i + 0.1) for i in range(first, first + math.prod(shape))
        ]
        return torch.tensor(values, dtype=torch.float64).float().reshape(shape)

    print("torch", torch.__version__.split("+")[0], file=file)
    first = torch.nn.Linear(8, 16)
    second = torch.nn.Linear(16, 4)
    parameters = [first.weight, first.bias, second.weight, second.bias]
    with torch.no_grad():
        for k, p in enumerate(parameters):
            p.copy_(wave(p.shape, 100 * k, 0.5))
    inputs = wave((5, 8), 7, 1)
    targets = wave((5, 4), 11, 1)

    def loss():
        hidden = torch.tanh(first(inputs))
        return torch.nn.functional.mse_loss(second(hidden), targets)

    print("plain", loss().item(), file=file)
    with torch.autocast("cpu", torch.bfloat16):
        print("type", str(first(inputs).dtype).replace("torch.", ""), file=file)
        value = loss()
    print("loss", str(value.dtype).replace("torch.", ""), value.item(), file=file)
    value.backward()
    for p in parameters:
        print("grad", *p.grad.double().flatten().tolist(), file=file)


def main(arguments):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = arguments[0] if arguments else os.path.join(root, "tests/optim/files")
    for name, write in (("grad_scaler", write_scaler), ("autocast", write_autocast)):
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as file:
            write(file)


if __name__ == "__main__":
    main(sys.argv[1:])
