#!/usr/bin/env bash
# Installs what is missing, builds everything and runs the tests: all but those
# that compile the library again, as its users do, and every header alone.
# Arguments go to ctest:
#
#   scripts/test.sh -L consumers      those that are left out else
#   scripts/test.sh -R schedule       only the tests whose name has "schedule"
#
# STEPSIZE_PRESET=debug (or asan) takes another preset than release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${STEPSIZE_PRESET:-release}
jobs=$(nproc 2>/dev/null || echo 2)

scripts/setup.sh
scripts/configure.sh "$preset"
cmake --build --preset "$preset" --parallel "$jobs"
if (($# == 0)); then set -- -LE consumers; fi
exec ctest --preset "$preset" --parallel "$jobs" "$@"
