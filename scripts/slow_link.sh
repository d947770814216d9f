#!/usr/bin/env bash
# Runs a command in a network namespace of its own, whose loopback is a slow
# link: what processes on one machine say to each other then takes as long as
# between machines.
#
#   scripts/slow_link.sh --rate 1gbit -- scripts/launch.sh -n 2 \
#     --program build/release/bin/overlap_steps
#
#   --rate RATE    of all traffic together, both ways; 1gbit by default
#   --delay TIME   each packet's, as 200us; needs the kernel's netem
#   --help         says this
#
# The rate is kept by netem, or by tbf where this kernel has no netem; it says
# by which. Needs the right to make namespaces (root, or unprivileged user
# namespaces) and iproute2. Exit status 77: this machine cannot do it.
set -euo pipefail

help() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
cannot() {
  printf 'slow_link: %s\n' "$*" >&2
  exit 77
}

rate=1gbit
delay=""
outside="" # the namespace that we have left
while (($# > 0)); do
  case $1 in
    --rate | --delay | --left-namespace)
      if (($# < 2)); then
        echo "slow_link: $1 needs a value" >&2
        exit 2
      fi
      case $1 in
        --rate) rate=$2 ;;
        --delay) delay=$2 ;;
        *) outside=$2 ;;
      esac
      shift
      ;;
    -h | --help)
      help
      exit
      ;;
    --)
      shift
      break
      ;;
    *)
      echo "slow_link: unknown argument '$1'; the command comes after --" >&2
      exit 2
      ;;
  esac
  shift
done
if (($# == 0)); then
  echo "slow_link: there is no command after --" >&2
  exit 2
fi

if [[ -z $outside ]]; then
  for tool in unshare ip tc; do
    command -v "$tool" >/dev/null || cannot "there is no $tool (util-linux, iproute2)"
  done
  own=(unshare --net)
  if ((EUID != 0)); then own=(unshare --net --map-root-user); fi
  "${own[@]}" true 2>/dev/null || cannot "no right to make a network namespace"
  exec "${own[@]}" "${BASH_SOURCE[0]}" \
    --left-namespace "$(readlink /proc/self/ns/net)" --rate "$rate" \
    ${delay:+--delay "$delay"} -- "$@"
fi

# The inner call, in the namespace. The loopback of a new one is down: never
# slow down one that somebody uses.
if [[ $(readlink /proc/self/ns/net) == "$outside" ||
  -n $(ip -o link show up) ]]; then
  cannot "this is no new network namespace"
fi
ip link set lo up

# shape QDISC OPTION...: whether the kernel has this one. Ends the run where tc
# does not understand the options (1; of the kernel's refusals it says 2).
shape() {
  local said status=0
  said=$(tc qdisc add dev lo root "$@" 2>&1) || status=$?
  if ((status == 1)); then
    printf 'slow_link: tc: %s\n' "$said" >&2
    exit 2
  fi
  return "$status"
}
if shape netem rate "$rate" ${delay:+delay "$delay"} limit 100000; then
  echo "slow_link: netem, $rate${delay:+, delay $delay}" >&2
elif [[ -n $delay ]]; then
  cannot "this kernel has no netem, which --delay needs"
elif shape tbf rate "$rate" burst 128kb latency 1s; then
  echo "slow_link: tbf, $rate (this kernel has no netem)" >&2
else
  cannot "this kernel has neither netem nor tbf"
fi
exec "$@"
