#!/usr/bin/env bash
# Installs what is missing, builds the trainer, finds a learning rate by a range
# test and trains a small convolutional network on Fashion-MNIST with it, with a
# warm-up and a cosine. The log and the plots go to out/demo, in place of those of
# a demo before. Arguments go to the trainer, after the demo's own:
#
#   scripts/demo.sh --epochs 5 --lr 0.2
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=$(nproc 2>/dev/null || echo 2)

scripts/setup.sh
scripts/configure.sh release
cmake --build --preset release --parallel "$jobs" --target stepsize-train
exec build/release/bin/stepsize-train --lr auto --out out/demo \
  --overwrite "$@"
