#!/usr/bin/env bash
# torch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# clip_grad_norm_(max_norm=1) of a gradient of four times 1e30 in float32, each
# of them finite, and with error_if_nonfinite as it is by default.
#
# Expected: a gradient of norm 1, four times 0.5.
# Seen: four zeros, and no word of it. The squares are beyond the range of
#   float32, so that the norm is Inf and the coefficient 1 / Inf. The update is
#   lost, and momentum and weight decay go on as if the gradient had been 0.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import warnings

import torch

with warnings.catch_warnings(record=True) as caught:
    weight = torch.nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 1e30)
    norm = torch.nn.utils.clip_grad_norm_([weight], max_norm=1.0)
print(f"norm {norm.item()}, gradient {weight.grad.tolist()}")
print(f"{len(caught)} warnings")
PYTHON
)
compare "$seen" "norm inf, gradient [0.0, 0.0, 0.0, 0.0]
0 warnings"
