#!/usr/bin/env bash
# torch 2.14.1 (Debian unstable, python3-torch 2.14.1+dfsg-1).
#
# LinearLR(start_factor=0.1, total_iters=5), base rate 1, is stepped 3 times and
# made anew as the documentation says: with last_epoch=3, over an optimizer that
# has `initial_lr` and the rate of then, .64.
#
# Expected: .64 .82 1 1 (or, where last_epoch=3 is to give the next rate,
#   .82 1 1): the curve that it was on, which ends at the base rate.
# Seen: .64, and then .7805 for ever: 22% below the base rate, without a
#   warning. The clock moves on when the scheduler is made and the rate does
#   not, so that the next factor is applied to the wrong rate. 1.13.1 and 2.6.0
#   give .82 1 1. CosineAnnealingLR and PolynomialLR leave their curves too.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot sid python3-torch=2.14.1+dfsg-1
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch
from torch.optim.lr_scheduler import LinearLR


def rates_of(last_epoch, lr, steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    group = {"params": [weight], "lr": lr, "initial_lr": 1.0}
    optimizer = torch.optim.SGD([group])
    scheduler = LinearLR(optimizer, 0.1, total_iters=5, last_epoch=last_epoch)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


straight = rates_of(-1, 1.0, 7)
resumed = rates_of(3, straight[3], 4)
print("straight", *(f"{rate:.4f}" for rate in straight[3:]))
print("resumed ", *(f"{rate:.4f}" for rate in resumed))
PYTHON
)
compare "$seen" "straight 0.6400 0.8200 1.0000 1.0000 1.0000
resumed  0.6400 0.7805 0.7805 0.7805 0.7805"
