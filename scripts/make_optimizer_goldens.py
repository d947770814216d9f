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
    bluorion-com/ZClip                    584ce4f5a4aa
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
import types

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


# Clip rules, before a step of SGD.


def clipped_sgd(clip):
    def make(parameters):
        sgd = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

        def step(problem, optimizer):
            problem.set_gradients()
            clip(parameters)
            optimizer.step()

        return sgd, step, {}

    return make


@case("pytorch torch.nn.utils.clip_grad_value_")
def value_clip(parameters):
    return clipped_sgd(lambda own: torch.nn.utils.clip_grad_value_(own, 0.2))(
        parameters
    )


@case("Brock et al. 2021, adaptive gradient clipping, equation 3")
def agc(parameters):
    def norms(t):
        units = t.reshape(t.shape[0], -1) if t.dim() > 1 else t.reshape(1, -1)
        shape = (t.shape[0],) + (1,) * (t.dim() - 1) if t.dim() > 1 else (1,)
        return (units * units).sum(1).sqrt().reshape(shape)

    def clip(own):
        for p in own:
            most = 0.3 * torch.clamp(norms(p.detach()), min=1e-3)
            norm = norms(p.grad)
            p.grad = torch.where(norm > most, p.grad * (most / norm), p.grad)

    return clipped_sgd(clip)(parameters)


@case("bluorion-com/ZClip ZClip")
def z_clip(parameters):
    # torch 1.13.1's own does not load with Python 3.11, and is not needed.
    fsdp = types.ModuleType("torch.distributed.fsdp")
    fsdp.FullyShardedDataParallel = type("FullyShardedDataParallel", (), {})
    sys.modules.setdefault("torch.distributed.fsdp", fsdp)
    from zclip.zclip import ZClip

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = torch.nn.ParameterList(parameters)

    rule = ZClip(alpha=0.9, z_thresh=0.5, max_grad_norm=None, warmup_steps=5)
    # The reference divides by norm + 1e-6 where it clips.
    rule.apply_in_place_clipping = lambda module, norm, most: [
        p.grad.mul_(min(1.0, most / norm)) for p in parameters
    ]
    module = Module()
    return clipped_sgd(lambda own: rule.step(module))(parameters)


@case("Wang et al. 2025, AdaGC, algorithm 1")
def ada_gc(parameters):
    usual = {}
    counter = [0]

    def clip(own):
        counter[0] += 1
        total = math.sqrt(sum(float(p.grad.double().norm()) ** 2 for p in own))
        for p in own:
            norm = float(p.grad.double().norm())
            if counter[0] < 10:
                factor = min(1.0, 1.0 / total)
                left = factor * norm
                usual[p] = min(usual.get(p, math.inf), left)
            else:
                factor = min(1.0, 1.05 * usual[p] / norm)
                usual[p] = 0.98 * usual[p] + 0.02 * factor * norm
            if factor < 1:
                p.grad.mul_(factor)

    return clipped_sgd(clip)(parameters)


def adamw_of(parameters, update):
    """AdamW, whose update of a parameter is passed through `update`, with a rate
    that falls along a cosine."""
    state = {}

    def step(problem, optimizer):
        problem.set_gradients()
        t = problem.step
        lr = 0.02 * (1 + math.cos(math.pi * (t - 1) / STEPS)) / 2
        for p in parameters:
            m, v = state.setdefault(p, (torch.zeros_like(p), torch.zeros_like(p)))
            g = p.grad
            with torch.no_grad():
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.99).addcmul_(g, g, value=0.01)
                root = (v / (1 - 0.99**t)).sqrt() + 1e-8
                update(p, m / (1 - 0.9**t) / root, m, g, lr)

    return None, step, {}


@case("Liang et al. 2024, Cautious Optimizers, algorithm 1")
def cautious_adamw(parameters):
    def update(p, step, m, g, lr):
        mask = (m * g > 0).to(p.dtype)
        mask = mask / mask.mean().clamp(min=1e-3)
        p.mul_(1 - lr * 0.1)
        p.sub_(step * mask, alpha=lr)

    return adamw_of(parameters, update)


@case("Defazio 2025, AdamC, algorithm 1")
def adamc(parameters):
    def update(p, step, m, g, lr):
        p.mul_(1 - lr * 0.1 * lr / 0.02)
        p.sub_(step, alpha=lr)

    return adamw_of(parameters, update)
@case("KellerJordan/Muon SingleDeviceMuonWithAuxAdam, its products in full precision")
def muon(parameters):
    import muon as reference

    # It multiplies in bfloat16, whose rounding would hide a wrong step. The
    # method is back at its own when the process ends.
    torch.Tensor.bfloat16 = lambda self: self
    # At a rate at which 200 updates do not reach the lowest point: around it
    # the path of steps of one length is chaotic, and rounding grows in it.
    matrices = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    return reference.SingleDeviceMuonWithAuxAdam(
        [
            dict(params=matrices, lr=0.004, momentum=0.95, weight_decay=0.1, use_muon=True),
            dict(params=others, lr=0.01, weight_decay=0.1, use_muon=False),
        ]
    )


def sam_step(problem, optimizer):
    problem.set_gradients()
    optimizer.first_step(zero_grad=True)
    problem.set_gradients()
    optimizer.second_step()


def make_sam(parameters, **options):
    import sam as reference

    optimizer = reference.SAM(
        parameters, torch.optim.SGD, lr=0.05, momentum=0.9, **options
    )
    return optimizer, sam_step, {}


@case("davda54/sam SAM around SGD")
def sam(parameters):
    return make_sam(parameters, rho=0.05)


@case("davda54/sam SAM, adaptive, around SGD")
def asam(parameters):
    return make_sam(parameters, rho=0.5, adaptive=True)
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


@case("konstmish/prodigy Prodigy")
def prodigy_slices(parameters):
    from prodigyopt import Prodigy

    return with_estimate(
        Prodigy(parameters, eps=1e-30, d0=1e-3, weight_decay=0.1, slice_p=3)
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


def of_average(problem, optimizer):
    """A step, after which the norms of the parameters at x are noted."""
    plain_step(problem, optimizer)
    optimizer.eval()
    optimizer.norms = [float(p.double().norm()) for p in problem.parameters]
    optimizer.train()


def norms_of_average():
    return {
        "norm%d" % k: lambda own, k=k: own.norms[k] for k in range(len(SHAPES))
    }


@case("facebookresearch/schedule_free AdamWScheduleFree")
def schedule_free_adamw(parameters):
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(
        parameters,
        lr=0.02,
        betas=(0.9, 0.99),
        weight_decay=0.1,
        warmup_steps=20,
        r=1.5,
        weight_lr_power=1.0,
        foreach=False,
    )
    optimizer.train()
    return optimizer, of_average, norms_of_average()


@case("facebookresearch/schedule_free SGDScheduleFree")
def schedule_free_sgd(parameters):
    from schedulefree import SGDScheduleFree

    optimizer = SGDScheduleFree(
        parameters,
        lr=0.5,
        momentum=0.85,
        weight_decay=0.02,
        warmup_steps=15,
        foreach=False,
    )
    optimizer.train()
    return optimizer, of_average, norms_of_average()


@case("pytorch/pytorch torch.optim.swa_utils.AveragedModel")
def averaged_model(parameters):
    """Of points that SGD passes: the mean, and one with a decay of 0.95 that
    averages a buffer too, the sum of the first parameter."""
    from torch.optim.swa_utils import AveragedModel

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.all = torch.nn.ParameterList(parameters)
            self.register_buffer("sum", parameters[0].detach().sum())

    model = Model()
    mean = AveragedModel(model)
    decayed = AveragedModel(
        model, avg_fn=lambda a, w, n: 0.95 * a + 0.05 * w, use_buffers=True
    )
    optimizer = torch.optim.SGD(parameters, lr=0.4, momentum=0.5)

    def step(problem, optimizer):
        plain_step(problem, optimizer)
        model.sum.copy_(parameters[0].detach().sum())
        mean.update_parameters(model)
        decayed.update_parameters(model)

    def norm(averaged, k):
        return lambda _: averaged.module.all[k].detach().double().norm()

    numbers = {"buffer": lambda _: decayed.module.sum}
    for k in range(len(SHAPES)):
        numbers["mean%d" % k] = norm(mean, k)
        numbers["decayed%d" % k] = norm(decayed, k)
    return optimizer, step, numbers


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
