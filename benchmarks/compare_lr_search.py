#!/usr/bin/env python3
"""How many trials Optuna and scikit-learn take to find a rate, beside lr_search.

    build/release/bin/search_table DIGITS                 # ours
    /usr/bin/python3 benchmarks/compare_lr_search.py \\
        build/release/bin/search_table DIGITS [SEEDS [TASK]...]   # theirs

Both train the same networks, by the same program and with the same seeds, at
rates from 1e-5 to 10 in their logarithm. Debian 12 has python3-optuna 3.1.0 and
python3-sklearn 1.2.1. The searches are

    tpe        Optuna's TPESampler as it comes: 10 random trials first
    tpe 3      the same after 3, as many as lr_search takes
    sklearn    a Gaussian process of scikit-learn with the kernel of
               scikit-optimize (Matern 5/2 and noise), fitted to the logarithm
               of the loss, with expected improvement on 1000 random places,
               after 3 random trials
"""

import math
import statistics
import subprocess
import sys
import warnings

import numpy as np
import optuna
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

LOW, HIGH = 1e-5, 10.0
GRID, TRIALS, MOST, CLOSE = 41, 15, 40, 1.1


class Program:
    """Answers with the loss that a rate comes to."""

    def __init__(self, program, digits, task, seed):
        self.process = subprocess.Popen(
            [program, digits, "serve", task, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def loss(self, rate):
        self.process.stdin.write(f"{rate!r}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def rate_at(share):
    return LOW * (HIGH / LOW) ** share


def finite(loss):
    """What a search is told in the place of an infinite loss."""
    return loss if math.isfinite(loss) else 1e30


def by_optuna(sampler, see):
    def objective(trial):
        return see(trial.suggest_float("lr", LOW, HIGH, log=True))

    def stop(study, trial):
        if trial.number + 1 >= TRIALS and see.found:
            study.stop()

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=MOST, callbacks=[stop])


def by_sklearn(seed, see):
    random = np.random.default_rng(seed)
    places, logs = [], []
    for trial in range(MOST):
        if trial < 3:
            place = random.random()
        else:
            kernel = ConstantKernel(1.0) * Matern(
                0.3, (1e-2, 1e2), nu=2.5
            ) + WhiteKernel(1e-3, (1e-8, 1e1))
            process = GaussianProcessRegressor(
                kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0
            )
            process.fit(np.array(places)[:, None], np.array(logs))
            tried = random.random(1000)
            mean, deviation = process.predict(tried[:, None], return_std=True)
            # As scikit-optimize does: of the function, without the noise.
            noise = process.kernel_.k2.noise_level * process._y_train_std**2
            deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-20))
            z = (min(logs) - mean) / deviation
            gain = deviation * (norm.pdf(z) + z * norm.cdf(z))
            place = tried[np.argmax(gain)]
        places.append(place)
        logs.append(math.log(see(rate_at(place))))
        if trial + 1 >= TRIALS and see.found:
            return


class Watch:
    """Counts the trials until one is close to the grid's lowest loss."""

    def __init__(self, program, lowest):
        self.program, self.lowest = program, lowest
        self.count, self.found, self.ratio = 0, None, math.inf

    def __call__(self, rate):
        loss = finite(self.program.loss(rate))
        self.count += 1
        if self.count <= TRIALS:
            self.ratio = min(self.ratio, loss / self.lowest)
        if self.found is None and loss <= CLOSE * self.lowest:
            self.found = self.count
        return loss


def main():
    program, digits = sys.argv[1:3]
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")
    samplers = optuna.samplers
    searches = {
        "tpe": lambda s, w: by_optuna(samplers.TPESampler(seed=s), w),
        "tpe 3": lambda s, w: by_optuna(
            samplers.TPESampler(seed=s, n_startup_trials=3), w
        ),
        "sklearn": by_sklearn,
    }
    for task in sys.argv[4:] or ("mlp", "logistic"):
        found = {name: [] for name in searches}
        for seed in range(1, seeds + 1):
            one = Program(program, digits, task, seed)
            lowest = min(
                one.loss(rate_at(i / (GRID - 1))) for i in range(GRID)
            )
            for name, search in searches.items():
                watch = Watch(one, lowest)
                search(seed, watch)
                found[name].append((watch.found or math.inf, watch.ratio))
            one.close()
        print(f"{task}, {seeds} seeds")
        for name, all_found in found.items():
            trials = [count for count, _ in all_found]
            ratios = [ratio for _, ratio in all_found]
            close = sum(ratio <= CLOSE for ratio in ratios)
            print(
                f"  {name:8} first within 1.1: median "
                f"{statistics.median(trials):4.1f}, most {max(trials):3.0f}; "
                f"after 15: median {statistics.median(ratios):.3f}, worst "
                f"{max(ratios):.3f}, within 1.1 in {close} of {seeds}",
                flush=True,
            )


if __name__ == "__main__":
    main()
