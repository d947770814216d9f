#!/usr/bin/env bash
# torch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# OneCycleLR(max_lr=1, total_steps=10) sets ten rates, the last by its ninth
# step: 4e-6. A loop that makes one step more than that goes past the end.
#
# Expected: "Tried to step ... times. The specified number of total steps is
#   10" at that step, or the last rate held.
# Seen: the tenth step sets .0495, 12,000 times the last rate; only the
#   eleventh raises.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch

weight = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10)
for step in range(1, 12):
    optimizer.step()
    try:
        scheduler.step()
    except ValueError as error:
        print(f"step {step}: {type(error).__name__}")
        break
    if step >= 9:
        print(f"step {step}: {optimizer.param_groups[0]['lr']:.4g}")
PYTHON
)
compare "$seen" "step 9: 4e-06
step 10: 0.04952
step 11: ValueError"
