#!/usr/bin/env python3
"""Trains with each of the trainer's optimizers and writes a table of them.

    scripts/optimizer_table.py --out DIR [--optimizers NAME,...] -- OPTIONS

Each optimizer is trained with the options of stepsize-train that follow "--", at
a third, once and three times its preset rate, and on from there while the best
rate is the lowest or the highest tried, by test accuracy with seed 1; then at
the best rate with the seeds 2 and 3. All runs are kept in DIR/runs.csv, from which a
table that was stopped goes on. DIR/table.md has the mean and range of the test
accuracy over the seeds, the processor time of a run and its peak memory, both
beside those of sgd; of seed 1 the accuracy flatters a little, as the rate was
chosen by it.
"""

import argparse
import csv
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = (1, 2, 3)
FIRST_GRID = (-1, 0, 1)  # powers of sqrt(10)
MOST_RATES = 6
FIELDS = ("optimizer", "power", "lr", "seed", "accuracy", "seconds", "kilobytes")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument(
        "--trainer", default=HERE.parent / "build/release/bin/stepsize-train"
    )
    parser.add_argument("--optimizers", help="names, with commas [all]")
    parser.add_argument("options", nargs="*", help="of stepsize-train")
    return parser.parse_args()


def preset_rates(trainer):
    """Name and preset rate of each optimizer, as the help has them."""
    text = subprocess.run(
        [trainer, "--help-all"], check=True, capture_output=True, text=True
    ).stdout
    table = text[text.index("\nOptimizers") : text.index("\nExamples")]
    rows = re.findall(r"^  (\S+) +([0-9.e-]+) ", table, re.MULTILINE)
    return {name: float(lr) for name, lr in rows}


class Runs:
    """The runs so far, in a file that a later call goes on with."""

    def __init__(self, args):
        self.args = args
        args.out.mkdir(parents=True, exist_ok=True)
        settings = " ".join(args.options) + "\n"
        kept = args.out / "options.txt"
        if kept.exists() and kept.read_text() != settings:
            sys.exit(f"--out {args.out}: holds runs with {kept.read_text().strip()}")
        kept.write_text(settings)
        self.path = args.out / "runs.csv"
        self.rows = {}
        if self.path.exists():
            with self.path.open() as file:
                for row in csv.DictReader(file):
                    key = (row["optimizer"], int(row["power"]), int(row["seed"]))
                    self.rows[key] = row

    def accuracy(self, optimizer, lr, power, seed):
        """In percent; 0 where the run diverged."""
        key = (optimizer, power, seed)
        if key not in self.rows:
            self.add(key, self.train(optimizer, lr * 10 ** (power / 2), seed))
        return float(self.rows[key]["accuracy"])

    def train(self, optimizer, lr, seed):
        folder = self.args.out / "run"
        command = [self.args.trainer, "--optimizer", optimizer, "--lr", f"{lr:.4g}"]
        command += ["--seed", str(seed), "--out", folder, "--overwrite"]
        command += ["--threads", "1", "--no-lr-check", "--checkpoint-every", "0"]
        process = subprocess.Popen(
            command + self.args.options,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        diverged = 3
        if code not in (0, diverged):
            sys.exit(f"{optimizer} at {lr:.4g}, seed {seed}: {error}")
        accuracy = 0.0
        if code == 0:
            with (folder / "log.csv").open() as file:
                accuracy = 100 * float(list(csv.DictReader(file))[-1]["test_accuracy"])
        shutil.rmtree(folder, ignore_errors=True)
        return {
            "lr": f"{lr:.4g}",
            "accuracy": f"{accuracy:.2f}",
            "seconds": f"{usage.ru_utime + usage.ru_stime:.1f}",
            "kilobytes": usage.ru_maxrss,
        }

    def add(self, key, result):
        optimizer, power, seed = key
        row = {"optimizer": optimizer, "power": power, "seed": seed, **result}
        is_new = not self.path.exists()
        with self.path.open("a") as file:
            writer = csv.DictWriter(file, FIELDS)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.rows[key] = row
        print(*(row[field] for field in FIELDS), flush=True)


def best_power(runs, optimizer, lr):
    tried = {p: runs.accuracy(optimizer, lr, p, SEEDS[0]) for p in FIRST_GRID}
    while len(tried) < MOST_RATES:
        best = max(tried, key=tried.get)
        if best == min(tried):
            power = best - 1
        elif best == max(tried):
            power = best + 1
        else:
            break
        tried[power] = runs.accuracy(optimizer, lr, power, SEEDS[0])
    return max(tried, key=tried.get)


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def write_table(runs, chosen, path):
    def median_of(name, field):
        rows = [row for key, row in runs.rows.items() if key[0] == name]
        # A run that has diverged is short.
        return median([float(r[field]) for r in rows if float(r["accuracy"]) > 0])

    lines = [
        "| `--optimizer` | best rate | test accuracy (3 seeds) | time | memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, power in chosen.items():
        rows = [runs.rows[name, power, seed] for seed in SEEDS]
        all_of = [float(row["accuracy"]) for row in rows]
        cells = [f"`{name}`", rows[0]["lr"]]
        mean = math.fsum(all_of) / len(all_of)
        cells.append(f"{mean:.1f}% ({min(all_of):.1f} to {max(all_of):.1f})")
        for field in ("seconds", "kilobytes"):
            ratio = median_of(name, field) / median_of("sgd", field)
            cells.append(f"{ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    path.write_text("\n".join(lines) + "\n")


def main():
    args = parse()
    presets = preset_rates(args.trainer)
    names = args.optimizers.split(",") if args.optimizers else list(presets)
    unknown = [name for name in names if name not in presets]
    if unknown or "sgd" not in names:
        sys.exit(f"--optimizers: wants sgd and none but {', '.join(presets)}")
    runs = Runs(args)
    chosen = {}
    for name in names:
        chosen[name] = best_power(runs, name, presets[name])
        for seed in SEEDS[1:]:
            runs.accuracy(name, presets[name], chosen[name], seed)
        write_table(runs, chosen, args.out / "table.md")


main()
