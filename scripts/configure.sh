#!/usr/bin/env bash
# Configures a preset with the LibTorch that the environment names, if any:
#
#   scripts/configure.sh PRESET
#
# STEPSIZE_WARNINGS_AS_ERRORS=ON in the environment sets the option of that name.
# CMake remembers the LibTorch that it found. When the environment names another
# one than at the last time, or none any more, everything is found anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly preset=$1
torch_dir=$(scripts/setup.sh --torch-dir)
readonly named=build/$preset/named_torch_dir
before=""
if [[ -e $named ]]; then before=$(<"$named"); fi

arguments=(--preset "$preset")
if [[ $torch_dir != "$before" ]]; then arguments+=(--fresh); fi
if [[ -n ${STEPSIZE_WARNINGS_AS_ERRORS:-} ]]; then
  arguments+=("-DSTEPSIZE_WARNINGS_AS_ERRORS=$STEPSIZE_WARNINGS_AS_ERRORS")
fi
if [[ -n $torch_dir ]]; then arguments+=("-DTorch_DIR=$torch_dir"); fi
cmake "${arguments[@]}"
printf '%s\n' "$torch_dir" >"$named"
