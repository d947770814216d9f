#!/usr/bin/env python3
"""Prints the numbers of tests/tune/search_goldens.h: what scikit-learn says of
a Gaussian process, and mpmath of the expected improvement.

    /usr/bin/python3 scripts/make_search_goldens.py > tests/tune/search_goldens.h

The file that is committed comes from scikit-learn 1.2.1 and mpmath 1.2.1
(Debian 12: python3-sklearn, python3-mpmath). Nothing here is needed to build or
to test.
"""

import mpmath
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

SIGNAL, NOISE, LENGTHS = 1.7, 0.01, [0.3, 0.8]
KNOWN = [0.0, 0.02, 0.0, 0.05, 0.0, 0.01, 0.0]
POINTS = np.array(
    [
        [0.1, 0.9], [0.25, 0.2], [0.4, 0.55], [0.5, 0.05],
        [0.65, 0.7], [0.8, 0.35], [0.95, 0.95],
    ]
)
# Centred, with a deviation of 1, as ours makes them.
TARGETS = np.array([0.9, -0.4, 0.3, -1.2, 0.1, 1.4, -1.1])
TARGETS /= TARGETS.std()
PLACES = np.array([[0.1, 0.9], [0.3, 0.3], [0.72, 0.5], [0.0, 0.0], [3.0, -2.0]])


def say(name, values):
    values = list(np.ravel(values))
    lines = [
        "    " + ", ".join(repr(float(v)) for v in values[i : i + 2]) + ","
        for i in range(0, len(values), 2)
    ]
    print(f"const std::vector<double> {name} = {{")
    print("\n".join(lines)[:-1] + "};")


def process():
    kernel = ConstantKernel(SIGNAL) * Matern(LENGTHS, nu=2.5) + WhiteKernel(NOISE)
    model = GaussianProcessRegressor(kernel, alpha=np.array(KNOWN), optimizer=None)
    model.fit(POINTS, TARGETS)
    value, slope = model.log_marginal_likelihood(
        kernel.theta, eval_gradient=True
    )
    # Theirs are sorted: signal, lengths, noise.
    say("kLikelihood", [value])
    say("kGradient", [slope[0], slope[3], slope[1], slope[2]])
    mean, deviation = model.predict(PLACES, return_std=True)
    say("kMeans", mean)
    # Their deviation is that of a measurement, with the noise.
    say("kVariances", deviation**2 - NOISE)


def improvement():
    mpmath.mp.dps = 200
    scores = [5, 1, 0.3, 0, -0.5, -1, -1.0001, -3, -10, -38, -299, -301, -1e4]
    logs = []
    for z in map(mpmath.mpf, scores):
        tail = mpmath.erfc(-z / mpmath.sqrt(2)) / 2
        value = mpmath.npdf(z) + z * tail
        logs.append(float(mpmath.log(value)))
    say("kScores", scores)
    say("kLogImprovements", logs)


print("#pragma once")
print()
print("// Written by scripts/make_search_goldens.py.")
print()
print("#include <vector>")
print()
print("namespace stepsize::test {")
print()
say("kPoints", POINTS)
say("kTargets", TARGETS)
say("kKnownVariances", KNOWN)
say("kPlaces", PLACES)
process()
improvement()
print()
print("}  // namespace stepsize::test")
