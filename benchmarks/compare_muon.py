#!/usr/bin/env python3
"""Times a step of Muon beside one of Python's torch.optim.Muon.

    cmake --preset release
    cmake --build --preset release --target muon_steps
    python3 benchmarks/compare_muon.py build/release/bin/muon_steps

Wants Python's torch, best of the same version as the library's LibTorch. Both
take turns, on two threads each, with the same parameters, gradients and
options: nesterov, momentum 0.95, five iterations, weight decay 0.1. Python's
iterates in bfloat16; ours does so in the rows "bfloat16", and in float32, which
it does unless told otherwise, in the rows "float32".

"from float64" is how far the parameters are, after the first updates, from those
of an iteration in float64, beside how far those have moved; "from Python's" the
same beside Python's.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

UPDATES = 3  # that are compared, and sets of gradients


def transformer(layers: int, width: int, fused: bool):
    attention = [(3 * width, width)] if fused else [(width, width)] * 3
    layer = attention + [(width, width), (4 * width, width), (width, 4 * width)]
    return layer * layers


def resnet18():
    """Its convolutions, as [out, in * height * width]."""
    shapes = [(64, 147)] + [(64, 576)] * 4
    for ins in (64, 128, 256):
        out = 2 * ins
        shapes += [(out, 9 * ins), (out, 9 * out), (out, ins)]
        shapes += [(out, 9 * out)] * 2
    return shapes


# 6 layers of width 512.
NETWORKS = {
    "nn.TransformerEncoder (q, k, v in one)": transformer(6, 512, True),
    "transformer, q, k, v apart": transformer(6, 512, False),
    "resnet18": resnet18(),
}


class Ours:
    def __init__(self, program, precision, data, shapes):
        self.process = subprocess.Popen(
            [program, precision, data] + [f"{m}x{n}" for m, n in shapes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command):
        print(command, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def step(self):
        return float(self.ask("step"))

    def parameters(self, file, shapes):
        self.ask(f"write {file}")
        flat = torch.from_file(
            str(file), size=sum(m * n for m, n in shapes), dtype=torch.float32
        )
        parts = flat.clone().split([m * n for m, n in shapes])
        return [own.view(shape) for own, shape in zip(parts, shapes)]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Pythons:
    def __init__(self, parameters, gradients):
        self.parameters = [own.clone().requires_grad_() for own in parameters]
        self.gradients = gradients
        self.steps = 0
        self.muon = torch.optim.Muon(self.parameters, lr=0.02, weight_decay=0.1)

    def step(self):
        gradients = self.gradients[self.steps % len(self.gradients)]
        for own, gradient in zip(self.parameters, gradients):
            own.grad = gradient
        self.steps += 1
        start = time.perf_counter()
        self.muon.step()
        return time.perf_counter() - start


def in_float64(parameters, gradients):
    """The updates without rounding to speak of."""
    moved = [own.double() for own in parameters]
    means = [torch.zeros_like(own) for own in moved]
    for set_of_gradients in gradients:
        for own, mean, gradient in zip(moved, means, set_of_gradients):
            mean.lerp_(gradient.double(), 0.05)
            x = gradient.double().lerp(mean, 0.95)
            x = x.T if x.size(0) > x.size(1) else x
            x = x / x.norm()
            for _ in range(5):
                gram = x @ x.T
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            x = x.T if own.size(0) > own.size(1) else x
            rate = 0.02 * max(1, own.size(0) / own.size(1)) ** 0.5
            own.mul_(1 - 0.02 * 0.1).sub_(x, alpha=rate)
    return moved


def apart(ours, others, start):
    """Of the matrix of which it is most."""
    return max(
        ((a.double() - b.double()).norm() / (b.double() - c.double()).norm()).item()
        for a, b, c in zip(ours, others, start)
    )


def compare(program, name, shapes, repetitions, folder):
    torch.manual_seed(1)
    parameters = [torch.randn(shape) * 0.02 for shape in shapes]
    # Of gradients some directions are long; random matrices have none.
    gradients = [
        [
            1e-3 * torch.randn(m, n)
            + 1e-2 * torch.randn(m, 4) @ torch.randn(4, n) / 2
            for m, n in shapes
        ]
        for _ in range(UPDATES)
    ]
    data = folder / "data"
    with data.open("wb") as file:
        for own in [parameters] + gradients:
            for tensor in own:
                file.write(tensor.numpy().tobytes())
    sides = {
        "bfloat16": Ours(program, "bfloat16", data, shapes),
        "float32": Ours(program, "full", data, shapes),
        "Python": Pythons(parameters, gradients),
    }
    # They are warm then.
    for side in sides.values():
        for _ in range(UPDATES):
            side.step()
    with torch.no_grad():
        # The first of each shape.
        chosen = [shapes.index(shape) for shape in dict.fromkeys(shapes)]

        def choose(tensors):
            return [tensors[i].detach().clone() for i in chosen]

        start = choose(parameters)
        python = choose(sides["Python"].parameters)
        exact = in_float64(start, [choose(own) for own in gradients])
        moved = {
            key: choose(sides[key].parameters(folder / key, shapes))
            for key in ("bfloat16", "float32")
        }
        own_error = apart(python, exact, start)
    times = {key: [] for key in sides}
    for _ in range(repetitions):
        for key, side in sides.items():
            times[key].append(side.step())
    for key in ("bfloat16", "float32"):
        sides[key].end()
    print(f"{name}: {len(shapes)} matrices, {sum(m * n for m, n in shapes)} values")
    reference = statistics.median(times["Python"])
    least = min(times["Python"])
    print(f"  Python    median {reference * 1e3:.0f} ms, least {least * 1e3:.0f} ms;"
          f" from float64 {own_error:.3f}")
    ratios = {}
    for key in ("bfloat16", "float32"):
        median = statistics.median(times[key])
        ratios[key] = median / reference
        print(
            f"  {key:9} median {median * 1e3:.0f} ms, least {min(times[key]) * 1e3:.0f} ms;"
            f" ratio {median / reference:.3f}, of the least {min(times[key]) / least:.3f};"
            f" from Python's {apart(moved[key], python, start):.3f},"
            f" from float64 {apart(moved[key], exact, start):.4f}"
        )
        # Both may be as far from float64 as bfloat16 is.
        assert apart(moved[key], exact, start) < max(2 * own_error, 0.05)
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the binary muon_steps")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--only", default="", help="networks with this in their name")
    options = parser.parse_args()
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    with tempfile.TemporaryDirectory() as folder:
        for name, shapes in NETWORKS.items():
            if options.only in name:
                compare(options.program, name, shapes, options.repetitions, Path(folder))


if __name__ == "__main__":
    main()
