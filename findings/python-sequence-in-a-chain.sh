#!/usr/bin/env bash
# torch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# ChainedScheduler of ExponentialLR(.9) and a SequentialLR of two ConstantLR
# that multiply by 1, with its milestone at 3; base rate 1.
#
# Expected: a chain multiplies the factors of its parts: 1 .9 .81 .729 .6561.
# Seen: 1 .9 .81 1 .9: at the milestone the sequence sets the base rate again,
#   and the decay of the other scheduler is lost.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import warnings

import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler, ConstantLR, ExponentialLR, SequentialLR,
)

warnings.filterwarnings("ignore")
weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([weight], lr=1.0)
decay = ExponentialLR(optimizer, 0.9)
parts = [ConstantLR(optimizer, 1.0), ConstantLR(optimizer, 1.0)]
scheduler = ChainedScheduler([decay, SequentialLR(optimizer, parts, [3])])
rates = []
for _ in range(5):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    scheduler.step()
print(*(f"{rate:.4f}" for rate in rates))
PYTHON
)
compare "$seen" "1.0000 0.9000 0.8100 1.0000 0.9000"
