#!/usr/bin/env bash
# torch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# The 2-norm of 100,000,000 values of 1e-4 in float32, on a CPU, by one thread
# and by two.
#
# Expected: 1.0000, to float32's seven digits or at least five of them.
# Seen: 0.9412, 6% short. Each of a few running sums takes in one square after
#   the other in float32, and late ones are rounded to less than they are. In
#   float64, by dtype=torch.float64 or for the values, the answer is right.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
seen=$(in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch

values = torch.full((100_000_000,), 1e-4)
for threads in (1, 2):
    torch.set_num_threads(threads)
    print(f"{threads}: {torch.linalg.vector_norm(values).item():.4f}")
wide = torch.linalg.vector_norm(values, dtype=torch.float64)
print(f"float64: {wide.item():.4f}")
PYTHON
)
compare "$seen" "1: 0.9412
2: 0.9412
float64: 1.0000"
