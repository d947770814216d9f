#!/usr/bin/env bash
# Tests scripts/slow_link.sh. Exit status 77: this machine makes no slow links.
set -uo pipefail

slow_link=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../scripts" && pwd)/slow_link.sh
failures=0

# expect WHAT EXPECTED ACTUAL
expect() {
  if [[ $2 != "$3" ]]; then
    printf 'FAILED: %s: %s, expected %s\n' "$1" "$3" "$2" >&2
    failures=$((failures + 1))
  fi
}

"$slow_link" -- true
if (($? == 77)); then exit 77; fi

# What this shell has exported does not make it slow down this shell's loopback.
export STEPSIZE_SLOW_LINK=1
before=$(tc qdisc show dev lo)
namespace=$("$slow_link" --rate 100mbit -- readlink /proc/self/ns/net 2>/dev/null)
expect "no command has run in a namespace" 0 "$(
  [[ $namespace == net:* ]]
  echo $?
)"
expect "it ran in this namespace" 1 "$(
  [[ $namespace == "$(readlink /proc/self/ns/net)" ]]
  echo $?
)"
expect "this loopback" "$before" "$(tc qdisc show dev lo)"

# The command's lines alone are on the standard output, and its status is kept.
said=$("$slow_link" -- sh -c 'echo hello; exit 5' 2>/dev/null)
expect "status of the command" 5 $?
expect "standard output" hello "$said"

# A rate that is none is a mistake of the caller, not of the machine.
said=$("$slow_link" --rate 1banana -- echo ran 2>&1)
expect "status of a wrong rate" 2 $?
expect "message of a wrong rate" 1 "$(grep -c 'tc: .*rate' <<<"$said")"

# Not where a loopback is in use already.
said=$("$slow_link" --left-namespace none -- echo ran 2>/dev/null)
expect "status in a namespace that is in use" 77 $?
expect "output in a namespace that is in use" "" "$said"

if ((failures > 0)); then exit 1; fi
echo "slow_link.sh: passed"
