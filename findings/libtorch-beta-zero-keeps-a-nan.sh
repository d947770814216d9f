#!/usr/bin/env bash
# torch 1.13.1 (Debian 12, python3-torch 1.13.1+dfsg-4); 2.6.0 is as expected.
#
# A batch of products written over old memory: out.baddbmm_(left, right, beta=0)
# of NaNs, for a result of 1 x 1 and of 32 x 32.
#
# Expected: the product, all numbers: by the documentation, and as with BLAS, what
#   stood there has no part in it at a beta of 0, not even a NaN.
# Seen: numbers for 32 x 32. Of few multiplications, fewer than 400, another
#   kernel of the CPU multiplies what was there by 0, and a NaN stays one. So
#   memory from empty() does for large products and, now and then, not for the
#   last narrow block of one.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot bookworm python3-torch=1.13.1+dfsg-4
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch

for size in (1, 32):
    out = torch.full((1, size, size), float("nan"))
    left = torch.ones(1, size, 64)
    right = torch.ones(1, 64, size)
    out.baddbmm_(left, right, beta=0)
    print(f"{size}: {out.flatten()[0].item():.0f}")
PYTHON
)
compare "$seen" "1: nan
32: 64"
