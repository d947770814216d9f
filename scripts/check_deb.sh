#!/usr/bin/env bash
# Makes the Debian packages and tries them in a chroot: they install, a program
# is built with CMake and one with pkg-config, both run, and after a purge
# nothing of them is left.
#
#   scripts/check_deb.sh                build in build/deb, in a new chroot
#
#   --build DIR      take the packages of this build folder, which was
#                    configured with -DCMAKE_INSTALL_PREFIX=/usr
#   --chroot DIR     take this chroot, of the Debian release that this machine
#                    has; what it lacks is installed there, and it is kept.
#                    Without it one is made by mmdebstrap in ${TMPDIR:-/tmp},
#                    and deleted at the end.
#   --mirror URL     the mirror to install from
#
# Needs root. What it makes lies in packages/ of the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'check_deb: %s\n' "$*" >&2
  exit 2
}
say() { printf 'check_deb: %s\n' "$*"; }
fail() {
  printf 'check_deb: FAILED: %s\n' "$*" >&2
  exit 1
}

build=""
dir=""
mirror=""
while (($# > 0)); do
  case $1 in
    --build | --chroot | --mirror)
      if (($# < 2)); then die "$1 needs a value"; fi
      case $1 in
        --build) build=$2 ;;
        --chroot) dir=$2 ;;
        --mirror) mirror=$2 ;;
      esac
      shift
      ;;
    *) die "unknown argument '$1'" ;;
  esac
  shift
done
if [[ $(id -u) != 0 ]]; then die "run this as root: it enters a chroot"; fi
if [[ -n $dir && ! -d $dir ]]; then die "there is no folder $dir"; fi
scripts/setup.sh --for deb

if [[ -z $build ]]; then
  build=build/deb
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX=/usr -DSTEPSIZE_BUILD_TESTS=OFF \
    -DSTEPSIZE_BUILD_EXAMPLES=OFF -DSTEPSIZE_BUILD_BENCHMARKS=OFF
fi
cmake --build "$build" --target stepsize
packages=$build/packages
rm -rf "$packages"
(cd "$build" && cpack -G DEB)
debs=("$packages"/*.deb)
for deb in "${debs[@]}"; do
  say "${deb##*/}: $(dpkg-deb -f "$deb" Depends)"
done
lintian --allow-root --fail-on error --tag-display-limit 0 "${debs[@]}" ||
  fail "lintian found errors"

made=""
work=""
# shellcheck disable=SC2329  # called by the trap
clean_up() {
  if [[ -n $work ]]; then rm -rf "$work"; fi
  if [[ -n $made ]]; then rm -rf --one-file-system "$made"; fi
}
trap clean_up EXIT
# What the packages and the programs that use them need besides.
readonly needed="g++,cmake,ninja-build,pkgconf,libtorch-dev,zlib1g-dev"
if [[ -z $dir ]]; then
  # shellcheck disable=SC1091
  suite=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  made=$(mktemp -d "${TMPDIR:-/tmp}/stepsize-deb.XXXXXX")
  dir=$made
  chmod 755 "$dir"
  say "making a chroot of $suite in $dir"
  mmdebstrap --quiet --variant=minbase --include="$needed" "$suite" "$dir" \
    ${mirror:+"$mirror"}
fi

# in_chroot COMMAND...: with /proc and /dev, which are unmounted with the
# namespace that they are mounted in.
in_chroot() {
  unshare --mount --propagation private bash -euc '
    dir=$1
    shift
    mount --bind /dev "$dir/dev"
    mount --bind /proc "$dir/proc"
    exec chroot "$dir" /usr/bin/env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 \
      DEBIAN_FRONTEND=noninteractive \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
  ' in_chroot "$dir" "$@"
}
apt=(apt-get -qq -o DPkg::Lock::Timeout=120)
work=$(mktemp -d "$dir/tmp/stepsize.XXXXXX")
inside=/tmp/${work##*/}

# files: all that the chroot has, but for what every dpkg run writes: the lists
# of packages, caches and logs.
files() {
  (cd "$dir" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./tmp \
    -o -path ./var/log -o -path ./var/cache -o -path ./var/lib/apt \
    -o -path ./root -o -path ./run \) -prune -o -print) |
    grep -vE '^\./var/lib/dpkg/(status|available|lock|triggers|updates)' |
    LC_ALL=C sort
}

names=()
for deb in "${debs[@]}"; do names+=("$(dpkg-deb -f "$deb" Package)"); done
in_chroot "${apt[@]}" purge -y "${names[@]}" >/dev/null 2>&1 || true
in_chroot bash -euc 'dpkg -s ${1//,/ } >/dev/null 2>&1' all "$needed" || {
  in_chroot "${apt[@]}" update
  in_chroot bash -euc 'apt-get -qq install -y --no-install-recommends ${1//,/ }' \
    all "$needed" >/dev/null
}
files >"$work/before"
cp "${debs[@]}" "$work"

say "installing ${names[*]}"
in_chroot bash -euc 'cd "$1" && dpkg -i ./*.deb' install "$inside" >/dev/null ||
  fail "the packages do not install"
files >"$work/with"
# What has come is what the packages say, and their entries in dpkg's lists.
LC_ALL=C comm -13 "$work/before" "$work/with" |
  grep -vE '^\./var/lib/dpkg/info/' >"$work/came" || true
in_chroot dpkg -L "${names[@]}" | sed 's/^/./' | LC_ALL=C sort -u >"$work/said"
extra=$(LC_ALL=C comm -23 "$work/came" "$work/said")
if [[ -n $extra ]]; then fail "not of the packages: $extra"; fi
say "$(wc -l <"$work/came") files and folders came"

say "building programs with them"
mkdir "$work/consumer"
cp tests/package/consumer/* examples/quickstart.cpp "$work/consumer"
in_chroot bash -euc '
  cd "$1/consumer"
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DCONSUMER_TAKES=find_package >/dev/null
  cmake --build build >/dev/null
  build/consumer
  standard=$(pkg-config --variable=cxx_standard stepsize)
  g++ -O0 "-std=c++$standard" $(pkg-config --cflags stepsize) quickstart.cpp \
    -o quickstart $(pkg-config --libs stepsize)
  ./quickstart
' consumer "$inside" || fail "a program that uses the packages"
rm -r "$work/consumer"

say "removing ${names[*]}"
in_chroot dpkg --purge "${names[@]}" >/dev/null || fail "they do not purge"
files >"$work/after"
if ! diff "$work/before" "$work/after" >"$work/left"; then
  cat "$work/left" >&2
  fail "the chroot is not as it was before"
fi
say "passed: nothing is left"
