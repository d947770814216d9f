#!/usr/bin/env bash
# Builds the tree and runs every test against the LibTorch of other Debian
# releases, each in a chroot of its own and with warnings as errors:
#
#   scripts/compat.sh bookworm            LibTorch 1.13
#   scripts/compat.sh trixie sid          2.6, and that of Debian unstable
#
#   --chroot DIR     take this chroot (one suite only); what it lacks is
#                    installed there, and it is kept. Without it a new one is
#                    made by mmdebstrap in ${TMPDIR:-/tmp}, and deleted at the
#                    end.
#   --keep           keep the chroots made
#   --mirror URL     the mirror to install from
#   --preset NAME    the CMake preset: release (the default), debug or asan
#   --               what follows goes to ctest
#
# Needs root, and mmdebstrap where a chroot is to be made. A chroot takes about
# two minutes and 2 GB. Exits with 3 where nothing failed but a chroot that
# could not be made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'compat: %s\n' "$*" >&2
  exit 2
}
say() { printf 'compat: %s\n' "$*"; }

suites=()
chroot_dir=""
keep=0
mirror=""
preset=release
ctest_arguments=()
while (($# > 0)); do
  case $1 in
    --chroot | --mirror | --preset)
      if (($# < 2)); then die "$1 needs a value"; fi
      case $1 in
        --chroot) chroot_dir=$2 ;;
        --mirror) mirror=$2 ;;
        --preset) preset=$2 ;;
      esac
      shift
      ;;
    --keep) keep=1 ;;
    --)
      shift
      ctest_arguments=("$@")
      break
      ;;
    -*) die "unknown option '$1'" ;;
    *) suites+=("$1") ;;
  esac
  shift
done
if ((${#suites[@]} == 0)); then die "name a suite: bookworm, trixie or sid"; fi
if [[ -n $chroot_dir ]]; then
  if ((${#suites[@]} != 1)); then die "--chroot takes one suite only"; fi
  if [[ ! -d $chroot_dir ]]; then die "there is no folder $chroot_dir"; fi
elif ! command -v mmdebstrap >/dev/null; then
  die "mmdebstrap is missing (scripts/setup.sh --for compat)," \
    "or name a chroot in --chroot"
fi
if [[ $(id -u) != 0 ]]; then die "run this as root: it makes a chroot"; fi

# make_chroot SUITE DIR
make_chroot() {
  local packages
  packages=$(scripts/setup.sh --list | paste -sd,)
  # Debian unstable from a snapshot is served after its date of expiry.
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --aptopt='Acquire::Check-Valid-Until "false"' "$1" "$2" \
    ${mirror:+"$mirror"}
}

# in_chroot DIR COMMAND...: runs the command there with /proc and /dev, which
# are unmounted with the namespace that they are mounted in.
in_chroot() {
  local dir=$1
  shift
  unshare --mount --propagation private bash -euc '
    dir=$1
    shift
    mount --bind /dev "$dir/dev"
    mount --bind /proc "$dir/proc"
    exec chroot "$dir" /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
  ' in_chroot "$dir" "$@"
}

# check_suite SUITE DIR: builds and tests a copy of the tree in the chroot.
check_suite() {
  local suite=$1 dir=$2 source
  source=$(mktemp -d "$dir/tmp/stepsize.XXXXXX")
  tar --exclude=./build --exclude=./out --exclude=./.git -cf - . |
    tar -xf - -C "$source" --no-same-owner
  say "$suite: building in $dir"
  local status=0
  in_chroot "$dir" bash -euc '
    cd "$1"
    preset=$2
    shift 2
    scripts/setup.sh
    # A chroot has the LibTorch of its release, and no other.
    cmake --preset "$preset" -DSTEPSIZE_WARNINGS_AS_ERRORS=ON
    cmake --build --preset "$preset" --parallel "$(nproc)"
    ctest --preset "$preset" --parallel "$(nproc)" "$@"
  ' build "/tmp/${source##*/}" "$preset" \
    ${ctest_arguments[@]+"${ctest_arguments[@]}"} || status=$?
  rm -rf "$source"
  return "$status"
}

made=()
clean_up() {
  local dir
  for dir in ${made[@]+"${made[@]}"}; do
    if ((keep)); then
      say "kept $dir"
    else
      rm -rf --one-file-system "$dir"
    fi
  done
}
trap clean_up EXIT

failed=()
unmade=()
for suite in "${suites[@]}"; do
  dir=$chroot_dir
  if [[ -z $dir ]]; then
    dir=$(mktemp -d "${TMPDIR:-/tmp}/stepsize-$suite.XXXXXX")
    made+=("$dir")
    chmod 755 "$dir"
    say "$suite: making a chroot in $dir"
    if ! make_chroot "$suite" "$dir"; then
      unmade+=("$suite")
      continue
    fi
  fi
  if check_suite "$suite" "$dir"; then
    say "$suite: passed"
  else
    say "$suite: FAILED"
    failed+=("$suite")
  fi
done
if ((${#failed[@]} > 0)); then
  say "failed: ${failed[*]}"
  exit 1
fi
if ((${#unmade[@]} > 0)); then
  say "no chroot could be made of: ${unmade[*]}"
  exit 3
fi
say "passed: ${suites[*]}"
