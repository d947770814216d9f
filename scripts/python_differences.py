#!/usr/bin/env python3
"""Runs what docs/lr_scheduler.md says of Python against an installed torch.

    /usr/bin/python3 scripts/python_differences.py [--rows]

Each row of the tables under "How we differ from Python" stands here with the
run that shows it and what each version gives. Prints a line a row and exits
with 1 where Python does something else than the row says. A torch of another
version is held to the latest one that is not newer.

--rows prints case and text of each row, and needs no torch: check_docs.py
compares them with the page. Nothing here is needed to build or to test.
"""

import argparse
import math
import sys
import warnings

ROWS = []


class Row:
    def __init__(self, case, python, expected, observe):
        self.case = case
        self.python = python
        self.expected = expected
        self.observe = observe

    def expected_of(self, version):
        if not isinstance(self.expected, dict):
            return self.expected
        known = [v for v in self.expected if v <= version]
        return self.expected[max(known) if known else min(self.expected)]


def row(case, python, expected):
    """A row of the page. `expected`: what the function below returns, in all
    versions or from version to version ({(1, 13): ..., (2, 14): ...})."""

    def keep(observe):
        ROWS.append(Row(case, python, expected, observe))
        return observe

    return keep


# What the runs are made of.


def number(value):
    return float(f"{float(value):.5g}")


def sgd(*rates, momentum=0.5, kind="SGD"):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": r} for r in rates]
    options = {"momentum": momentum} if kind == "SGD" else {}
    return getattr(torch.optim, kind)(groups, lr=0.1, **options)


def rate(optimizer, group=0):
    return number(optimizer.param_groups[group]["lr"])


def error_of(action):
    """The name of what it throws; None where it throws nothing."""
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return None


def follow(optimizer, scheduler, steps, group=0, look=rate):
    """What is in force at t = 0, 1, ...; ends with the name of an error."""
    seen = [look(optimizer, group)]
    for _ in range(steps):
        optimizer.step()
        error = error_of(scheduler.step)
        if error:
            return seen + [error]
        seen.append(look(optimizer, group))
    return seen


def run(make, steps, base=1.0, **options):
    """The rates of a scheduler that `make` makes of an optimizer."""
    optimizer = sgd(base, **options)
    scheduler = []
    error = error_of(lambda: scheduler.append(make(optimizer)))
    return [error] if error else follow(optimizer, scheduler[0], steps)


# Values.


@row(
    "`OneCycleLR` past `total_steps`",
    "the first step climbs to .0495 of the maximum, the next raises",
    [0.04, 0.52, 1.0, 0.95048, 0.81175, 0.61126, 0.38874, 0.18826, 0.049519]
    + [4e-06, 0.049519, "ValueError"],
)
def _():
    return run(lambda o: py.OneCycleLR(o, 1.0, total_steps=10), 12)


@row(
    "`OneCycleLR(1, total_steps=1)`",
    "4e-6, then .611, then raises",
    [4e-06, 0.61126, "ValueError"],
)
def _():
    return run(lambda o: py.OneCycleLR(o, 1.0, total_steps=1), 3)


@row(
    "`OneCycleLR(total_steps=10, pct_start=0.1)`",
    "divides by zero",
    ["ZeroDivisionError"],
)
def _():
    return run(lambda o: py.OneCycleLR(o, 1.0, total_steps=10, pct_start=0.1), 3)


@row(
    "`CosineAnnealingLR` past `T_max`",
    "climbs again",
    [0.0, 0.14645, 0.5, 0.85355, 1.0],
)
def _():
    return run(lambda o: py.CosineAnnealingLR(o, 4), 8)[4:]


@row(
    "`LinearLR(start_factor=0)`",
    "1.13.1 divides by zero, later ones refuse it",
    {(1, 13): [0.0, "ZeroDivisionError"], (2, 6): ["ValueError"]},
)
def _():
    return run(lambda o: py.LinearLR(o, 0.0), 3)


@row(
    "`ConstantLR(factor=0)`",
    "divides by zero when it ends",
    [0.0, 0.0, "ZeroDivisionError"],
)
def _():
    return run(lambda o: py.ConstantLR(o, 0.0, total_iters=2), 3)


@row(
    "`LinearLR`, `ConstantLR`, `PolynomialLR` with `total_iters=0`",
    "keeps its first rate for ever",
    [[0.5] * 4, [0.5] * 4, [1.0] * 4],
)
def _():
    return [
        run(lambda o: py.LinearLR(o, 0.5, total_iters=0), 3),
        run(lambda o: py.ConstantLR(o, 0.5, total_iters=0), 3),
        run(lambda o: py.PolynomialLR(o, total_iters=0), 3),
    ]


@row(
    "`CosineAnnealingWarmRestarts(T_0=1, T_mult=3).step(121)`",
    "no restart there, by rounding of a logarithm",
    [121],
)
def _():
    optimizer = sgd(1.0)
    scheduler = py.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
    late, start, length = [], 0, 1
    while start < 1000:
        scheduler.step(start)
        if rate(optimizer) != 1:
            late.append(start)
        start, length = start + length, 3 * length
    return late


@row(
    "`ReduceLROnPlateau` with a relative threshold, metrics -1, -1, ...",
    "each is better than the last: no cut",
    [[0.1, -1.0], [0.1, -1.0]],
)
def _():
    def watch(mode):
        optimizer = sgd(0.1)
        scheduler = py.ReduceLROnPlateau(optimizer, mode, patience=0)
        for _ in range(1000):
            scheduler.step(-1.0)
        return [rate(optimizer), scheduler.best]

    return [watch("min"), watch("max")]


@row(
    "the same, -1 to -.8 in 4,000 steps (`min`)",
    "no cut, and the best is -.8",
    [0.1, -0.8],
)
def _():
    optimizer = sgd(0.1)
    scheduler = py.ReduceLROnPlateau(optimizer, patience=0)
    for i in range(4001):
        scheduler.step(-1 + 0.2 * i / 4000)
    return [rate(optimizer), number(scheduler.best)]


@row(
    "a function (`lr_lambda`, `scale_fn`) that returns a NaN or a negative number",
    "accepted",
    [["1.0", "nan"], [1.0, -1.0]],
)
def _():
    late = [math.nan, -1.0]
    nan, negative = (
        run(lambda o: py.LambdaLR(o, lambda t: late[i] if t else 1.0), 1) for i in (0, 1)
    )
    return [[str(value) for value in nan], negative]


@row(
    "a rate that is negative or not finite, a momentum outside [0, 1)",
    "set",
    [[0.1, -0.45, -1.0], 1.5],
)
def _():
    optimizer = sgd(1.0)
    py.CyclicLR(optimizer, 0.1, 1.0, max_momentum=1.5)
    rates = run(
        lambda o: py.CyclicLR(o, 0.1, -1.0, step_size_up=2, cycle_momentum=False), 2
    )
    return [rates, optimizer.param_groups[0]["momentum"]]


@row(
    "`CyclicLR` with `Adam`",
    "1.13.1 refuses it",
    {(1, 13): ["ValueError"], (2, 6): [0.9, 0.85, 0.8, 0.85, 0.9]},
)
def _():
    optimizer = sgd(0.01, kind="Adam")

    def beta1(o, group):
        return number(o.param_groups[group]["betas"][0])

    made = []
    error = error_of(
        lambda: made.append(py.CyclicLR(optimizer, 0.01, 0.1, step_size_up=2))
    )
    return [error] if error else follow(optimizer, made[0], 4, look=beta1)


# Several at once.


@row(
    "a rate written from outside",
    "most classes go on from it; the cosine one may leave its bounds",
    [[0.2, 0.2, 0.1], 0.12912],
)
def _():
    optimizer = sgd(1.0)
    scheduler = py.StepLR(optimizer, 3, 0.5)
    follow(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = 0.2
    rates = follow(optimizer, scheduler, 2)
    optimizer = sgd(1.0)
    scheduler = py.CosineAnnealingLR(optimizer, 10, eta_min=0.5)
    follow(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = 0.1
    return [rates, follow(optimizer, scheduler, 1)[1]]


@row(
    "a second scheduler on the same optimizer",
    "takes `initial_lr` for its base, which the first has left there",
    [0.1, [1.0]],
)
def _():
    optimizer = sgd(1.0)
    py.LinearLR(optimizer, 0.1)
    return [rate(optimizer), py.StepLR(optimizer, 3).base_lrs]


@row(
    "`SequentialLR` with `milestones=[0]`",
    "1.13.1, 2.6.0: the first one's rate stays in (.1 .1 .09)",
    {(1, 13): [0.1, 0.1, 0.09, 0.081], (2, 14): [1.0, 0.9, 0.81, 0.729]},
)
def _():
    return run(
        lambda o: py.SequentialLR(
            o, [py.ConstantLR(o, 0.1, 10), py.ExponentialLR(o, 0.9)], [0]
        ),
        3,
    )


@row(
    "`SequentialLR` with a `MultiplicativeLR` that is not first",
    "begins with the rate in force: .1 .1 .1 .09; 2.14.1: .1 .1 .09",
    {(1, 13): [0.1, 0.1, 0.1, 0.09], (2, 14): [0.1, 0.1, 0.09, 0.081]},
)
def _():
    return run(
        lambda o: py.SequentialLR(
            o,
            [py.ConstantLR(o, 0.1, 2), py.MultiplicativeLR(o, lambda t: 0.9)],
            [2],
        ),
        3,
    )


@row(
    "`SequentialLR` with a `OneCycleLR` or `CyclicLR`",
    "they overwrite the base rates of the others",
    [0.01, 0.055, 0.01, 0.005, 0.0025],
)
def _():
    return run(
        lambda o: py.SequentialLR(
            o,
            [py.CyclicLR(o, 0.01, 0.1, step_size_up=2), py.ExponentialLR(o, 0.5)],
            [2],
        ),
        4,
    )


@row(
    "momentum before the first cycle of a `SequentialLR`",
    "set at t = 0: .9 by `CyclicLR`, .95 by `OneCycleLR`",
    [[0.9, 0.9, 0.9, 0.9, 0.85], [0.95, 0.95, 0.95, 0.95, 0.9]],
)
def _():
    def momenta(cycle):
        optimizer = sgd(1.0)
        parts = [py.ConstantLR(optimizer, 0.5, 3), cycle(optimizer)]
        return follow(
            optimizer,
            py.SequentialLR(optimizer, parts, [3]),
            4,
            look=lambda o, group: number(o.param_groups[group]["momentum"]),
        )

    return [
        momenta(lambda o: py.CyclicLR(o, 0.1, 1.0, step_size_up=2)),
        momenta(lambda o: py.OneCycleLR(o, 1.0, total_steps=10)),
    ]


@row(
    "`ChainedScheduler` with one that ignores the rate in force "
    "(`LambdaLR`, warm restarts)",
    "the last one wins",
    [[1.0, 0.9, 0.81], [1.0, 0.97553, 0.90451]],
)
def _():
    def chain(last):
        return run(
            lambda o: py.ChainedScheduler([py.ConstantLR(o, 0.5, 9), last(o)]), 2
        )

    return [
        chain(lambda o: py.LambdaLR(o, lambda t: 0.9**t)),
        chain(lambda o: py.CosineAnnealingWarmRestarts(o, 10)),
    ]


@row(
    "a cosine with `eta_min` in a chain",
    "an `eta_min` that others scale, step by step",
    [1.0, 0.44142, 0.17071, 0.095711, 0.1],
)
def _():
    return run(
        lambda o: py.ChainedScheduler(
            [py.ExponentialLR(o, 0.5), py.CosineAnnealingLR(o, 4, eta_min=0.1)]
        ),
        4,
    )


@row(
    "a `SequentialLR` in a `ChainedScheduler`",
    "a milestone sets the base rate again: "
    "`Exponential(.9)` and two `Constant(1)`, milestone 3, are at 1 there",
    [1.0, 0.9, 0.81, 1.0, 0.9],
)
def _():
    def make(o):
        first = py.ExponentialLR(o, 0.9)
        parts = [py.ConstantLR(o, 1.0), py.ConstantLR(o, 1.0)]
        return py.ChainedScheduler([first, py.SequentialLR(o, parts, [3])])

    return run(make, 4)


@row(
    "a `ChainedScheduler` in a `SequentialLR`",
    "1.13.1: `AttributeError`; later ones: raise at its milestone",
    {
        (1, 13): ["AttributeError"],
        (2, 6): [1.0, 1.0, 1.0, "TypeError"],
        (2, 14): [1.0, 1.0, 1.0, "NotImplementedError"],
    },
)
def _():
    def make(o):
        chain = py.ChainedScheduler([py.ExponentialLR(o, 0.9), py.ConstantLR(o, 0.5)])
        return py.SequentialLR(o, [py.ConstantLR(o, 1.0), chain], [3])

    return run(make, 4)


@row(
    "`SWALR` when something writes the rate in between",
    "drifts",
    [[0.1, 0.2], [0.9, 0.76667, 0.63333, 0.5]],
)
def _():
    optimizer = sgd(0.1)
    scheduler = SWALR(optimizer, 0.5, anneal_epochs=4, anneal_strategy="linear")
    before = follow(optimizer, scheduler, 1)
    optimizer.param_groups[0]["lr"] = 0.9
    return [before, follow(optimizer, scheduler, 3)]


# A group added later.


def added(make):
    """The rates of a group of .5 that comes after the scheduler."""
    optimizer = sgd(1.0)
    scheduler = make(optimizer)
    extra = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5}
    optimizer.add_param_group(extra)
    return follow(optimizer, scheduler, 4, group=1)


@row(
    "`LinearLR(total_iters=4)`",
    "climbs to 1.5",
    [0.5, 0.75, 1.0, 1.25, 1.5],
)
def _():
    return added(lambda o: py.LinearLR(o, total_iters=4))


@row(
    "`ConstantLR(0.5, total_iters=4)`",
    "rises to 1.0",
    [0.5, 0.5, 0.5, 0.5, 1.0],
)
def _():
    return added(lambda o: py.ConstantLR(o, 0.5, total_iters=4))


@row(
    "`LambdaLR`, `CyclicLR`, `CosineAnnealingWarmRestarts`, `MultiplicativeLR`",
    "ignored; 2.14.1 raises",
    {(1, 13): [[0.5] * 5] * 4, (2, 14): [[0.5, "ValueError"]] * 4},
)
def _():
    return [
        added(lambda o: py.LambdaLR(o, lambda t: 0.9**t)),
        added(lambda o: py.CyclicLR(o, 0.1, 1.0, step_size_up=4)),
        added(lambda o: py.CosineAnnealingWarmRestarts(o, 5)),
        added(lambda o: py.MultiplicativeLR(o, lambda t: 0.9)),
    ]


@row("`OneCycleLR`, `SWALR`", "raise", [[0.5, "KeyError"]] * 2)
def _():
    return [
        added(lambda o: py.OneCycleLR(o, 1.0, total_steps=10)),
        added(lambda o: SWALR(o, 0.1)),
    ]


# Going on.


def resumed(make, k=3, steps=4):
    """Made with last_epoch=k and the rate of t = k in the optimizer."""
    rate_of_k = run(make, k)[k]
    optimizer = sgd(rate_of_k)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    return follow(optimizer, make(optimizer, last_epoch=k), steps)


@row(
    "`last_epoch=3`: `StepLR`, `MultiStepLR`, `ConstantLR`, `LambdaLR`, warm restarts",
    "begins at t = 4",
    [
        [0.25, 0.25, 0.125],
        [0.5, 0.25, 0.25],
        [1.0, 1.0, 1.0],
        [0.6561, 0.59049, 0.53144],
        [0.095492, 1.0, 0.90451],
    ],
)
def _():
    return [
        resumed(lambda o, **k: py.StepLR(o, 2, 0.5, **k), steps=2),
        resumed(lambda o, **k: py.MultiStepLR(o, [2, 5], 0.5, **k), steps=2),
        resumed(lambda o, **k: py.ConstantLR(o, 0.5, 4, **k), steps=2),
        resumed(lambda o, **k: py.LambdaLR(o, lambda t: 0.9**t, **k), steps=2),
        resumed(lambda o, **k: py.CosineAnnealingWarmRestarts(o, 5, **k), steps=2),
    ]


@row(
    "`last_epoch=3`: `ExponentialLR`, `MultiplicativeLR`",
    "begins at t = 4; 2.14.1: with the clock at 4 and the rate of 3",
    {
        (1, 13): [[0.6561, 0.59049], 4] * 2,
        (2, 14): [[0.729, 0.6561], 4] * 2,
    },
)
def _():
    seen = []
    for make in (
        lambda o, **k: py.ExponentialLR(o, 0.9, **k),
        lambda o, **k: py.MultiplicativeLR(o, lambda t: 0.9, **k),
    ):
        seen.append(resumed(make, steps=1))
        optimizer = sgd(0.729)
        optimizer.param_groups[0]["initial_lr"] = 1.0
        seen.append(make(optimizer, last_epoch=3).last_epoch)
    return seen


@row(
    "`last_epoch=3`: `LinearLR(0.1, total_iters=5)`",
    "begins at t = 4; 2.14.1: .64 .7805 .7805 for ever",
    {
        (1, 13): [0.82, 1.0, 1.0, 1.0, 1.0],
        (2, 14): [0.64, 0.78049, 0.78049, 0.78049, 0.78049],
    },
)
def _():
    return resumed(lambda o, **k: py.LinearLR(o, 0.1, total_iters=5, **k))


@row(
    "`last_epoch=3`: `PolynomialLR(6)`, `CosineAnnealingLR(8)`",
    "begins at t = 4; 2.14.1 leaves the curve: .5 .25 0, .6913 .4268 .2025",
    {
        (1, 13): [[0.33333, 0.16667, 0.0], [0.5, 0.30866, 0.14645]],
        (2, 14): [[0.5, 0.25, 0.0], [0.69134, 0.42678, 0.20249]],
    },
)
def _():
    return [
        resumed(lambda o, **k: py.PolynomialLR(o, 6, **k), steps=2),
        resumed(lambda o, **k: py.CosineAnnealingLR(o, 8, **k), steps=2),
    ]


@row(
    "`last_epoch=3`: `SequentialLR`, past its milestone",
    "begins with the first part again",
    {(1, 13): [0.1, 0.1, 0.09], (2, 14): [0.1, 0.09, 0.081]},
)
def _():
    optimizer = sgd(1.0)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    parts = [py.ConstantLR(optimizer, 0.1, 2), py.ExponentialLR(optimizer, 0.9)]
    scheduler = py.SequentialLR(optimizer, parts, [2], last_epoch=3)
    return follow(optimizer, scheduler, 2)


@row(
    "a scheduler's state without its optimizer's",
    "the rate stays: .1 for .01, after the next cut .01 for .001",
    [0.01, [0.1, 0.01]],
)
def _():
    optimizer = sgd(0.1)
    scheduler = py.StepLR(optimizer, 2, 0.1)
    follow(optimizer, scheduler, 3)
    other = sgd(0.1)
    loaded = py.StepLR(other, 2, 0.1)
    loaded.load_state_dict(scheduler.state_dict())
    return [rate(optimizer), follow(other, loaded, 1)]


@row(
    "a `LambdaLR` with a callable object",
    "saves its attributes",
    0.5,
)
def _():
    class Factor:
        def __init__(self, value):
            self.value = value

        def __call__(self, t):
            return self.value

    saved = py.LambdaLR(sgd(1.0), Factor(0.5)).state_dict()
    loaded = py.LambdaLR(sgd(1.0), Factor(0.9))
    loaded.load_state_dict(saved)
    return loaded.lr_lambdas[0].value


@row(
    "the state of another class",
    "loads, and overwrites attributes",
    0.9,
)
def _():
    loaded = py.StepLR(sgd(1.0), 3, 0.1)
    loaded.load_state_dict(py.ExponentialLR(sgd(1.0), 0.9).state_dict())
    return loaded.gamma


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", action="store_true", help="print the rows only")
    if parser.parse_args().rows:
        for each in ROWS:
            print(f"{each.case}\t{each.python}")
        return 0

    global torch, py, SWALR
    import torch
    from torch.optim import lr_scheduler as py
    from torch.optim.swa_utils import SWALR

    warnings.filterwarnings("ignore")
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    print(f"torch {torch.__version__}")
    differ = 0
    for each in ROWS:
        seen, expected = each.observe(), each.expected_of(version)
        print(f"{'ok' if seen == expected else 'DIFFERS':8}{each.case}: {seen}")
        if seen != expected:
            print(f"{'':8}the page stands for {expected}")
            differ += 1
    print(f"{len(ROWS)} rows, {differ} of them otherwise than the page says")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
