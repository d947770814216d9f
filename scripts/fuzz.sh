#!/usr/bin/env bash
# Builds the fuzzers of fuzz/ with clang and the address and undefined behaviour
# sanitizers, and runs them, two at a time.
#
#   scripts/fuzz.sh                           every target, a minute each
#   scripts/fuzz.sh --seconds 600 schedule_text
#   scripts/fuzz.sh --seed 1                  the same inputs each time, as far
#                                             as the time goes
#
# A line a target says how many inputs it ran and what it found. Exit code 1:
# there is a finding; the input lies in out/fuzz/findings. Run it again with
#
#   build/fuzz/bin/fuzz_TARGET out/fuzz/findings/FILE
#
# STEPSIZE_FUZZ_BUILD names another build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly all=(
  schedule_text config_text search_text gzip_file tar_file idx_reader
  cifar_reader checkpoint_reader checkpoint_load safetensors_reader
)
readonly build=${STEPSIZE_FUZZ_BUILD:-build/fuzz}
readonly out=out/fuzz
seconds=60
seed=0  # another each time
targets=()

while (($# > 0)); do
  case $1 in
    --seconds | --seed)
      if [[ ! ${2:-} =~ ^[1-9][0-9]*$ ]]; then
        echo "fuzz: $1 takes a whole number >= 1, got '${2:-}'" >&2
        exit 2
      fi
      if [[ $1 == --seconds ]]; then seconds=$2; else seed=$2; fi
      shift 2
      ;;
    *)
      if [[ " ${all[*]} " != *" $1 "* ]]; then
        echo "fuzz: there is no target '$1'; there are ${all[*]}" >&2
        exit 2
      fi
      targets+=("$1")
      shift
      ;;
  esac
done
if ((${#targets[@]} == 0)); then targets=("${all[@]}"); fi

scripts/setup.sh --for fuzz
generator=()
if [[ ! -e $build/CMakeCache.txt ]]; then
  generator=(-G Ninja -DCMAKE_CXX_COMPILER=clang++)
fi
mkdir -p "$out"
# Static: a shared library would not see what the fuzzer links.
if ! cmake -S . -B "$build" ${generator[@]+"${generator[@]}"} \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1" \
  "-DCMAKE_CXX_FLAGS=-fsanitize=fuzzer-no-link,address,undefined \
    -fno-sanitize=vptr -fno-sanitize-recover=undefined \
    -fno-omit-frame-pointer" \
  -DBUILD_SHARED_LIBS=OFF -DSTEPSIZE_BUILD_FUZZERS=ON \
  -DSTEPSIZE_BUILD_TESTS=OFF -DSTEPSIZE_BUILD_EXAMPLES=OFF \
  -DSTEPSIZE_BUILD_BENCHMARKS=OFF >"$out/configure.log" 2>&1; then
  cat "$out/configure.log" >&2
  exit 1
fi
cmake --build "$build" --target "${targets[@]/#/fuzz_}"
scripts/make_fuzz_seeds.py "$out/seeds"

# The longest input that a target is given: long ones find little and slow.
most_bytes() {
  case $1 in
    schedule_text | config_text) echo 400 ;;
    checkpoint_load | search_text) echo 1024 ;;
    gzip_file) echo 4096 ;;
    *) echo 8192 ;;
  esac
}

run() {
  local target=$1 status=0 found
  local binary=$build/bin/fuzz_$target log=$out/$target.log
  local findings=$out/findings corpus=$out/corpus/$target
  mkdir -p "$findings" "$corpus" "$out/seeds/$target"
  local folders=("$corpus" "$out/seeds/$target")
  local options=(
    -seed="$seed" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096
    -max_len="$(most_bytes "$target")" -print_final_stats=1
    -artifact_prefix="$findings/$target-"
  )
  if [[ -d fuzz/corpus/$target ]]; then folders+=("fuzz/corpus/$target"); fi
  if [[ -e fuzz/$target.dict ]]; then options+=(-dict="fuzz/$target.dict"); fi
  # It runs some dozens a second: too few to work up from short inputs.
  if [[ $target == checkpoint_load ]]; then options+=(-len_control=0); fi
  if [[ $target == checkpoint_reader ]]; then
    STEPSIZE_FUZZ_SEEDS=$out/seeds/$target "$binary"
  fi
  "$binary" "${options[@]}" "${folders[@]}" >"$log" 2>&1 || status=$?
  found="no finding"
  if ((status != 0)); then
    found="A FINDING: $(grep -m 1 -E '^(SUMMARY|fuzz:)|ERROR: ' "$log" ||
      echo "exit code $status"), see $log"
  fi
  printf 'fuzz: %s: %s inputs in %s s, %s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$seconds" "$found"
  return "$status"
}

export OMP_NUM_THREADS=1
# Files that are synced to a disk take their time.
if [[ -z ${TMPDIR:-} && -w /dev/shm ]]; then export TMPDIR=/dev/shm; fi
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  pids=()
  for target in "${targets[@]:i:2}"; do
    run "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
done
exit "$failed"
