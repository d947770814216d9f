#!/usr/bin/env bash
# Formats every C++ file of the project with clang-format 14, the version whose
# output the tree is kept in.
#
#   scripts/format.sh            rewrite the files
#   scripts/format.sh --check    change nothing, fail where a file would change
#
# CLANG_FORMAT names the program where it is not called clang-format-14 or
# clang-format. Exit code 77: there is no clang-format 14.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly wanted=14

find_clang_format() {
  local name
  for name in ${CLANG_FORMAT:-"clang-format-$wanted" clang-format}; do
    if command -v "$name" >/dev/null &&
      [[ $("$name" --version) == *"version $wanted."* ]]; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

case ${1:-} in
  "") mode=(-i) ;;
  --check) mode=(--dry-run --Werror) ;;
  *)
    echo "format: unknown argument '$1'; the only one is --check" >&2
    exit 2
    ;;
esac
if ! clang_format=$(find_clang_format); then
  echo "format: there is no clang-format $wanted"
  exit 77
fi

mapfile -d '' files < <(find include csrc tests examples benchmarks fuzz \
  \( -name '*.h' -o -name '*.cpp' \) -print0 | sort -z)
"$clang_format" "${mode[@]}" --style=file "${files[@]}"
