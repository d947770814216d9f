#!/usr/bin/env python3
"""Writes tests/lr_scheduler/goldens/*.txt: what Python's torch sets, step by step.

    /usr/bin/python3 scripts/make_goldens.py [DIR]

The files that are committed come from torch 1.13.1 (Debian's python3-torch),
which calls itself 1.13.0a0; 2.6.0 and 2.14.1 write the same, but for the first
line. Those of Adam (adam_cycles.txt) come from 2.14.1: 1.13.1 refuses CyclicLR
with Adam, and leaves that file as it is. Nothing here is needed to build or to test: run it to add parameter sets.

A file holds cases. A case is

    case StepLR(step_size=30, gamma=0.1)
    optimizer SGD 0.1 0.03
    lr 0.1*30 0.010000000000000002*30 ...
    lr 0.03*30 ...

its scheduler with every option that is not left at its default, the optimizer
with one base rate a parameter group, and a line a group with the rates at
t = 0, 1, 2, ... (VALUE*N stands for N values in a row). Some have lines of
their own besides: the momenta, a plateau's metrics and counters.
"""

import math
import os
import random
import sys
import warnings

import torch
from torch.optim import lr_scheduler as py
from torch.optim.swa_utils import SWALR

warnings.filterwarnings("ignore")

STEPS = 320
TWO = (0.1, 0.03)
THREE = (0.05, 1.0, 3e-4)

# The tests know these functions by their names.
LAMBDAS = {
    "decay": lambda epoch: 0.95**epoch,
    "stairs": lambda epoch: 0.5 ** (epoch // 30),
    "harmonic": lambda epoch: 1.0 / (1.0 + epoch),
    "shrink": lambda epoch: 0.97,
    "slowing": lambda epoch: 1.0 - 0.5 / (epoch + 1.0),
    "swing": lambda epoch: 1.25 if epoch % 2 == 0 else 0.75,
    "half_scale": lambda x: 1.0 / (1.0 + 0.5 * x),
    "fade": lambda x: 0.999**x,
}


class Spec:
    """A scheduler class and its options, from which both sides build it."""

    def __init__(self, kind, **options):
        self.kind = kind
        self.options = options

    def text(self):
        def show(value):
            if isinstance(value, (list, tuple)):
                return "[" + ", ".join(show(v) for v in value) + "]"
            if isinstance(value, Spec):
                return value.text()
            return str(value) if isinstance(value, (str, bool)) else repr(value)

        inside = ", ".join(f"{k}={show(v)}" for k, v in self.options.items())
        return f"{self.kind}({inside})"

    def build(self, optimizer):
        def resolve(name, value):
            if name in ("lr_lambda", "scale_fn"):
                if isinstance(value, list):
                    return [LAMBDAS[v] for v in value]
                return LAMBDAS[value]
            return value

        options = {k: resolve(k, v) for k, v in self.options.items()}
        if self.kind in ("SequentialLR", "ChainedScheduler"):
            parts = [s.build(optimizer) for s in options.pop("schedulers")]
            if self.kind == "ChainedScheduler":
                return py.ChainedScheduler(parts)
            return py.SequentialLR(optimizer, parts, **options)
        cls = SWALR if self.kind == "SWALR" else getattr(py, self.kind)
        return cls(optimizer, **options)


def make_optimizer(name, bases):
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in bases
    ]
    cls = getattr(torch.optim, name)
    if name in ("SGD", "RMSprop"):
        return cls(groups, lr=0.1, momentum=0.5)
    return cls(groups, lr=0.1)


def run_lengths(values):
    words = []
    i = 0
    while i < len(values):
        j = i
        while j < len(values) and repr(values[j]) == repr(values[i]):
            j += 1
        words.append(repr(values[i]) + (f"*{j - i}" if j > i + 1 else ""))
        i = j
    return " ".join(words)


def momentum_of(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def trace(optimizer, scheduler, steps, momentum):
    groups = optimizer.param_groups
    rates = [[float(g["lr"])] for g in groups]
    momenta = [[float(momentum_of(g))] for g in groups] if momentum else []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        for i, group in enumerate(groups):
            rates[i].append(float(group["lr"]))
            if momentum:
                momenta[i].append(float(momentum_of(group)))
    lines = ["lr " + run_lengths(r) for r in rates]
    return lines + ["momentum " + run_lengths(m) for m in momenta]


def case(spec, bases=TWO, steps=STEPS, optimizer="SGD", momentum=False):
    opt = make_optimizer(optimizer, bases)
    scheduler = spec.build(opt)
    head = [
        "case " + spec.text(),
        " ".join(["optimizer", optimizer] + [repr(b) for b in bases]),
    ]
    return head + trace(opt, scheduler, steps, momentum)


def swa_after(spec, before, steps_before, bases=TWO, steps=STEPS):
    """SWALR made at the start, first stepped after another has been at work."""
    opt = make_optimizer("SGD", bases)
    other = before.build(opt)
    swa = spec.build(opt)
    for _ in range(steps_before):
        opt.step()
        other.step()
    head = [
        "case " + spec.text(),
        " ".join(["optimizer", "SGD"] + [repr(b) for b in bases]),
        f"before {steps_before} {before.text()}",
    ]
    return head + trace(opt, swa, steps, False)


def metrics_of(name, count):
    rng = random.Random(name)
    noise = [rng.uniform(-1, 1) for _ in range(count)]
    if name == "loss":
        return [2.0 / (1 + 0.05 * i) + 0.02 * noise[i] for i in range(count)]
    if name == "flat":
        return [1.0 + 1e-5 * noise[i] for i in range(count)]
    if name == "negative":
        return [-5.0 + 4.0 * math.exp(-i / 40) + 0.01 * noise[i] for i in range(count)]
    if name == "accuracy":
        return [1 - math.exp(-i / 60) + 0.01 * noise[i] for i in range(count)]
    if name == "nan":
        return [
            math.nan if i % 7 == 3 else 1.0 / (1 + i) for i in range(count)
        ]
    if name == "rising_negative":
        return [-3.0 + 0.005 * i + 0.05 * noise[i] for i in range(count)]
    if name == "through_zero":
        return [1.0 - 0.01 * i + 0.05 * noise[i] for i in range(count)]
    if name.startswith("minus_"):
        return [-m for m in metrics_of(name[len("minus_") :], count)]
    raise ValueError(name)


class EvenPlateau(py.ReduceLROnPlateau):
    """Python's class with a relative margin of threshold * |best|.

    Python multiplies the best metric by 1 - threshold (min) or 1 + threshold
    (max), which moves a negative one the wrong way."""

    def margin(self, best):
        return self.threshold * (abs(best) if self.threshold_mode == "rel" else 1)

    def is_better(self, a, best):
        if math.isinf(best):  # no metric yet
            return a < best if self.mode == "min" else a > best
        if self.mode == "min":
            return a < best - self.margin(best)
        return a > best + self.margin(best)

    _is_better = is_better  # as later versions call it


def plateau(metrics_name, bases=TWO, steps=STEPS, python=True, **options):
    """A run of Python's class, or (python=False) of EvenPlateau."""
    spec = Spec("ReduceLROnPlateau", **options)
    opt = make_optimizer("SGD", bases)
    scheduler = spec.build(opt) if python else EvenPlateau(opt, **options)
    metrics = metrics_of(metrics_name, steps)
    rates = [[b] for b in bases]
    best, bad, cooldown = [], [], []
    for metric in metrics:
        opt.step()
        scheduler.step(metric)
        for i, group in enumerate(opt.param_groups):
            rates[i].append(float(group["lr"]))
        best.append(float(scheduler.best))
        bad.append(scheduler.num_bad_epochs)
        cooldown.append(scheduler.cooldown_counter)
    return (
        [
            "case " + spec.text(),
            " ".join(["optimizer", "SGD"] + [repr(b) for b in bases]),
            "metrics " + run_lengths(metrics),
        ]
        + ["lr " + run_lengths(r) for r in rates]
        + [
            "best " + run_lengths(best),
            "num_bad_epochs " + run_lengths(bad),
            "cooldown_counter " + run_lengths(cooldown),
        ]
    )


def simple_cases():
    S = Spec
    yield "lambda_lr", [
        case(S("LambdaLR", lr_lambda="decay")),
        case(S("LambdaLR", lr_lambda="stairs"), THREE),
        case(S("LambdaLR", lr_lambda=["harmonic", "stairs"])),
    ]
    yield "multiplicative_lr", [
        case(S("MultiplicativeLR", lr_lambda="shrink")),
        case(S("MultiplicativeLR", lr_lambda="slowing"), THREE),
        case(S("MultiplicativeLR", lr_lambda=["swing", "shrink"])),
    ]
    yield "step_lr", [
        case(S("StepLR", step_size=30)),
        case(S("StepLR", step_size=1, gamma=0.97)),
        case(S("StepLR", step_size=7, gamma=0.5), THREE),
        case(S("StepLR", step_size=3, gamma=1.01)),
        case(S("StepLR", step_size=1000, gamma=0.1)),
        case(S("StepLR", step_size=100, gamma=0.0)),
    ]
    yield "multi_step_lr", [
        case(S("MultiStepLR", milestones=[30, 80])),
        case(S("MultiStepLR", milestones=[100, 20, 200], gamma=0.3), THREE),
        case(S("MultiStepLR", milestones=[0, 5, 5, 150], gamma=0.5)),
        case(S("MultiStepLR", milestones=[])),
    ]
    yield "constant_lr", [
        case(S("ConstantLR")),
        case(S("ConstantLR", factor=0.5, total_iters=100), THREE),
        case(S("ConstantLR", factor=0.1, total_iters=1)),
        case(S("ConstantLR", factor=0.25, total_iters=1000)),
    ]
    yield "linear_lr", [
        case(S("LinearLR")),
        case(S("LinearLR", start_factor=0.01, total_iters=300)),
        case(S("LinearLR", start_factor=0.5, end_factor=0.1, total_iters=100), THREE),
        case(S("LinearLR", start_factor=1.0, end_factor=0.0, total_iters=310)),
        case(S("LinearLR", start_factor=0.001, total_iters=1)),
    ]
    yield "exponential_lr", [
        case(S("ExponentialLR", gamma=0.9)),
        case(S("ExponentialLR", gamma=0.999), THREE),
        case(S("ExponentialLR", gamma=1.01)),
    ]
    yield "polynomial_lr", [
        case(S("PolynomialLR")),
        case(S("PolynomialLR", total_iters=300)),
        case(S("PolynomialLR", total_iters=310, power=2.0), THREE),
        case(S("PolynomialLR", total_iters=400, power=0.9)),
        case(S("PolynomialLR", total_iters=100, power=0.5)),
    ]


def cyclic_cases():
    def cyclic(bases=TWO, momentum=True, optimizer="SGD", **options):
        spec = Spec("CyclicLR", **options)
        return case(spec, bases, STEPS, optimizer, momentum)

    yield "cosine_annealing_lr", [
        # Only up to T_max: past it Python climbs again.
        case(Spec("CosineAnnealingLR", T_max=320)),
        case(Spec("CosineAnnealingLR", T_max=500, eta_min=1e-05), THREE),
        case(Spec("CosineAnnealingLR", T_max=301, eta_min=0.02), steps=301),
        case(Spec("CosineAnnealingLR", T_max=10), steps=10),
        case(Spec("CosineAnnealingLR", T_max=1, eta_min=0.001), steps=1),
    ]
    yield "cosine_annealing_warm_restarts", [
        case(Spec("CosineAnnealingWarmRestarts", T_0=50)),
        case(Spec("CosineAnnealingWarmRestarts", T_0=10, T_mult=2, eta_min=1e-4), THREE),
        case(Spec("CosineAnnealingWarmRestarts", T_0=1, T_mult=3)),
        case(Spec("CosineAnnealingWarmRestarts", T_0=7, T_mult=1, eta_min=0.01)),
    ]
    yield "cyclic_lr", [
        cyclic(base_lr=0.01, max_lr=0.1, step_size_up=40),
        cyclic(base_lr=0.001, max_lr=0.5, step_size_up=20, step_size_down=50),
        cyclic(base_lr=0.0, max_lr=0.1, step_size_up=100, mode="triangular2"),
        cyclic(
            base_lr=[0.01, 0.02], max_lr=[0.1, 0.06], step_size_up=25,
            mode="triangular2",
        ),
        cyclic(
            THREE, base_lr=0.01, max_lr=0.1, step_size_up=60, step_size_down=30,
            mode="exp_range", gamma=0.99,
        ),
        cyclic(
            base_lr=0.01, max_lr=0.1, step_size_up=16, scale_fn="half_scale",
            base_momentum=[0.7, 0.75], max_momentum=[0.95, 0.85],
        ),
        cyclic(
            base_lr=0.01, max_lr=0.1, step_size_up=16, scale_fn="fade",
            scale_mode="iterations", optimizer="RMSprop",
        ),
        cyclic(base_lr=0.01, max_lr=0.1, cycle_momentum=False, momentum=False),
    ]

    def one_cycle(bases=TWO, optimizer="SGD", steps=None, momentum=True, **options):
        spec = Spec("OneCycleLR", **options)
        total = options.get("total_steps")
        if total is None:
            total = options["epochs"] * options["steps_per_epoch"]
        return case(spec, bases, min(total - 1, STEPS), optimizer, momentum)

    yield "one_cycle_lr", [
        one_cycle(max_lr=0.1, total_steps=321),
        one_cycle(max_lr=[0.1, 0.5], total_steps=310, anneal_strategy="linear"),
        one_cycle(max_lr=0.1, epochs=31, steps_per_epoch=10, pct_start=0.25),
        one_cycle(max_lr=0.1, total_steps=305, three_phase=True),
        one_cycle(
            THREE, max_lr=1.0, total_steps=320, three_phase=True, pct_start=0.45,
            anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0,
        ),
        one_cycle(max_lr=0.1, total_steps=1000, pct_start=0.02, optimizer="Adam"),
        one_cycle(
            max_lr=0.01, total_steps=303, optimizer="AdamW",
            base_momentum=[0.8, 0.7], max_momentum=[0.9, 0.99],
        ),
        one_cycle(max_lr=0.1, total_steps=300, pct_start=0.0),
        one_cycle(max_lr=0.1, total_steps=300, pct_start=0.0, three_phase=True),
        one_cycle(max_lr=0.1, total_steps=300, pct_start=1.0),
        one_cycle(max_lr=0.1, total_steps=10, pct_start=0.05),
        one_cycle(max_lr=0.1, total_steps=1),
        one_cycle(
            max_lr=0.1, total_steps=300, cycle_momentum=False, momentum=False,
        ),
    ]


def composite_cases():
    S = Spec
    linear = S("LinearLR", start_factor=0.1, total_iters=20)
    exponential = S("ExponentialLR", gamma=0.98)
    yield "sequential_lr", [
        case(S("SequentialLR", schedulers=[linear, exponential], milestones=[20])),
        case(
            S(
                "SequentialLR",
                schedulers=[linear, S("CosineAnnealingLR", T_max=400, eta_min=0.001)],
                milestones=[20],
            ),
            THREE,
        ),
        case(
            S(
                "SequentialLR",
                schedulers=[
                    S("ConstantLR", factor=0.5, total_iters=1000),
                    S("StepLR", step_size=20, gamma=0.5),
                    S("CosineAnnealingWarmRestarts", T_0=25),
                ],
                milestones=[50, 200],
            )
        ),
        case(
            S(
                "SequentialLR",
                schedulers=[
                    S("LambdaLR", lr_lambda="harmonic"),
                    S("PolynomialLR", total_iters=300, power=2.0),
                ],
                milestones=[10],
            )
        ),
    ]
    # The cyclic ones overwrite the base rates of the others, hence equal ones.
    cyclic = S("CyclicLR", base_lr=[0.1, 0.03], max_lr=1, step_size_up=4)
    one_cycle = S("OneCycleLR", max_lr=[2.5, 0.75], total_steps=30)
    constant = S("ConstantLR", factor=1.0)
    yield "sequential_momentum", [
        case(
            S("SequentialLR", schedulers=[cyclic, constant], milestones=[6]),
            momentum=True,
        ),
        case(
            S("SequentialLR", schedulers=[one_cycle, exponential], milestones=[20]),
            momentum=True,
        ),
    ]
    yield "chained_scheduler", [
        case(
            S(
                "ChainedScheduler",
                schedulers=[S("ConstantLR", factor=0.1, total_iters=40), exponential],
            )
        ),
        case(
            S(
                "ChainedScheduler",
                schedulers=[
                    linear,
                    S("StepLR", step_size=30, gamma=0.5),
                    S("MultiStepLR", milestones=[100, 150], gamma=0.3),
                ],
            ),
            THREE,
        ),
        case(
            S(
                "ChainedScheduler",
                schedulers=[linear, S("CosineAnnealingLR", T_max=400)],
            )
        ),
        case(
            S(
                "ChainedScheduler",
                schedulers=[
                    S("MultiplicativeLR", lr_lambda="slowing"),
                    S("PolynomialLR", total_iters=400),
                ],
            )
        ),
    ]
    yield "swa_lr", [
        case(S("SWALR", swa_lr=0.05)),
        case(S("SWALR", swa_lr=[0.05, 0.5], anneal_epochs=300)),
        case(S("SWALR", swa_lr=0.01, anneal_epochs=100, anneal_strategy="linear"), THREE),
        case(S("SWALR", swa_lr=0.01, anneal_epochs=0)),
        swa_after(S("SWALR", swa_lr=0.02, anneal_epochs=50), exponential, 40),
        swa_after(
            S("SWALR", swa_lr=0.02, anneal_epochs=30, anneal_strategy="linear"),
            S("CosineAnnealingLR", T_max=100), 60,
        ),
    ]


def plateau_cases():
    yield "reduce_lr_on_plateau", [
        plateau("loss"),
        plateau("loss", factor=0.5, patience=3, cooldown=2),
        plateau("flat", patience=5, min_lr=[0.001, 0.01]),
        plateau("flat", THREE, patience=2, cooldown=10, factor=0.3),
        plateau("flat", patience=0, eps=1e-3),
        plateau("negative", patience=4),
        plateau("negative", patience=4, threshold_mode="abs", threshold=0.05),
        plateau("accuracy", mode="max", patience=3),
        plateau("accuracy", mode="max", patience=3, threshold_mode="abs", threshold=0.01),
        plateau("rising_negative", mode="max", patience=4),
        plateau("rising_negative", mode="max", patience=4, threshold_mode="abs"),
        plateau("nan", patience=2, factor=0.8),
    ]
    # What Python should do with negative metrics (and, the last one, what it
    # does with positive ones).
    even = [
        plateau("negative", python=False, patience=4),
        plateau("rising_negative", python=False, mode="max", patience=4),
        plateau("through_zero", python=False, patience=2, threshold=0.01),
        plateau(
            "minus_through_zero", python=False, mode="max", patience=2, threshold=0.01
        ),
        plateau("minus_flat", python=False, patience=5, factor=0.5),
        plateau("loss", python=False, factor=0.5, patience=3, cooldown=2),
    ]
    yield "reduce_lr_on_plateau_even", even


def adam_cases():
    S = Spec
    cyclic = S("CyclicLR", base_lr=0.01, max_lr=0.1, step_size_up=2)
    yield "adam_cycles", [
        case(cyclic, optimizer="Adam", steps=40, momentum=True),
        case(
            S(
                "CyclicLR", base_lr=0.001, max_lr=0.05, step_size_up=20,
                step_size_down=50, mode="triangular2", base_momentum=[0.7, 0.75],
                max_momentum=[0.95, 0.85],
            ),
            optimizer="AdamW", momentum=True,
        ),
        case(
            S("OneCycleLR", max_lr=0.1, total_steps=200),
            optimizer="Adam", steps=199, momentum=True,
        ),
        case(
            S(
                "OneCycleLR", max_lr=0.1, total_steps=150, three_phase=True,
                anneal_strategy="linear",
            ),
            optimizer="AdamW", steps=149, momentum=True,
        ),
    ]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.join(here, "..", "tests", "lr_scheduler", "goldens")
    folder = sys.argv[1] if len(sys.argv) > 1 else default
    os.makedirs(folder, exist_ok=True)
    total = 0
    groups = [simple_cases, cyclic_cases, composite_cases, plateau_cases]
    if not torch.__version__.startswith("1."):
        groups.append(adam_cases)
    for group in groups:
        for name, cases in group():
            path = os.path.join(folder, name + ".txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"# scripts/make_goldens.py, torch {torch.__version__}\n")
                for lines in cases:
                    file.write("\n" + "\n".join(lines) + "\n")
            total += len(cases)
            print(f"{name}: {len(cases)} cases, {os.path.getsize(path)} bytes")
    print(f"{total} cases")


if __name__ == "__main__":
    main()
