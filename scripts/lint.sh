#!/usr/bin/env bash
# The static checks: layering, clang-format 14 and clang-tidy 14 over the tree,
# or clang-tidy over the files named.
#
#   scripts/lint.sh                          everything
#   scripts/lint.sh csrc/schedule/parse.cpp  clang-tidy on this file
#
# clang-tidy reads build/debug/compile_commands.json, which is made if need be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly build=build/debug
jobs=$(nproc 2>/dev/null || echo 2)

tidy=clang-tidy-14
if ! command -v "$tidy" >/dev/null; then tidy=clang-tidy; fi
if ! command -v "$tidy" >/dev/null ||
  [[ $("$tidy" --version) != *"version 14."* ]]; then
  echo "lint: there is no clang-tidy 14" >&2
  exit 1
fi

if (($# > 0)); then
  files=("$@")
else
  scripts/check_layering.py
  scripts/format.sh --check
  mapfile -t files < <(find csrc tests examples benchmarks -name '*.cpp' \
    -not -path 'tests/package/*' | sort)
fi

if ! log=$(cmake --preset debug 2>&1); then
  printf '%s\n' "$log" >&2
  exit 1
fi
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$jobs" "$tidy" --quiet -p "$build"
echo "lint: nothing to complain about in ${#files[@]} file(s)"
