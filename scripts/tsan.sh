#!/usr/bin/env bash
# Runs what is parallel under the thread sanitizer: the kernels, the inner
# products and quotients of curvature, the gathering of images on several
# threads, two threads that train two models, and ranks in threads of one process
# that average, train, roll back, and look for their rate. Builds no more than
# these tests, in build/tsan.
#
#   scripts/tsan.sh                         all of them
#   scripts/tsan.sh hardening               the tests of some rooms
#
# LibTorch is not instrumented, and its threads wait for each other in an OpenMP
# library that the sanitizer cannot see into either: each parallel loop would be
# a race. So LLVM's OpenMP library takes that one's place, which tells the
# sanitizer by way of Archer where threads meet (scripts/setup.sh --for tsan
# installs both). tests/support/tsan.supp and tsan_gloo.supp say what is left
# out besides.
#
# STEPSIZE_TSAN_BUILD names another build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly build=${STEPSIZE_TSAN_BUILD:-build/tsan}
rooms=("$@")
if ((${#rooms[@]} == 0)); then
  rooms=(kernels curvature hardening distributed optim tune trainer)
fi

# The first of the libraries of this name that LLVM has put anywhere.
find_library() {
  local file
  for file in /usr/lib/llvm-*/lib/"$1" /usr/lib/*/"$1" /usr/local/lib/"$1"; do
    if [[ -e $file ]]; then
      printf '%s\n' "$file"
      return
    fi
  done
  return 1
}

scripts/setup.sh --for tsan
if ! openmp=$(find_library libomp.so.5) || ! archer=$(find_library libarcher.so)
then
  echo "tsan: there is no libomp.so.5 with its libarcher.so" >&2
  exit 1
fi

generator=()
if [[ ! -e $build/CMakeCache.txt ]]; then generator=(-G Ninja); fi
mkdir -p out
if ! cmake -S . -B "$build" ${generator[@]+"${generator[@]}"} \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  "-DCMAKE_CXX_FLAGS=-fsanitize=thread -fno-omit-frame-pointer" \
  "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1" \
  -DSTEPSIZE_BUILD_BENCHMARKS=OFF \
  >out/tsan-configure.log 2>&1; then
  cat out/tsan-configure.log >&2
  exit 1
fi
cmake --build "$build" --target "${rooms[@]/%/_test}"

# What each room has that is parallel.
filter_of() {
  case $1 in
    curvature) echo 'VectorMath.*' ;;
    hardening) echo '*TwoThreads*' ;;
    optim | tune) echo '*Ranks.*' ;;
    trainer) echo '*Gather*' ;;
    *) echo '*' ;;
  esac
}

failed=0
for room in "${rooms[@]}"; do
  echo "tsan: $room"
  suppressions=$PWD/tests/support/tsan.supp
  case $room in
    distributed | optim | tune)
      suppressions=$PWD/tests/support/tsan_gloo.supp
      ;;
  esac
  # A report makes the exit code 66.
  run_test=(
    env "TSAN_OPTIONS=suppressions=$suppressions exitcode=66 history_size=4"
    "LD_PRELOAD=$openmp" "OMP_TOOL_LIBRARIES=$archer"
    OMP_NUM_THREADS=4 OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0
    "$build/bin/${room}_test" "--gtest_filter=$(filter_of "$room")"
  )
  if ! tests=$("${run_test[@]}" --gtest_list_tests); then
    echo "tsan: the tests of $room do not start" >&2
    failed=1
  elif [[ $tests != *$'\n  '* ]]; then
    echo "tsan: $room has no test that is parallel" >&2
    failed=1
  fi
  "${run_test[@]}" --gtest_brief=1 || failed=1
done
exit "$failed"
