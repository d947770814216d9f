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


class Written:
    """An update written here by a paper's equations, where no reference can be
    imported. Options as keywords; `update` steps one parameter."""

    def __init__(self, parameters, **options):
        self.parameters = parameters
        self.options = options
        self.state = {}
        self.steps = 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for p in self.parameters:
            self.update(p, p.grad, self.state.setdefault(p, {}), **self.options)


def norm_of(tensor):
    return tensor.double().norm().item()


class WrittenLARS(Written):
    def update(self, p, g, state, lr, momentum, decay, trust, nesterov):
        scaled = p.dim() > 1
        ratio = trust * norm_of(p) / (norm_of(g) + decay * norm_of(p)) if scaled else 1
        d = ratio * (g + decay * p) if scaled else g.clone()
        v = state["v"] = momentum * state.get("v", torch.zeros_like(p)) + d
        p -= lr * (d + momentum * v if nesterov else v)


class WrittenLAMB(Written):
    def update(self, p, g, state, lr, beta1, beta2, eps, decay):
        zeros = torch.zeros_like(p)
        m = state["m"] = beta1 * state.get("m", zeros) + (1 - beta1) * g
        v = state["v"] = beta2 * state.get("v", zeros) + (1 - beta2) * g * g
        scaled = p.dim() > 1
        mean = m / (1 - beta1**self.steps)
        root = (v / (1 - beta2**self.steps)).sqrt()
        r = mean / (root + eps) + (decay * p if scaled else 0)
        p -= lr * (norm_of(p) / norm_of(r) if scaled else 1) * r


@case("equations of algorithm 1 (You, Gitman, Ginsburg 2017)")
def lars(parameters):
    return WrittenLARS(
        parameters, lr=0.5, momentum=0.9, decay=0.01, trust=0.05, nesterov=False
    )


@case("equations of algorithm 1 (You, Gitman, Ginsburg 2017), Nesterov")
def lars_nesterov(parameters):
    return WrittenLARS(
        parameters, lr=0.5, momentum=0.9, decay=0.01, trust=0.05, nesterov=True
    )


@case("equations of algorithm 2 (You et al. 2020)")
def lamb(parameters):
    return WrittenLAMB(
        parameters, lr=0.02, beta1=0.9, beta2=0.99, eps=1e-6, decay=0.01
    )


def graph_step(problem, optimizer):
    """Of what makes a product with the graph of the gradient."""
    for p in problem.parameters:
        p.grad = None
    problem.loss().backward(create_graph=True)
    optimizer.step()


def ada_hessian_of(parameters, power):
    from image_classification.optim_adahessian import Adahessian

    optimizer = Adahessian(
        parameters, lr=0.1, weight_decay=0.01, hessian_power=power
    )
    return optimizer, graph_step, {}


@case("amirgholami/adahessian Adahessian")
def ada_hessian(parameters):
    return ada_hessian_of(parameters, 1)


@case("amirgholami/adahessian Adahessian, hessian_power 0.5")
def ada_hessian_power(parameters):
    return ada_hessian_of(parameters, 0.5)


class WrittenSophia(Written):
    """With the diagonal of the Hessian itself, which z * Hz is here."""

    def __init__(self, parameters, curvature, **options):
        super().__init__(parameters, **options)
        self.curvature = curvature

    def update(self, p, g, state, lr, beta1, beta2, gamma, eps, decay, interval):
        zeros = torch.zeros_like(p)
        m = state["m"] = beta1 * state.get("m", zeros) + (1 - beta1) * g
        h = state.get("h", zeros)
        if self.steps % interval == 1:
            k = [p is other for other in self.parameters].index(True)
            h = state["h"] = beta2 * h + (1 - beta2) * self.curvature[k]
        p -= lr * decay * p
        p -= lr * (m / (gamma * h).clamp(min=eps)).clamp(-1, 1)


@case("equations of algorithm 3 (Liu et al. 2023)")
def sophia_h(parameters):
    optimizer = WrittenSophia(
        parameters,
        Problem(parameters[0].dtype).curvature,
        lr=0.03,
        beta1=0.965,
        beta2=0.9,
        gamma=0.5,
        eps=1e-12,
        decay=0.1,
        interval=10,
    )
    return optimizer


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
    folder = os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../tests/adaptive/goldens"
    )
    for name in sys.argv[2:] or sorted(CASES):
        run(name, folder)
        print(name)


if __name__ == "__main__":
    main()
