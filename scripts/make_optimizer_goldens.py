#!/usr/bin/env python3
"""Writes tests/adaptive/goldens/*.txt: where reference implementations go.

    /usr/bin/python3 scripts/make_optimizer_goldens.py REFERENCES [NAME ...]

REFERENCES is a folder with checkouts of these public repositories, each in a
folder of its name; nothing of them is needed to build or to test:

    facebookresearch/schedule_free        70785b53e778
    konstmish/prodigy                     3efb213ee8af
    facebookresearch/dadaptation          c984980213a9
    formll/dog                            8d45cf569e38
    KellerJordan/Muon                     857d1adc159e
    amirgholami/adahessian                85ebc00ce873
    Liuhong99/Sophia                      a7e157229b71
    kozistr/pytorch_optimizer             7a076d2f8f09
    davda54/sam                           3c3afdbd71cf
    gbaydin/hypergradient-descent         020d6080c4ce

The problem is tests/adaptive/optimizer_golden.h's: a quadratic whose lowest
point moves about. A file holds, a line each,

    source OWNER/REPOSITORY CLASS
    at TYPE STEP VALUE ...

all parameters after that update, in the order of the shapes below, and numbers
of the optimizer as

    number TYPE NAME STEP VALUE
"""

import math
import os
import sys

import torch

STEPS = 200
KEPT = (1, 2, 10, 50, 200)
SHAPES = ((4, 3), (5,), (2, 3, 2, 2), (1,))


def counted(shape, first, function, dtype):
    count = math.prod(shape)
    values = [function(i) for i in range(first, first + count)]
    return torch.tensor(values, dtype=torch.float64).to(dtype).reshape(shape)


class Problem:
    def __init__(self, dtype):
        self.dtype = dtype
        self.parameters = []
        self.curvature = []
        self.lowest = []
        self.first = []
        first = 0
        for shape in SHAPES:
            self.first.append(first)
            make = lambda function: counted(shape, first, function, dtype)
            self.parameters.append(
                torch.nn.Parameter(make(lambda i: ((3 * i) % 17 - 8) / 16))
            )
            self.curvature.append(make(lambda i: (1 + (7 * i) % 11) / 8))
            self.lowest.append(make(lambda i: ((5 * i) % 13 - 6) / 8))
            first += math.prod(shape)
        self.step = 0

    def push(self, k):
        return counted(
            SHAPES[k],
            self.first[k],
            lambda i: 0.25 * math.cos(0.7 * self.step + i),
            self.dtype,
        )

    def set_gradients(self):
        for k, p in enumerate(self.parameters):
            with torch.no_grad():
                p.grad = self.curvature[k] * (p - self.lowest[k]) + self.push(k)

    def loss(self):
        """The same gradients, by a loss with its graph."""
        total = 0
        for k, p in enumerate(self.parameters):
            far = p - self.lowest[k]
            total = total + (self.curvature[k] / 2 * far * far).sum()
            total = total + (self.push(k) * p).sum()
        return total


CASES = {}


def case(source, name=None):
    """Marks a function that makes an optimizer of parameters; see `run`."""

    def mark(function):
        CASES[name or function.__name__] = (source, function)
        return function

    return mark


def plain_step(problem, optimizer):
    problem.set_gradients()
    optimizer.step()


def with_estimate(optimizer):
    return (optimizer, plain_step, {"d": lambda own: own.param_groups[0]["d"]})


# eps at which it does not matter that the reference multiplies it by the new d,
# and the paper by the old one; d0 at which the first updates are not lost in
# the rounding of the parameters.
@case("konstmish/prodigy Prodigy")
def prodigy(parameters):
    from prodigyopt import Prodigy

    return with_estimate(Prodigy(parameters, eps=1e-30, d0=1e-3))


@case("konstmish/prodigy Prodigy")
def prodigy_options(parameters):
    from prodigyopt import Prodigy

    return with_estimate(
        Prodigy(
            parameters,
            lr=0.5,
            betas=(0.8, 0.99),
            beta3=0.97,
            eps=1e-30,
            weight_decay=0.1,
            decouple=False,
            use_bias_correction=True,
            safeguard_warmup=True,
            d0=1e-3,
            d_coef=0.8,
            growth_rate=1.05,
        )
    )


@case("facebookresearch/dadaptation DAdaptAdam")
def dadapt_adam(parameters):
    from dadaptation import DAdaptAdam

    return with_estimate(DAdaptAdam(parameters, d0=1e-3))


@case("facebookresearch/dadaptation DAdaptAdam")
def dadapt_adam_options(parameters):
    from dadaptation import DAdaptAdam

    return with_estimate(
        DAdaptAdam(
            parameters,
            lr=0.5,
            betas=(0.8, 0.99),
            eps=1e-6,
            weight_decay=0.1,
            decouple=True,
            use_bias_correction=True,
            d0=1e-3,
            growth_rate=1.05,
        )
    )


def with_eta(optimizer):
    return (optimizer, plain_step, {"eta": lambda own: own.param_groups[0]["eta"][2]})


@case("formll/dog DoG")
def dog(parameters):
    from dog import DoG

    return with_eta(DoG(parameters))


@case("formll/dog DoG")
def dog_options(parameters):
    from dog import DoG

    return with_eta(DoG(parameters, eps=0.1, init_eta=0.01, weight_decay=0.1))


@case("formll/dog LDoG")
def ldog(parameters):
    from dog import LDoG

    return with_eta(LDoG(parameters, lr=0.5, reps_rel=1e-4, weight_decay=0.1))


def with_rate(optimizer, step=plain_step):
    return (optimizer, step, {"lr": lambda own: own.param_groups[0]["lr"]})


@case("gbaydin/hypergradient-descent SGDHD")
def sgd_hd(parameters):
    from hypergrad import SGDHD

    return with_rate(SGDHD(parameters, lr=0.05, hypergrad_lr=1e-3))


@case("gbaydin/hypergradient-descent SGDHD")
def sgd_hd_momentum(parameters):
    from hypergrad import SGDHD

    return with_rate(
        SGDHD(
            parameters,
            lr=0.05,
            momentum=0.9,
            dampening=0.3,
            weight_decay=0.1,
            hypergrad_lr=1e-4,
        )
    )


@case("gbaydin/hypergradient-descent SGDHD")
def sgd_hd_nesterov(parameters):
    from hypergrad import SGDHD

    return with_rate(
        SGDHD(parameters, lr=0.05, momentum=0.8, nesterov=True, hypergrad_lr=1e-4)
    )


# All parameters as one: of several the reference changes the rate by each in
# turn, in the midst of an update. eps so small that it does not matter that it
# is added before the correction of the bias there.
@case("gbaydin/hypergradient-descent AdamHD")
def adam_hd(parameters):
    from hypergrad import AdamHD

    flat = torch.nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))

    def step(problem, optimizer):
        problem.set_gradients()
        flat.grad = torch.cat([p.grad.flatten() for p in parameters])
        optimizer.step()
        begin = 0
        for p in parameters:
            p.data = flat.detach()[begin : begin + p.numel()].reshape(p.shape)
            begin += p.numel()

    return with_rate(
        AdamHD(
            [flat],
            lr=0.01,
            betas=(0.8, 0.99),
            eps=1e-30,
            weight_decay=0.1,
            hypergrad_lr=1e-5,
        ),
        step,
    )


def run(name, folder):
    source, make = CASES[name]
    lines = ["source " + source]
    for dtype in (torch.float32, torch.float64):
        problem = Problem(dtype)
        made = make(problem.parameters)
        # An optimizer, or one with what steps it and what it is asked for.
        optimizer, step, numbers = (
            made if isinstance(made, tuple) else (made, plain_step, {})
        )
        kind = str(dtype).replace("torch.", "")
        for t in range(1, STEPS + 1):
            problem.step = t
            step(problem, optimizer)
            if t not in KEPT:
                continue
            values = torch.cat([p.detach().flatten() for p in problem.parameters])
            lines.append(
                "at %s %d %s"
                % (kind, t, " ".join("%.17g" % v for v in values.double().tolist()))
            )
            for number, get in numbers.items():
                lines.append(
                    "number %s %s %d %.17g" % (kind, number, t, float(get(optimizer)))
                )
    with open(os.path.join(folder, name + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    references = os.path.abspath(sys.argv[1])
    for name in sorted(os.listdir(references)):
        sys.path.append(os.path.join(references, name))
        sys.path.append(os.path.join(references, name, "src"))
    folder = os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../tests/adaptive/goldens"
    )
    for name in sys.argv[2:] or sorted(CASES):
        run(name, folder)
        print(name)


if __name__ == "__main__":
    main()
