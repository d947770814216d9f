#!/usr/bin/env python3
"""Writes tests/schedule/goldens/*.txt: the schedules of other libraries, and
the line of ours that has to give the same rates.

    python3 scripts/make_schedule_goldens.py [DIR]

The rates are computed here from each library's documented formula, with
nothing but Python's own arithmetic; cycles are found by adding up their
lengths. Sources: timm's scheduler/*.py and Zhang & Li 2020 (k-decay), Optax's
schedules/_schedule.py, Keras' learning_rate_schedule.py, Hugging Face's
transformers/optimization.py. Nothing here is needed to build or to test.

formulas.txt holds formulas that people bring, as Python reads them, with lr for
the base rate.

A file holds cases. A case is

    case cosine_decay_schedule(init_value=0.1, decay_steps=100)
    ours cosine 100
    base 0.1
    lr 0.1 0.09997532801828658 ...

the call as docs/migration.md has it, the line of ours, the base rate that goes
with it and the rates at t = 0, 1, 2, ...
"""

import math
import os
import sys

BASE = 0.1
STEPS = 130


def cosine(x):
    return (1 + math.cos(math.pi * x)) / 2


def line(x, first, last):
    return first + (last - first) * x


def cycle_of(t, first, growth):
    """The index, the time since its start and the length of the cycle at t."""
    index, start, length = 0, 0, first
    while t >= start + length:
        start += length
        length *= growth
        index += 1
    return index, t - start, length


# timm. Its groups bring the base rate; floors and first rates are rates.


def timm_warmup(t, rate_at, warmup_t=0, warmup_lr_init=0.0, warmup_prefix=False):
    if t < warmup_t:
        return line(t / warmup_t, warmup_lr_init, BASE)
    return rate_at(t - warmup_t if warmup_prefix else t)


def timm_cycles(
    fall, t_initial, lr_min=0.0, cycle_mul=1, cycle_decay=1.0, cycle_limit=1, **warmup
):
    def rate_at(t):
        index, offset, length = cycle_of(t, t_initial, cycle_mul)
        if index >= cycle_limit:
            return lr_min
        return lr_min + (BASE * cycle_decay**index - lr_min) * fall(offset / length)

    return lambda t: timm_warmup(t, rate_at, **warmup)


def CosineLRScheduler(k_decay=1.0, **rest):
    return timm_cycles(lambda x: cosine(x**k_decay), **rest)


def PolyLRScheduler(power=0.5, k_decay=1.0, **rest):
    return timm_cycles(lambda x: (1 - x**k_decay) ** power, **rest)


def TanhLRScheduler(lb=-7.0, ub=3.0, **rest):
    return timm_cycles(lambda x: (1 - math.tanh(line(x, lb, ub))) / 2, **rest)


def StepLRScheduler(decay_t, decay_rate, **warmup):
    warmup.setdefault("warmup_prefix", True)
    return lambda t: timm_warmup(
        t, lambda s: BASE * decay_rate ** (s // decay_t), **warmup
    )


def MultiStepLRScheduler(decay_t, decay_rate, **warmup):
    warmup.setdefault("warmup_prefix", True)
    # A milestone is met one step early: t + 1 is compared.
    return lambda t: timm_warmup(
        t,
        lambda s: BASE * decay_rate ** sum(m <= s + 1 for m in decay_t),
        **warmup,
    )


# Optax.


def constant_schedule(value):
    return lambda t: value


def polynomial_schedule(
    init_value, end_value, power, transition_steps, transition_begin=0
):
    def rate_at(t):
        x = min(max(t - transition_begin, 0), transition_steps) / transition_steps
        return end_value + (init_value - end_value) * (1 - x) ** power

    return rate_at


def linear_schedule(init_value, end_value, transition_steps, transition_begin=0):
    return polynomial_schedule(
        init_value, end_value, 1, transition_steps, transition_begin
    )


def exponential_decay(
    init_value, transition_steps, decay_rate, staircase=False, end_value=None
):
    def rate_at(t):
        n = t // transition_steps if staircase else t / transition_steps
        rate = init_value * decay_rate**n
        return rate if end_value is None else max(rate, end_value)

    return rate_at


def cosine_decay_schedule(init_value, decay_steps, alpha=0.0, exponent=1.0):
    return lambda t: init_value * line(
        cosine(min(t, decay_steps) / decay_steps) ** exponent, alpha, 1
    )


def joined(first, length, second):
    return lambda t: first(t) if t < length else second(t - length)


def warmup_constant_schedule(init_value, peak_value, warmup_steps):
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0
):
    return joined(
        linear_schedule(init_value, peak_value, warmup_steps),
        warmup_steps,
        cosine_decay_schedule(
            peak_value, decay_steps - warmup_steps, end_value / peak_value, exponent
        ),
    )


def warmup_exponential_decay_schedule(
    init_value, peak_value, warmup_steps, transition_steps, decay_rate
):
    return joined(
        linear_schedule(init_value, peak_value, warmup_steps),
        warmup_steps,
        exponential_decay(peak_value, transition_steps, decay_rate),
    )


def piecewise_constant_schedule(init_value, boundaries_and_scales):
    def rate_at(t):
        rate = init_value
        for boundary, scale in boundaries_and_scales.items():
            rate *= scale if t >= boundary else 1
        return rate

    return rate_at


def piecewise_interpolate_schedule(interpolate_type, init_value, boundaries_and_scales):
    def rate_at(t):
        start, rate = 0, init_value
        for boundary, scale in boundaries_and_scales.items():
            if t < boundary:
                x = (t - start) / (boundary - start)
                x = 1 - cosine(x) if interpolate_type == "cosine" else x
                return line(x, rate, rate * scale)
            start, rate = boundary, rate * scale
        return rate

    return rate_at


def linear_onecycle_schedule(transition_steps, peak_value):
    return piecewise_interpolate_schedule(
        "linear",
        peak_value / 25,
        {
            round(0.3 * transition_steps): 25,
            round(0.85 * transition_steps): 1 / 25,
            transition_steps: 1e-4,
        },
    )


def cosine_onecycle_schedule(transition_steps, peak_value):
    return piecewise_interpolate_schedule(
        "cosine",
        peak_value / 25,
        {round(0.3 * transition_steps): 25, transition_steps: 1 / 25e4},
    )


# Keras.


def ExponentialDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False):
    return exponential_decay(initial_learning_rate, decay_steps, decay_rate, staircase)


def PiecewiseConstantDecay(boundaries, values):
    # A boundary itself belongs to the value before it.
    return lambda t: values[sum(t > boundary for boundary in boundaries)]


def PolynomialDecay(
    initial_learning_rate, decay_steps, end_learning_rate=1e-4, power=1.0, cycle=False
):
    def rate_at(t):
        horizon = decay_steps * (max(1, -(-t // decay_steps)) if cycle else 1)
        left = 1 - min(t, horizon) / horizon
        return line(left**power, end_learning_rate, initial_learning_rate)

    return rate_at


def InverseTimeDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False):
    return lambda t: initial_learning_rate / (
        1 + decay_rate * (t // decay_steps if staircase else t / decay_steps)
    )


def CosineDecay(
    initial_learning_rate, decay_steps, alpha=0.0, warmup_target=None, warmup_steps=0
):
    if warmup_target is None:
        return cosine_decay_schedule(initial_learning_rate, decay_steps, alpha)
    return joined(
        linear_schedule(initial_learning_rate, warmup_target, max(warmup_steps, 1)),
        warmup_steps,
        cosine_decay_schedule(warmup_target, decay_steps, alpha),
    )


def CosineDecayRestarts(
    initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0
):
    def rate_at(t):
        index, offset, length = cycle_of(t, first_decay_steps, t_mul)
        return initial_learning_rate * line(
            m_mul**index * cosine(offset / length), alpha, 1
        )

    return rate_at


# Hugging Face. Each warms up from 0 and multiplies the base rate.


def hugging_face(fall):
    def schedule(num_warmup_steps, num_training_steps=None, **options):
        def rate_at(t):
            if t < num_warmup_steps:
                return BASE * t / num_warmup_steps
            after = t - num_warmup_steps
            if num_training_steps is None:
                return BASE * fall(after, num_warmup_steps, **options)
            return BASE * fall(
                after / (num_training_steps - num_warmup_steps), **options
            )

        return rate_at

    return schedule


def get_constant_schedule():
    return lambda t: BASE


get_constant_schedule_with_warmup = hugging_face(lambda after, warmup: 1)
get_inverse_sqrt_schedule = hugging_face(
    lambda after, warmup: math.sqrt(warmup / (warmup + after))
)
get_linear_schedule_with_warmup = hugging_face(lambda x: max(0, 1 - x))
get_cosine_schedule_with_warmup = hugging_face(
    lambda x, num_cycles=0.5: cosine(2 * num_cycles * x)
)
get_cosine_with_hard_restarts_schedule_with_warmup = hugging_face(
    lambda x, num_cycles=1: 0 if x >= 1 else cosine(num_cycles * x % 1)
)
get_polynomial_decay_schedule_with_warmup = hugging_face(
    lambda x, lr_end=1e-7, power=1.0: line(max(0, 1 - x) ** power, lr_end / BASE, 1)
)
get_cosine_with_min_lr_schedule_with_warmup = hugging_face(
    lambda x, min_lr_rate: line(cosine(x), min_lr_rate, 1)
)


def get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
    num_warmup_steps, num_training_steps, min_lr_rate
):
    # Everything one step further on than in the others.
    def rate_at(t):
        if t < num_warmup_steps:
            return BASE * (t + 1) / num_warmup_steps
        x = (t + 1 - num_warmup_steps) / (num_training_steps - num_warmup_steps)
        return BASE * line(cosine(x), min_lr_rate, 1)

    return rate_at


def get_wsd_schedule(
    num_warmup_steps,
    num_stable_steps,
    num_decay_steps,
    decay_type="cosine",
    min_lr_ratio=0.0,
):
    falls = {
        "linear": lambda x: 1 - x,
        "cosine": cosine,
        "1-sqrt": lambda x: 1 - math.sqrt(x),
    }

    def rate_at(t):
        if t < num_warmup_steps:
            return BASE * line(t / num_warmup_steps, min_lr_ratio, 1)
        x = (t - num_warmup_steps - num_stable_steps) / num_decay_steps
        fall = falls[decay_type](min(1, x)) if x > 0 else 1
        return BASE * line(fall, min_lr_ratio, 1)

    return rate_at


def formula(expression):
    names = {"lr": BASE, "cos": math.cos, "pi": math.pi, "sqrt": math.sqrt}
    return lambda t: eval(expression, {**names, "t": t})


# The call or the formula, the line of ours, and how many steps where it is not
# STEPS.
CASES = {
    "formulas": [
        ("lr * min(1, (t + 1) / 10)", "warmup 9"),
        ("lr * min(1, (t + 1) / (10 + 1))", "warmup 10"),
        ("lr * min(1, t / 10)", "warmup 10 from 0"),
        ("0.001 + (lr - 0.001) * min(1, t / 10)", "warmup 10 from 0.01"),
        (
            "0.001 + (lr - 0.001) * (1 + cos(pi * min(1, t / 100))) / 2",
            "cosine 100 to 0.01",
        ),
        (
            "max(0.001, lr * (1 + cos(pi * min(1, t / 100))) / 2)",
            "cosine 100 clamp 0.01 1",
        ),
        (
            "lr * (1 + cos(pi * min(1, t / (100 - 1)))) / 2",
            "cosine 99",
        ),
        (
            "lr * (1 + cos(pi * min(1, (t + 1) / 100))) / 2",
            "cosine 100 shift -1",
        ),
        (
            "lr * min(t / 10, max(0, (100 - t) / (100 - 10)))",
            "warmup 10 from 0 > linear 90",
        ),
        ("lr * max(0, 1 - t / 100) ** 0.9", "polynomial 100 power 0.9"),
        ("lr * 0.5 ** (t // 30)", "step 30 gamma 0.5"),
        ("lr * 0.5 ** (t / 30)", "exponential 0.5 every 30"),
        ("lr / (1 + 0.01 * t)", "inverse_time 0.01"),
        ("lr / sqrt(t + 1)", "inverse_sqrt 1"),
        (
            "lr * min(t / 10, sqrt(10 / max(t, 1)))",
            "warmup 10 from 0 > inverse_sqrt 10",
        ),
        (
            "lr if t < 75 else lr * (1 - sqrt(min(1, (t - 75) / 25)))",
            "constant for 75 > cooldown 25 sqrt",
        ),
    ],
    "timm": [
        ("CosineLRScheduler(t_initial=100, lr_min=0.001)", "cosine 100 to 0.01"),
        (
            "CosineLRScheduler(t_initial=100, lr_min=0.001, warmup_t=5, warmup_lr_init=1e-4, warmup_prefix=True)",
            "warmup 5 from 0.001 > cosine 100 to 0.01",
        ),
        (
            "CosineLRScheduler(t_initial=100, lr_min=0.001, warmup_t=5, warmup_lr_init=1e-4)",
            "warmup 5 from 0.001 > cosine 100 to 0.01 shift -5",
        ),
        (
            "CosineLRScheduler(t_initial=50, lr_min=0.005, cycle_mul=2, cycle_decay=0.5, cycle_limit=3)",
            "cosine_restarts 50 stretch 2 decay 0.5 cycles 3 to 0.05",
            370,
        ),
        (
            "CosineLRScheduler(t_initial=50, lr_min=0.005, cycle_decay=0.5, cycle_limit=3, k_decay=2)",
            "cosine 50 to 0.05 k 2 repeat 3 decay 0.5 to 0.05",
            170,
        ),
        ("PolyLRScheduler(t_initial=100)", "polynomial 100 power 0.5"),
        (
            "PolyLRScheduler(t_initial=100, lr_min=0.001, k_decay=2)",
            "polynomial 100 power 0.5 to 0.01 k 2",
        ),
        (
            "PolyLRScheduler(t_initial=100, power=2, k_decay=0.5)",
            "polynomial 100 power 2 k 0.5",
        ),
        (
            "PolyLRScheduler(t_initial=50, power=2, lr_min=0.005, cycle_mul=2, cycle_decay=0.5, cycle_limit=3)",
            "polynomial 50 power 2 to 0.05 repeat 3 stretch 2 decay 0.5 to 0.05",
            370,
        ),
        (
            "PolyLRScheduler(t_initial=40, lr_min=0.005, cycle_mul=1.5, cycle_decay=0.5, cycle_limit=4, k_decay=2)",
            "polynomial 40 power 0.5 to 0.05 k 2 repeat 4 stretch 1.5 decay 0.5 to 0.05",
            340,
        ),
        (
            "TanhLRScheduler(t_initial=100, lr_min=0.001)",
            "tanh 100 lower -7 to 0.01 > constant 0.01",
        ),
        (
            "TanhLRScheduler(t_initial=50, lr_min=0.005, cycle_decay=0.5, cycle_limit=3)",
            "tanh 50 lower -7 to 0.05 repeat 3 decay 0.5 to 0.05 > constant 0.05",
            170,
        ),
        ("StepLRScheduler(decay_t=30, decay_rate=0.1)", "step 30"),
        (
            "StepLRScheduler(decay_t=30, decay_rate=0.1, warmup_t=5)",
            "warmup 5 from 0 > step 30",
        ),
        (
            "MultiStepLRScheduler(decay_t=[30, 60], decay_rate=0.1)",
            "multi_step 29 59",
        ),
    ],
    "optax": [
        ("constant_schedule(0.1)", "constant"),
        (
            "linear_schedule(init_value=0.1, end_value=0.01, transition_steps=100, transition_begin=20)",
            "linear 100 to 0.1 shift 20",
        ),
        (
            "polynomial_schedule(init_value=0.1, end_value=0.01, power=2, transition_steps=100)",
            "polynomial 100 power 2 to 0.1",
        ),
        (
            "exponential_decay(init_value=0.1, transition_steps=50, decay_rate=0.5)",
            "exponential 0.5 every 50",
        ),
        (
            "exponential_decay(init_value=0.1, transition_steps=50, decay_rate=0.5, staircase=True)",
            "step 50 gamma 0.5",
        ),
        (
            "exponential_decay(init_value=0.1, transition_steps=50, decay_rate=0.5, end_value=0.03)",
            "exponential 0.5 every 50 clamp 0.3 1",
        ),
        (
            "cosine_decay_schedule(init_value=0.1, decay_steps=100, alpha=0.1)",
            "cosine 100 to 0.1",
        ),
        (
            "cosine_decay_schedule(init_value=0.1, decay_steps=100, alpha=0.1, exponent=2.0)",
            "cosine 100 to 0.1 exponent 2",
        ),
        (
            "cosine_decay_schedule(init_value=0.1, decay_steps=100, exponent=0.5)",
            "cosine 100 exponent 0.5",
        ),
        (
            "warmup_constant_schedule(init_value=0.0, peak_value=0.1, warmup_steps=10)",
            "warmup 10 from 0",
        ),
        (
            "warmup_cosine_decay_schedule(init_value=0.0, peak_value=0.1, warmup_steps=10, decay_steps=100, end_value=0.001)",
            "warmup 10 from 0 > cosine 90 to 0.01",
        ),
        (
            "warmup_cosine_decay_schedule(init_value=0.01, peak_value=0.1, warmup_steps=10, decay_steps=100, exponent=1.5)",
            "warmup 10 from 0.1 > cosine 90 exponent 1.5",
        ),
        (
            "warmup_exponential_decay_schedule(init_value=0.0, peak_value=0.1, warmup_steps=10, transition_steps=50, decay_rate=0.5)",
            "warmup 10 from 0 > exponential 0.5 every 50",
        ),
        (
            "piecewise_constant_schedule(init_value=0.1, boundaries_and_scales={50: 0.1, 80: 0.5})",
            "constant for 50 > constant 0.1 for 30 > constant 0.05",
        ),
        (
            "piecewise_interpolate_schedule('linear', 0.1, {50: 0.5, 100: 0.1})",
            "piecewise 0:1 50:0.5 100:0.05",
        ),
        (
            "piecewise_interpolate_schedule('cosine', 0.1, {50: 0.5, 100: 0.1})",
            "piecewise 0:1 50:0.5 100:0.05 cosine",
        ),
        (
            "linear_onecycle_schedule(transition_steps=100, peak_value=0.1)",
            "piecewise 0:0.04 30:1 85:0.04 100:4e-6",
        ),
        (
            "cosine_onecycle_schedule(transition_steps=100, peak_value=0.1)",
            "one_cycle 100",
        ),
    ],
    "keras": [
        (
            "ExponentialDecay(initial_learning_rate=0.1, decay_steps=50, decay_rate=0.5)",
            "exponential 0.5 every 50",
        ),
        (
            "ExponentialDecay(initial_learning_rate=0.1, decay_steps=50, decay_rate=0.5, staircase=True)",
            "step 50 gamma 0.5",
        ),
        (
            "PiecewiseConstantDecay(boundaries=[50, 80], values=[0.1, 0.05, 0.01])",
            "constant for 51 > constant 0.5 for 30 > constant 0.1",
        ),
        (
            "PolynomialDecay(initial_learning_rate=0.1, decay_steps=100, end_learning_rate=0.01, power=2.0)",
            "polynomial 100 power 2 to 0.1",
        ),
        (
            "PolynomialDecay(initial_learning_rate=0.1, decay_steps=30, end_learning_rate=0.01, cycle=True)",
            "polynomial_cycles 30 to 0.1",
            310,
        ),
        (
            "PolynomialDecay(initial_learning_rate=0.1, decay_steps=7, end_learning_rate=0.0, power=0.5, cycle=True)",
            "polynomial_cycles 7 power 0.5",
        ),
        (
            "InverseTimeDecay(initial_learning_rate=0.1, decay_steps=50, decay_rate=0.5)",
            "inverse_time 0.5 every 50",
        ),
        (
            "InverseTimeDecay(initial_learning_rate=0.1, decay_steps=50, decay_rate=0.5, staircase=True)",
            "inverse_time 0.5 every 50 staircase",
        ),
        (
            "CosineDecay(initial_learning_rate=0.1, decay_steps=100, alpha=0.1)",
            "cosine 100 to 0.1",
        ),
        (
            "CosineDecay(initial_learning_rate=0.0, decay_steps=90, alpha=0.1, warmup_target=0.1, warmup_steps=10)",
            "warmup 10 from 0 > cosine 90 to 0.1",
        ),
        (
            "CosineDecayRestarts(initial_learning_rate=0.1, first_decay_steps=50, t_mul=2.0, m_mul=0.5, alpha=0.1)",
            "cosine_restarts 50 stretch 2 decay 0.5 above 0.1",
            400,
        ),
        (
            "CosineDecayRestarts(initial_learning_rate=0.1, first_decay_steps=40, t_mul=1.0, m_mul=0.8, alpha=0.2)",
            "cosine 40 to 0.2 repeat decay 0.8 above 0.2",
            200,
        ),
    ],
    # Their cosine rises again past the end of the run.
    "hugging_face": [
        ("get_constant_schedule()", "constant"),
        ("get_constant_schedule_with_warmup(num_warmup_steps=10)", "warmup 10 from 0"),
        (
            "get_linear_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100)",
            "warmup 10 from 0 > linear 90",
        ),
        (
            "get_cosine_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100)",
            "warmup 10 from 0 > cosine 90",
            100,
        ),
        (
            "get_cosine_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100, num_cycles=1.5)",
            "warmup 10 from 0 > cosine 30 > cosine 30 from 0 to 1 > cosine 30",
            100,
        ),
        (
            "get_cosine_with_hard_restarts_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100, num_cycles=3)",
            "warmup 10 from 0 > cosine_restarts 30 cycles 3",
        ),
        (
            "get_cosine_with_min_lr_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100, min_lr_rate=0.1)",
            "warmup 10 from 0 > cosine 90 to 0.1",
            100,
        ),
        (
            "get_cosine_with_min_lr_schedule_with_warmup_lr_rate(num_warmup_steps=10, num_training_steps=100, min_lr_rate=0.1)",
            "warmup 9 > cosine 90 to 0.1",
            99,
        ),
        (
            "get_polynomial_decay_schedule_with_warmup(num_warmup_steps=10, num_training_steps=100, lr_end=1e-7, power=2.0)",
            "warmup 10 from 0 > polynomial 90 power 2 to 1e-6",
        ),
        (
            "get_inverse_sqrt_schedule(num_warmup_steps=10)",
            "warmup 10 from 0 > inverse_sqrt 10",
        ),
        (
            "get_wsd_schedule(num_warmup_steps=10, num_stable_steps=60, num_decay_steps=30)",
            "warmup 10 from 0 > constant for 60 > cosine 30",
        ),
        (
            "get_wsd_schedule(num_warmup_steps=10, num_stable_steps=60, num_decay_steps=30, decay_type='1-sqrt', min_lr_ratio=0.1)",
            "warmup 10 from 0.1 > constant for 60 > cooldown 30 sqrt to 0.1",
        ),
    ],
}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.join(here, "..", "tests", "schedule", "goldens")
    folder = sys.argv[1] if len(sys.argv) > 1 else default
    os.makedirs(folder, exist_ok=True)
    for name, cases in CASES.items():
        path = os.path.join(folder, name + ".txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# scripts/make_schedule_goldens.py\n")
            for call, ours, *steps in cases:
                # One of the functions above, or a formula of t.
                schedule = formula(call) if name == "formulas" else eval(call)
                last = steps[0] if steps else STEPS
                rates = [schedule(t) for t in range(last + 1)]
                file.write(f"\ncase {call}\nours {ours}\nbase {BASE!r}\n")
                file.write("lr " + " ".join(map(repr, rates)) + "\n")
        print(f"{name}: {len(cases)} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
