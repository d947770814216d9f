#!/usr/bin/env python3
"""Writes tests/schedule/goldens/configs.txt: what the schedulers of Hugging
Face's transformers, DeepSpeed and Megatron-LM set, update by update, when they
are made from a configuration.

    /usr/bin/python3 scripts/make_config_goldens.py \\
        transformers=DIR@VERSION DeepSpeed=DIR@VERSION Megatron-LM=DIR@VERSION \\
        [OUT]

DIR is a checkout; only the files below are read of it, and run with Debian's
python3-torch (1.13.1), what they import from their own packages replaced:

    transformers  src/transformers/optimization.py
    DeepSpeed     deepspeed/runtime/lr_schedules.py
    Megatron-LM   megatron/core/optimizer_param_scheduler.py, and of
                  megatron/training/ the function get_optimizer_param_scheduler
                  of training.py and the class SchedulerConfig of
                  config/training_config.py

The loop is theirs: a rate is written down before its update, and the scheduler
steps after it. Nothing here is needed to build or to test.

A file holds cases. A case is

    case {"lr_scheduler_type": "linear", ...}
    run 50
    base 0.1
    every 20
    lr 0.0 0.01 ...

the configuration, the updates of the run where the configuration does not say
them (else 0), the rate that the optimizer was made with, and the rate of each
update, or of each 20th: a long schedule would make a long file.
"""

import ast
import dataclasses
import enum
import json
import logging
import math
import os
import sys
import types
import typing
import warnings

import torch

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

LR = 0.1


def module(name, **members):
    """A module of that name with these members, and the packages above it."""
    parts = name.split(".")
    for i in range(1, len(parts)):
        package = sys.modules.setdefault(
            ".".join(parts[:i]), types.ModuleType(".".join(parts[:i]))
        )
        package.__path__ = []
    made = sys.modules.setdefault(name, types.ModuleType(name))
    made.__dict__.update(members)
    return made


def run_file(path, name):
    """Runs a source as the module `name`."""
    made = module(name)
    made.__package__ = name.rpartition(".")[0]
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), made.__dict__)
    return made


def run_part(path, part, names):
    """Runs one function or class of a source; returns it."""
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = [node for node in tree.body if getattr(node, "name", None) == part]
    exec(compile(ast.Module(found, []), path, "exec"), names)
    return names[part]


def optimizer_with(lr):
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=lr)


class HuggingFace:
    def __init__(self, folder):
        path = os.path.join(folder, "src/transformers/optimization.py")
        with open(path, encoding="utf-8") as file:
            source = file.read()
        used = sorted(
            {
                node.attr
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "SchedulerType"
            }
        )
        values = {name: name.lower() for name in used}
        values["REDUCE_ON_PLATEAU"] = "reduce_lr_on_plateau"
        scheduler_type = enum.Enum("SchedulerType", values)
        module(
            "transformers.trainer_pt_utils",
            LayerWiseDummyOptimizer=type("LayerWiseDummyOptimizer", (), {}),
            LayerWiseDummyScheduler=type("LayerWiseDummyScheduler", (), {}),
        )
        module("transformers.trainer_utils", SchedulerType=scheduler_type)
        module("transformers.utils", logging=types.SimpleNamespace(
            get_logger=logging.getLogger))
        self.get_scheduler = run_file(
            path, "transformers.optimization"
        ).get_scheduler

    def rates(self, config, run, updates):
        # What Trainer makes of its arguments: get_warmup_steps() of
        # training_args.py.
        total = config.get("num_training_steps", config.get("max_steps", run))
        total = run if total == -1 else total
        warmup = config.get("num_warmup_steps", config.get("warmup_steps", 0))
        warmup = warmup or config.get("warmup_ratio", 0)
        if warmup < 1:
            warmup = math.ceil(total * warmup)
        optimizer = optimizer_with(config.get("learning_rate", LR))
        scheduler = self.get_scheduler(
            config["lr_scheduler_type"],
            optimizer,
            num_warmup_steps=int(warmup),
            num_training_steps=total or None,
            scheduler_specific_kwargs=config.get("lr_scheduler_kwargs"),
        )
        return loop(optimizer, scheduler.step, updates)


class DeepSpeed:
    def __init__(self, folder):
        module("deepspeed.utils", logger=logging.getLogger("deepspeed"))
        self.schedules = run_file(
            os.path.join(folder, "deepspeed/runtime/lr_schedules.py"),
            "deepspeed.runtime.lr_schedules",
        )

    def rates(self, config, run, updates):
        scheduler = config.get("scheduler", config)
        optimizer = optimizer_with(
            config.get("optimizer", {}).get("params", {}).get("lr", LR)
        )
        params = dict(scheduler.get("params", {}))
        made = getattr(self.schedules, scheduler["type"])
        if "total_num_steps" in made.__init__.__code__.co_varnames:
            params.setdefault("total_num_steps", run)
        return loop(optimizer, made(optimizer, **params).step, updates)


class Megatron:
    def __init__(self, folder):
        module("megatron.core.utils", log_single_rank=lambda *_, **__: None)
        core = run_file(
            os.path.join(folder, "megatron/core/optimizer_param_scheduler.py"),
            "megatron.core.optimizer_param_scheduler",
        )
        training = os.path.join(folder, "megatron/training")
        self.config = run_part(
            os.path.join(training, "config/training_config.py"),
            "SchedulerConfig",
            {
                "__name__": "megatron.training.config",
                "dataclass": dataclasses.dataclass,
                "field": dataclasses.field,
                "Literal": typing.Literal,
            },
        )
        self.names = {
            "OptimizerParamScheduler": core.OptimizerParamScheduler,
            "update_train_iters": lambda args: None,
        }
        self.make = run_part(
            os.path.join(training, "training.py"),
            "get_optimizer_param_scheduler",
            self.names,
        )

    def rates(self, config, run, updates):
        args = types.SimpleNamespace(
            **dataclasses.asdict(self.config()),
            lr=LR,
            min_lr=0.0,
            train_iters=None,
            train_samples=None,
            global_batch_size=16,
        )
        args.start_weight_decay = args.end_weight_decay = 0.0
        for name, value in config.items():
            name = name.lstrip("-").replace("-", "_")
            if not hasattr(args, name):
                raise ValueError(name)
            setattr(args, name, value)
        if args.train_iters is None and args.train_samples is None:
            args.train_iters = run
        self.names["get_args"] = lambda: args
        optimizer = optimizer_with(args.lr)
        scheduler = self.make(optimizer)
        return loop(
            optimizer,
            lambda: scheduler.step(increment=args.global_batch_size),
            updates,
        )


def loop(optimizer, step, updates):
    rates = []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        step()
    return rates


def hugging_face_rows():
    def row(kind, kwargs=None, updates=60, run=0, **fields):
        fields = {"lr_scheduler_type": kind, "learning_rate": LR, **fields}
        if kwargs:
            fields["lr_scheduler_kwargs"] = kwargs
        return fields, run, updates

    # Cosines rise again past the end of the run.
    return [
        row("linear", warmup_steps=10, max_steps=50),
        row("linear", max_steps=50),
        row("linear", warmup_ratio=0.03, max_steps=50),
        row("linear", warmup_steps=0.13, max_steps=50),
        row("linear", num_warmup_steps=7, num_training_steps=50),
        row("linear", warmup_steps=10, max_steps=-1, run=50),
        row("linear", warmup_steps=80, max_steps=50, updates=100),
        row("cosine", warmup_steps=10, max_steps=50, updates=51),
        row("cosine", {"num_cycles": 0.3}, max_steps=50, updates=51),
        row("cosine", {"num_cycles": 1}, warmup_steps=10, max_steps=50, updates=51),
        row("cosine", {"num_cycles": 1.5}, warmup_steps=5, max_steps=50, updates=51),
        row("cosine", {"num_cycles": 3.7}, warmup_steps=5, max_steps=50, updates=51),
        row("cosine_with_restarts", warmup_steps=10, max_steps=50),
        row("cosine_with_restarts", {"num_cycles": 4}, warmup_steps=10, max_steps=50),
        row("cosine_with_restarts", {"num_cycles": 3}, warmup_ratio=0.1, max_steps=57),
        row("polynomial", warmup_steps=10, max_steps=50),
        row(
            "polynomial",
            {"lr_end": 0.005, "power": 2.0},
            warmup_steps=10,
            max_steps=50,
        ),
        row("polynomial", {"power": 0.5}, learning_rate=3e-4, max_steps=50),
        row("constant"),
        row("constant", warmup_steps=10),
        row("constant_with_warmup", warmup_steps=10),
        row("constant_with_warmup", warmup_ratio=0.25, max_steps=50),
        row("inverse_sqrt", warmup_steps=10),
        row("inverse_sqrt"),
        row("cosine_with_min_lr", {"min_lr": 0.01}, warmup_steps=10, max_steps=50,
            updates=51),
        row("cosine_with_min_lr", {"min_lr_rate": 0.2, "num_cycles": 1.5},
            warmup_steps=10, max_steps=50, updates=51),
        row("cosine_with_min_lr", {"min_lr_rate": 0.2, "num_cycles": 0.4},
            max_steps=50, updates=51),
        row("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}, warmup_steps=10,
            max_steps=50, updates=50),
        row("cosine_warmup_with_min_lr", {"min_lr": 0.01}, max_steps=50, updates=50),
        row("cosine_warmup_with_min_lr", {"min_lr": 0.01}, warmup_steps=1,
            max_steps=50, updates=50),
        row("cosine_warmup_with_min_lr",
            {"min_lr_rate": 0.1, "warmup_lr_rate": 0.25, "num_cycles": 1.5},
            warmup_steps=10, max_steps=50, updates=50),
        row("cosine_warmup_with_min_lr",
            {"min_lr_rate": 0.1, "warmup_lr_rate": 0.25}, warmup_steps=1,
            max_steps=50, updates=50),
        row("cosine_warmup_with_min_lr",
            {"min_lr_rate": 0.1, "warmup_lr_rate": 0}, warmup_steps=10,
            max_steps=50, updates=50),
        row("warmup_stable_decay", {"num_decay_steps": 15}, warmup_steps=10,
            max_steps=50),
        row("warmup_stable_decay",
            {"num_decay_steps": 15, "num_stable_steps": 20, "min_lr_ratio": 0.1,
             "decay_type": "linear", "warmup_type": "cosine"}, warmup_steps=10),
        row("warmup_stable_decay",
            {"num_decay_steps": 15, "min_lr_ratio": 0.1, "decay_type": "1-sqrt",
             "warmup_type": "1-sqrt"}, warmup_steps=10, max_steps=50),
        row("warmup_stable_decay",
            {"num_decay_steps": 30, "min_lr_ratio": 0.1, "num_cycles": 1.5},
            max_steps=50),
        row("warmup_stable_decay",
            {"num_decay_steps": 30, "num_cycles": 0.3}, warmup_steps=10,
            max_steps=50),
    ]


def deepspeed_rows():
    def row(kind, updates=60, run=0, every=1, **params):
        return {"type": kind, "params": params}, run, updates, every

    def whole(lr, kind, updates=60, **params):
        return (
            {
                "train_batch_size": 32,
                "optimizer": {"type": "AdamW", "params": {"lr": lr}},
                "scheduler": {"type": kind, "params": params},
            },
            0,
            updates,
        )

    total = {"total_num_steps": 50}
    cycle = {"cycle_min_lr": 0.02, "cycle_max_lr": 0.1}
    return [
        row("WarmupLR", warmup_num_steps=20, warmup_max_lr=0.1),
        row("WarmupLR", warmup_num_steps=20, warmup_max_lr=0.1, warmup_min_lr=0.01,
            warmup_type="linear"),
        row("WarmupLR", warmup_num_steps=1, warmup_max_lr=0.1),
        row("WarmupLR", updates=1100, every=20),
        whole(3e-4, "WarmupLR", warmup_num_steps=20),
        row("WarmupDecayLR", warmup_num_steps=20, warmup_max_lr=0.1, **total),
        row("WarmupDecayLR", warmup_num_steps=20, warmup_max_lr=0.1,
            warmup_min_lr=0.01, warmup_type="linear", **total),
        row("WarmupDecayLR", warmup_num_steps=20, run=50),
        row("WarmupDecayLR", warmup_num_steps=80, updates=100, **total),
        row("WarmupDecayLR", warmup_num_steps=70, warmup_max_lr=0.1,
            warmup_min_lr=0.01, warmup_type="linear", updates=90, **total),
        row("WarmupDecayLR", run=1500, updates=1600, every=20),
        row("WarmupCosineLR", warmup_num_steps=20, **total),
        row("WarmupCosineLR", warmup_num_steps=20, warmup_min_ratio=0.1,
            cos_min_ratio=0.05, warmup_type="linear", **total),
        row("WarmupCosineLR", warmup_num_steps=20, warmup_min_ratio=0.1,
            warmup_type="log", **total),
        row("WarmupCosineLR", warmup_num_steps=1, warmup_type="linear", run=50),
        whole(3e-4, "WarmupCosineLR", warmup_num_steps=60, updates=100, **total),
        row("WarmupCosineLR", warmup_num_steps=60, warmup_type="linear",
            updates=80, **total),
        row("OneCycle", cycle_first_step_size=20, **cycle),
        row("OneCycle", cycle_first_step_size=15, cycle_second_step_size=30,
            decay_step_size=5, decay_lr_rate=0.5, **cycle),
        row("OneCycle", cycle_first_step_size=20, cycle_first_stair_count=5,
            decay_step_size=5, **cycle),
        row("OneCycle", cycle_first_step_size=20, cycle_second_step_size=25,
            cycle_first_stair_count=3, cycle_second_stair_count=7,
            decay_step_size=10, decay_lr_rate=0.1, cycle_momentum=False, **cycle),
        row("OneCycle", cycle_first_step_size=20, cycle_second_step_size=0, **cycle),
        row("OneCycle", cycle_first_step_size=20, cycle_first_stair_count=0,
            cycle_second_stair_count=5, **cycle),
        row("OneCycle", updates=4500, every=50, **cycle),
        row("LRRangeTest", lr_range_test_min_lr=1e-4, lr_range_test_step_size=7,
            run=60),
        row("LRRangeTest", lr_range_test_min_lr=1e-4, lr_range_test_step_size=7,
            lr_range_test_step_rate=5.0, lr_range_test_staircase=True, run=60),
        row("LRRangeTest", run=60),
    ]


def megatron_rows():
    def row(updates=60, run=0, **fields):
        return {"lr": LR, **fields}, run, updates

    def decay(style, updates=60, run=0, **fields):
        return row(updates, run, lr_decay_style=style, **fields)

    return [
        row(train_iters=50),
        decay("constant", train_iters=50),
        decay("constant", lr_warmup_iters=10, train_iters=50),
        decay("linear", lr_warmup_iters=10, train_iters=50),
        decay("linear", lr_warmup_iters=10, lr_decay_iters=40, train_iters=50,
              min_lr=0.01),
        decay("cosine", lr_warmup_iters=10, min_lr=0.01, run=50),
        decay("cosine", lr_warmup_iters=10, min_lr=0.01, lr_warmup_init=0.002,
              train_iters=50),
        decay("cosine", lr_warmup_fraction=0.033, min_lr=0.01, train_iters=50),
        decay("cosine", lr_warmup_fraction=0.1, lr_decay_iters=40, train_iters=50),
        decay("inverse-square-root", lr_warmup_iters=10, train_iters=50),
        decay("inverse-square-root", lr_warmup_iters=10, train_iters=50,
              min_lr=0.06),
        decay("inverse-square-root", train_iters=50, global_batch_size=16),
        decay("inverse-square-root", train_iters=50, global_batch_size=1),
        decay("inverse-square-root", lr_warmup_fraction=0.01, train_iters=50,
              min_lr=0.01, global_batch_size=16),
        decay("inverse-square-root", lr_warmup_fraction=0.001, train_iters=50,
              global_batch_size=4),
        decay("WSD", lr_warmup_iters=10, lr_wsd_decay_iters=15, train_iters=50),
        decay("WSD", lr_warmup_iters=10, lr_wsd_decay_iters=15, train_iters=50,
              min_lr=0.01),
        decay("WSD", lr_warmup_iters=10, lr_wsd_decay_iters=15, train_iters=50,
              min_lr=0.01, lr_wsd_decay_style="linear"),
        decay("WSD", lr_warmup_iters=10, lr_wsd_decay_iters=15, train_iters=50,
              min_lr=0.01, lr_wsd_decay_style="cosine"),
        decay("WSD", lr_wsd_decay_iters=15, lr_decay_iters=45, train_iters=50,
              min_lr=0.01, lr_wsd_decay_style="minus_sqrt"),
        ({"--lr": 3e-4, "--lr-decay-style": "cosine", "--min-lr": 3e-5,
          "--lr-warmup-fraction": 0.1, "--train-iters": 50}, 0, 60),
        decay("cosine", train_samples=800, lr_warmup_samples=100,
              global_batch_size=16),
        decay("WSD", train_samples=800, lr_decay_samples=700,
              lr_wsd_decay_samples=200, lr_warmup_fraction=0.1, min_lr=0.01,
              global_batch_size=16),
        decay("inverse-square-root", train_samples=800, lr_warmup_samples=100,
              min_lr=0.02, global_batch_size=16),
    ]


SOURCES = {
    "transformers": (HuggingFace, hugging_face_rows),
    "DeepSpeed": (DeepSpeed, deepspeed_rows),
    "Megatron-LM": (Megatron, megatron_rows),
}


def base_of(config):
    """The rate that the optimizer is made with, where the config names none."""
    optimizer = config.get("optimizer", {})
    return optimizer.get("params", {}).get("lr", LR)


def main():
    sources, out = {}, []
    for word in sys.argv[1:]:
        name, found, rest = word.partition("=")
        if found and name in SOURCES:
            sources[name] = rest.rpartition("@")[::2]
        else:
            out.append(word)
    if set(sources) != set(SOURCES) or len(out) > 1:
        sys.exit(__doc__)
    here = os.path.dirname(os.path.abspath(__file__))
    folder = out[0] if out else os.path.join(
        here, "..", "tests", "schedule", "goldens")
    path = os.path.join(folder, "configs.txt")
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write("# scripts/make_config_goldens.py\n")
        for name, (_, version) in sources.items():
            file.write(f"# {name} {version}\n")
        file.write(f"# torch {torch.__version__}\n")
        for name, (source, rows) in SOURCES.items():
            made = source(sources[name][0])
            for config, run, updates, *stride in rows():
                every = stride[0] if stride else 1
                rates = made.rates(config, run, updates)[::every]
                file.write(
                    f"\ncase {json.dumps(config)}\nrun {run}\n"
                    f"base {base_of(config)!r}\n"
                    + (f"every {every}\n" if every > 1 else "")
                    + f"lr {' '.join(map(repr, rates))}\n"
                )
                count += 1
    print(f"{count} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
