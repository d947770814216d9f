# Sourced by the scripts beside it. They run public packages of a pinned version
# in a chroot of their own, which goes when they end.
#
#   make_chroot SUITE PACKAGE=VERSION...   from Debian's mirror, by mmdebstrap
#   in_chroot COMMAND...                   runs it there
#   compare SEEN STATED                    says whether it is as stated, and exits
#
# FINDINGS_CHROOT=DIR takes a chroot that is there already, where it has these
# packages. Exits: 0 as stated, 1 otherwise, 2 where the packages cannot be had.
set -euo pipefail

cannot() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

make_chroot() {
  local suite=$1 package found
  shift
  if [[ $(id -u) != 0 ]]; then cannot "run this as root: it makes a chroot"; fi
  chroot_dir=${FINDINGS_CHROOT:-}
  if [[ -z $chroot_dir ]]; then
    command -v mmdebstrap >/dev/null || cannot "install mmdebstrap"
    chroot_dir=$(mktemp -d "${TMPDIR:-/tmp}/finding.XXXXXX")
    trap 'rm -rf --one-file-system "$chroot_dir"' EXIT
    chmod 755 "$chroot_dir"
    mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "$*")" \
      --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$chroot_dir" ||
      cannot "no chroot of $suite with $*: are these versions still there?"
  fi
  for package in "$@"; do
    if [[ $package != *=* ]]; then continue; fi
    found=$(chroot "$chroot_dir" dpkg-query -W -f '${Package}=${Version}' \
      "${package%%=*}" 2>/dev/null) || found="none"
    if [[ $found != "$package" ]]; then cannot "$package is not there: $found"; fi
  done
}

in_chroot() {
  unshare --mount --propagation private bash -euc '
    mount --bind /proc "$1/proc"
    mount --bind /dev "$1/dev"
    exec chroot "$1" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
      PATH=/usr/bin:/bin OMP_NUM_THREADS=1 "${@:2}"
  ' in_chroot "$chroot_dir" "$@"
}

compare() {
  printf '%s\n' "$1"
  if [[ $1 == "$2" ]]; then
    printf '%s: as stated\n' "${0##*/}"
    exit 0
  fi
  printf '%s: HAS CHANGED; stated was\n%s\n' "${0##*/}" "$2"
  exit 1
}
