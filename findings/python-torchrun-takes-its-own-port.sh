#!/usr/bin/env bash
# torchrun of PyTorch 2.6.0 (Debian 13, python3-torch 2.6.0+dfsg-7).
#
# Two processes of a program that is not Python's: rank 0 listens at the
# MASTER_PORT that torchrun hands to both, where the others look for it.
#
# Expected: the port is rank 0's, whichever rendezvous torchrun itself uses.
# Seen: torchrun keeps its own store at that port, by default and with
#   --rdzv_backend c10d, so that rank 0 gets "Address already in use". Only
#   TORCHELASTIC_USE_AGENT_STORE=True beside it tells that it is taken; in 1.13.1
#   it is False, and the port free, with c10d.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie python3-torch=2.6.0+dfsg-7
in_chroot sh -euc 'cat >/tmp/listen.py' <<'PY'
import os
import socket

if os.environ["RANK"] == "0":
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE")
        try:
            door.bind(("", int(os.environ["MASTER_PORT"])))
            print("free, agent store", store)
        except OSError as error:
            print(error.strerror + ", agent store", store)
PY
run() {
  printf '%s: ' "$1"
  shift
  in_chroot timeout 90 torchrun "$@" --nproc_per_node 2 /tmp/listen.py \
    2>/dev/null || true
}
seen=$(
  run defaults
  run c10d --rdzv_backend c10d --rdzv_endpoint 127.0.0.1:0
)
compare "$seen" "defaults: Address already in use, agent store True
c10d: Address already in use, agent store True"
