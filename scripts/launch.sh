#!/usr/bin/env bash
# Starts a data-parallel run of the trainer on this machine: so many processes,
# each with its rank.
#
#   scripts/launch.sh -n 2 -- --epochs 3 --batch-size 64
#
#   -n N               processes; 2 by default
#   --master HOST:PORT where they meet; by default a free port of 127.0.0.1
#   --grace SECONDS    how long the others may go on where one has failed, to
#                      save and to end by themselves; 90 by default. They are
#                      sent SIGTERM then, and SIGKILL ten seconds later
#   --program FILE     what is started, by default the trainer that
#                      scripts/demo.sh builds
#   --help             says this
#   --                 what follows goes to every process
#
# A process learns its place as torchrun would tell it, by the variables RANK,
# WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, which
# ConnectOptions::from_environment() reads.
#
# Rank 0 writes to the terminal, the others say nothing but errors. Ctrl-C and
# SIGTERM are passed on to all. The exit status is 0, or that of the process
# that failed first; one that has lost another (4) gives way to the one it lost.
set -uo pipefail

die() {
  printf 'launch: %s\n' "$*" >&2
  exit 2
}
# The lines above, from the second on.
help() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
count=2
grace=90
master=""
program=""
while (($# > 0)); do
  case $1 in
    -n | --grace | --master | --program)
      if (($# < 2)); then die "$1 needs a value"; fi
      case $1 in
        -n) count=$2 ;;
        --grace) grace=$2 ;;
        --master) master=$2 ;;
        --program) program=$2 ;;
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
      die "unknown argument '$1'; what the program is to get comes after --," \
        "--help says the rest"
      ;;
  esac
  shift
done
if [[ ! $count =~ ^[1-9][0-9]*$ ]]; then
  die "-n must be a number of processes, not '$count'"
fi
if [[ ! $grace =~ ^[0-9]+$ ]]; then
  die "--grace must be a number of seconds, not '$grace'"
fi
grace=$((10#$grace))
if [[ -z $program ]]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  program=$root/build/release/bin/stepsize-train
fi
if ! command -v "$program" >/dev/null; then
  die "there is no program $program; scripts/demo.sh builds the trainer"
fi
if [[ -z $master ]]; then
  port=$(python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])') || die "found no free port"
  master=127.0.0.1:$port
fi
if [[ ! $master =~ ^(.+):([0-9]+)$ ]]; then
  die "--master must be HOST:PORT, not '$master'"
fi
export WORLD_SIZE=$count MASTER_ADDR=${BASH_REMATCH[1]}
export MASTER_PORT=${BASH_REMATCH[2]}
unset TORCHELASTIC_USE_AGENT_STORE
# Processes on one machine share its processors.
if [[ -z ${OMP_NUM_THREADS:-} ]]; then
  cores=$(getconf _NPROCESSORS_ONLN)
  export OMP_NUM_THREADS=$((cores > count ? cores / count : 1))
fi

processes=()
signal_all() {
  local process
  for process in ${processes[@]+"${processes[@]}"}; do
    kill -s "$1" "$process" 2>/dev/null
  done
}

# A signal that comes between two starts is passed on after the last of them.
starting=1
asked=""
pass_on() {
  asked=$1
  if ((!starting)); then signal_all "$1"; fi
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT
trap 'pass_on HUP' HUP

# Each in a group of its own: a terminal's Ctrl-C then comes here alone, and
# reaches them once.
set -m
for ((rank = 0; rank < count; ++rank)); do
  if [[ -n $asked ]]; then break; fi
  RANK=$rank LOCAL_RANK=$rank "$program" "$@" &
  processes+=($!)
done
set +m
# One command, so that a signal comes before both or after both.
early=$asked starting=0
if [[ -n $early ]]; then
  signal_all "$early"
  if ((${#processes[@]} == 0)); then exit $((128 + $(kill -l "$early"))); fi
fi

# Waits a moment without a process of its own, so that signals come through.
exec {nothing}<> <(:)
pause() { read -r -t 0.2 -u "$nothing"; }

# note_end STATUS: keeps the first failure. The trainer exits with 4 where it
# has lost another process, whose own status is the cause, also where it comes
# later; not so that of a process which was told to end.
first_failure=0
terminate_at=""
kill_at=""
note_end() {
  if (($1 == 0)); then return; fi
  if ((first_failure == 0)); then
    first_failure=$1
    terminate_at=$((SECONDS + grace))
  elif ((first_failure == 4)) && [[ -z $kill_at ]]; then
    first_failure=$1
  fi
}

while ((${#processes[@]} > 0)); do
  pause
  left=()
  for process in "${processes[@]}"; do
    if kill -0 "$process" 2>/dev/null; then
      left+=("$process")
    else
      wait "$process" 2>/dev/null
      note_end $?
    fi
  done
  processes=(${left[@]+"${left[@]}"})
  if [[ -n $terminate_at ]] && ((SECONDS >= terminate_at)); then
    signal_all TERM
    terminate_at=""
    kill_at=$((SECONDS + 10))
  fi
  if [[ -n $kill_at ]] && ((SECONDS >= kill_at)); then signal_all KILL; fi
done
exit "$first_failure"
