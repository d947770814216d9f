#!/usr/bin/env bash
# Tests scripts/launch.sh with small programs in the place of the trainer.
set -uo pipefail

launch=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts" && pwd)/launch.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  failures=$((failures + 1))
}

# expect_status WHAT EXPECTED ACTUAL
expect_status() {
  if (($2 != $3)); then fail "$1: exit status $3, expected $2"; fi
}

# program TEXT: a program that has its rank in $rank, and writes to files that
# end in it. It lives for ten seconds at most by "hang".
program() {
  cat >"$work/program" <<END
#!/usr/bin/env bash
hang() { for ((i = 0; i < 200; ++i)); do sleep 0.05; done; }
rank=\$RANK
world_size=\$WORLD_SIZE
master=\$MASTER_ADDR:\$MASTER_PORT
for argument in "\$@"; do echo "\$argument" >>"$work/arguments.\$rank"; done
cd "$work"
$1
END
  chmod +x "$work/program"
  rm -f "$work"/*.*
}

run() { "$launch" --program "$work/program" "$@"; }

wait_for() {
  local file
  for file in "$@"; do
    for ((i = 0; i < 200; ++i)); do
      if [[ -e $work/$file ]]; then continue 2; fi
      sleep 0.05
    done
    fail "there is no $file after 10 s"
  done
}

refuses() {
  local said=$1 message status=0
  shift
  program 'touch started.$rank'
  message=$(run "$@" 2>&1) || status=$?
  expect_status "launch.sh $*" 2 "$status"
  if [[ $message != *"$said"* ]]; then
    fail "launch.sh $*: '$said' is not in: $message"
  fi
  if [[ -e $work/started.0 ]]; then fail "launch.sh $* started all the same"; fi
}

for option in -h --help; do
  program 'touch started.$rank'
  said=$(run "$option") || fail "$option: exit status $?"
  for part in "-n N" --master --grace --program --help "sent SIGTERM"; do
    if [[ $said != *"$part"* ]]; then fail "$option does not say $part"; fi
  done
  if [[ $said == *"pipefail"* ]]; then fail "$option prints code"; fi
  if [[ -e $work/started.0 ]]; then fail "$option starts the program"; fi
done

refuses "-n must be a number of processes, not '0'" -n 0
refuses "-n must be a number of processes, not 'two'" -n two
refuses "-n needs a value" -n
refuses "--grace must be a number of seconds, not '-1'" --grace -1
refuses "unknown argument '--epochs'" --epochs 3
refuses "there is no program" --program "$work/none"

program 'echo "$world_size $master $OMP_NUM_THREADS" >ran.$rank'
OMP_NUM_THREADS=7 run -n 3 --master host:5 -- --epochs 2
expect_status "three that pass" 0 $?
for rank in 0 1 2; do
  if [[ $(cat "$work/ran.$rank") != "3 host:5 7" ]]; then
    fail "rank $rank got $(cat "$work/ran.$rank")"
  fi
  if [[ $(paste -sd' ' "$work/arguments.$rank") != "--epochs 2" ]]; then
    fail "rank $rank got $(cat "$work/arguments.$rank")"
  fi
done

program 'if ((rank == 1)); then exit 5; fi; sleep 0.6; exit 4'
run -n 2
expect_status "the first failure" 5 $?

# The one that lost another is not the cause, within one look and later.
program 'if ((rank == 2)); then exit 6; fi; exit 4'
run -n 3
expect_status "the cause among failures at once" 6 $?
program 'if ((rank == 0)); then exit 4; fi; sleep 0.7; exit 7'
run -n 2
expect_status "a cause that takes its time" 7 $?
program 'if ((rank == 0)); then exit 4; fi
trap "exit 143" TERM
hang'
run -n 2 --grace 0
expect_status "a process that was told to end" 4 $?

# The processors are shared out.
program 'echo "$OMP_NUM_THREADS" >threads.$rank'
cores=$(getconf _NPROCESSORS_ONLN)
for count in 1 2; do
  env -u OMP_NUM_THREADS "$launch" --program "$work/program" -n "$count"
  if [[ $(cat "$work/threads.0") != $((cores > count ? cores / count : 1)) ]]
  then
    fail "$count on $cores processors got $(cat "$work/threads.0") threads each"
  fi
done

program 'trap "touch asked.$rank; exit 0" TERM
if ((rank == 0)); then exit 3; fi
hang'
run -n 2 --grace 0
expect_status "SIGTERM after the grace" 3 $?
if [[ ! -e $work/asked.1 ]]; then fail "no SIGTERM after the grace"; fi

# A process that does not listen is killed.
program 'if ((rank == 0)); then exit 3; fi
trap "" TERM
echo $$ >number.$rank
for ((i = 0; i < 600; ++i)); do sleep 0.05; done
touch survived.$rank'
run -n 2 --grace 0
expect_status "SIGKILL after SIGTERM" 3 $?
if [[ -e $work/survived.1 ]]; then fail "no SIGKILL after SIGTERM"; fi

for signal in TERM INT HUP; do
  program 'trap "touch asked.$rank; exit 9" TERM INT HUP
touch ready.$rank
hang'
  # A job without job control ignores SIGINT.
  set -m
  "$launch" --program "$work/program" -n 2 &
  launched=$!
  set +m
  wait_for ready.0 ready.1
  kill -s "$signal" "$launched"
  wait "$launched"
  expect_status "SIG$signal" 9 $?
  wait_for asked.0 asked.1
done

# A signal in the middle of the starts reaches those that run, and no more are
# started. Each says so before it can miss the signal.
program 'touch started.$rank
trap "touch asked.$rank; exit 143" TERM
if ((rank == 0)); then kill -s TERM $PPID; fi
hang'
timeout -s KILL 60 "$launch" --program "$work/program" -n 400
expect_status "SIGTERM in the middle of the starts" 143 $?
started=("$work"/started.*)
if ((${#started[@]} >= 400)); then fail "all were started after SIGTERM"; fi
if [[ ! -e $work/asked.0 ]]; then fail "the signal did not reach rank 0"; fi

if ((failures > 0)); then
  echo "$failures failures" >&2
  exit 1
fi
echo "launch.sh: passed"
