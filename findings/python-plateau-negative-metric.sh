#!/usr/bin/env bash
# torch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# ReduceLROnPlateau(patience=0), all defaults else, sees the same metric 1000
# times: +1 in one run, -1 (a log-likelihood, a reward) in another.
#
# Expected: a metric that stands still is a plateau whatever its sign; the
#   default threshold of 1e-4 asks for an improvement. Both rates fall.
# Seen: +1 cuts the rate until eps stops it; -1 never cuts it, in either mode.
#   The bar is best * (1 - 1e-4), which is above a negative best: -1 is below
#   -.9999 and counts as an improvement each time.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch

for mode in ("min", "max"):
    for metric in (1.0, -1.0):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode=mode, patience=0
        )
        for _ in range(1000):
            scheduler.step(metric)
        rate = optimizer.param_groups[0]["lr"]
        print(f"{mode} {metric:+.0f}: rate {rate:.1e}")
PYTHON
)
compare "$seen" "min +1: rate 1.0e-08
min -1: rate 1.0e-01
max +1: rate 1.0e-08
max -1: rate 1.0e-01"
