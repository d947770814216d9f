#!/usr/bin/env bash
# torchrun of PyTorch 1.13.1 with Python 3.11 (Debian 12, python3-torch 1.13.1+dfsg-4).
#
# A program started twice by torchrun with its defaults, and with its two
# options of what goes to files (-r) and to the terminal too (-t) at 0, 1 and 3.
#
# Expected: both processes run each time, as the help's defaults of 0 say.
# Seen: only with both at 1. Else "'NoneType' object has no attribute 'get'",
#   after the rendezvous and before any process starts. From Python 3.11 on a
#   loop over a Flag passes over its zero and its combined members, and torchrun
#   finds the value of an option by such a loop.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot bookworm python3-torch=1.13.1+dfsg-4
run() {
  printf '%s: ' "${*:-defaults}"
  { in_chroot timeout 60 torchrun "$@" --log_dir /tmp/logs --no_python \
    --nproc_per_node 2 sh -c 'echo "rank $RANK runs"' 2>&1 || true; } |
    sed -n 's/.*\(rank . runs\)/\1/p; s/^AttributeError: //p' | sort -u |
    paste -sd ';'
}
seen=$(
  run
  for value in 0 1 3; do run -r "$value" -t "$value"; done
)
compare "$seen" "defaults: 'NoneType' object has no attribute 'get'
-r 0 -t 0: 'NoneType' object has no attribute 'get'
-r 1 -t 1: rank 0 runs;rank 1 runs
-r 3 -t 3: 'NoneType' object has no attribute 'get'"
