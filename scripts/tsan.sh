#!/usr/bin/env bash
# Runs what is parallel under the thread sanitizer: tests/parallel/CMakeLists.txt
# says what that is. Builds no more than these tests, in build/tsan.
#
#   scripts/tsan.sh                         all of them
#   scripts/tsan.sh '*TwoThreads*'          those that this filter of GoogleTest
#                                           takes
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
readonly filter=${1:-*}

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
  -DSTEPSIZE_BUILD_EXAMPLES=OFF -DSTEPSIZE_BUILD_BENCHMARKS=OFF \
  >out/tsan-configure.log 2>&1; then
  cat out/tsan-configure.log >&2
  exit 1
fi
cmake --build "$build" --target threads_test ranks_test

failed=0
found=0
for binary in threads_test ranks_test; do
  suppressions=$PWD/tests/support/tsan.supp
  if [[ $binary == ranks_test ]]; then
    suppressions=$PWD/tests/support/tsan_gloo.supp
  fi
  # A report makes the exit code 66.
  run_test=(
    env "TSAN_OPTIONS=suppressions=$suppressions exitcode=66 history_size=4"
    "LD_PRELOAD=$openmp" "OMP_TOOL_LIBRARIES=$archer"
    OMP_NUM_THREADS=4 OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0
    "$build/bin/$binary" "--gtest_filter=$filter"
  )
  if ! tests=$("${run_test[@]}" --gtest_list_tests); then
    echo "tsan: $binary does not start" >&2
    failed=1
  elif [[ $tests == *$'\n  '* ]]; then
    found=1
    echo "tsan: $binary"
    "${run_test[@]}" --gtest_brief=1 || failed=1
  elif [[ $filter == "*" ]]; then
    echo "tsan: $binary has no tests" >&2
    failed=1
  fi
done
if ((!found)); then
  echo "tsan: no test that is parallel fits '$filter'" >&2
  failed=1
fi
exit "$failed"
