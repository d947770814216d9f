#!/usr/bin/env bash
# Installs what the build and the tests need and the machine lacks: on Debian
# and Ubuntu with apt, as root or through sudo. Elsewhere it says what is needed.
#
#   scripts/setup.sh            install what is missing (nothing: says nothing)
#   scripts/setup.sh --list     print the packages, one a line
#   scripts/setup.sh --for fuzz
#   scripts/setup.sh --for compat
#   scripts/setup.sh --for tsan
#   scripts/setup.sh --for docs
#   scripts/setup.sh --for deb
#                               install what scripts/fuzz.sh, compat.sh,
#                               tsan.sh, docs.sh or check_deb.sh need besides
#   scripts/setup.sh --for python
#                               install Python's PyTorch, with which tests
#                               exchange files and whose torchrun starts ranks
#   scripts/setup.sh --torch-dir
#                               print the folder of the TorchConfig.cmake that
#                               the environment names, or nothing
#
# A LibTorch of your own is taken as it is: name it in Torch_DIR or in
# CMAKE_PREFIX_PATH and libtorch-dev is not installed.
# STEPSIZE_SKIP_SETUP=1 makes this script do nothing.
set -euo pipefail

# A tool counts as present under any of its names, wherever it came from; it is
# installed as the package after the colon.
readonly tools=(
  "c++ g++ clang++:g++"
  "cmake:cmake"
  "ninja:ninja-build"
  "python3:python3"
)
readonly packages=(
  libgtest-dev          # the tests
  libgmock-dev          # their matchers
  libbenchmark-dev      # the benchmarks
  libcli11-dev          # the trainer's command line
  zlib1g-dev            # the trainer reads compressed data
  nlohmann-json3-dev    # safetensors headers, configurations, journals
  dataset-fashion-mnist # what the demo trains on
  openmpi-bin           # a launcher that the tests start ranks by
  libprotobuf-dev       # events for TensorBoard
  protobuf-compiler     # likewise
  librsvg2-dev          # pictures in them
  pkgconf               # which finds that, and a test of stepsize.pc
  # What two of the applications learn: a text, and recorded speech.
  golang-github-andybalholm-brotli-dev
  alsa-utils
)
# The sanitizers' libraries are no dependency of clang's.
readonly fuzz_packages=(clang libclang-rt-dev)
readonly compat_packages=(mmdebstrap)
# An OpenMP library that tells the thread sanitizer where its threads meet.
readonly tsan_packages=(libomp-dev)
readonly docs_packages=(doxygen)
readonly deb_packages=(mmdebstrap dpkg-dev file fakeroot lintian)
readonly python_packages=(python3-torch)
# Without OpenBLAS Debian's LibTorch multiplies matrices with the reference
# BLAS, tens of times slower.
# Its process groups over Gloo want Gloo's headers.
readonly torch_packages=(libtorch-dev libopenblas0-pthread libgloo-dev)

say() { printf 'setup: %s\n' "$*" >&2; }

# own_torch_config: prints the configuration file of the LibTorch that the
# environment names; fails when it names none.
own_torch_config() {
  local prefix file
  if [[ -n ${Torch_DIR:-} ]]; then
    if [[ ! -e $Torch_DIR/TorchConfig.cmake ]]; then
      say "Torch_DIR is $Torch_DIR, which holds no TorchConfig.cmake"
      exit 1
    fi
    printf '%s\n' "$Torch_DIR/TorchConfig.cmake"
    return 0
  fi
  local -a prefixes
  IFS=':;' read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in ${prefixes[@]+"${prefixes[@]}"}; do
    for file in "$prefix"/TorchConfig.cmake \
      "$prefix"/Torch/TorchConfig.cmake \
      "$prefix"/{share,lib,lib/*,lib64}/cmake/Torch/TorchConfig.cmake; do
      if [[ -e $file ]]; then
        printf '%s\n' "$file"
        return 0
      fi
    done
  done
  return 1
}

has_tool() {
  local name
  for name in $1; do
    if command -v "$name" >/dev/null; then return 0; fi
  done
  return 1
}

has_package() {
  [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == *" installed" ]]
}

# all_packages: every package, missing or not, one a line.
all_packages() {
  printf '%s\n' "${tools[@]##*:}" "${packages[@]}" "${torch_packages[@]}"
}

extra=()
case ${1:-} in
  "") ;;
  --for)
    case ${2:-} in
      fuzz) extra=("${fuzz_packages[@]}") ;;
      compat) extra=("${compat_packages[@]}") ;;
      tsan) extra=("${tsan_packages[@]}") ;;
      docs) extra=("${docs_packages[@]}") ;;
      deb) extra=("${deb_packages[@]}") ;;
      python) extra=("${python_packages[@]}") ;;
      *)
        say "--for takes fuzz, compat, tsan, docs, deb or python, not '${2:-}'"
        exit 2
        ;;
    esac
    ;;
  --list)
    all_packages
    exit
    ;;
  --torch-dir)
    if own_torch=$(own_torch_config); then
      dirname "$own_torch"
    elif [[ -n ${Torch_DIR:-} ]]; then
      exit 1
    fi
    exit
    ;;
  *)
    say "unknown argument '$1'; there are --list, --for and --torch-dir"
    exit 2
    ;;
esac

if [[ ${STEPSIZE_SKIP_SETUP:-0} == 1 ]]; then exit; fi

# check_cmake: the presets need CMake 3.25, which older systems lack.
check_cmake() {
  local version
  version=$(cmake --version | head -n 1)
  version=${version##* }
  if [[ $(printf '3.25\n%s\n' "$version" | sort -V | head -n 1) != 3.25 ]]; then
    say "CMake 3.25 or newer is needed, and $(command -v cmake) is $version"
    exit 1
  fi
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  cat >&2 <<'END'
setup: this is neither Debian nor Ubuntu, so nothing was installed. Needed are:
  - a C++17 compiler (C++20 for LibTorch 2.14), CMake 3.25 or newer, Ninja,
    Python 3 (its standard library is enough)
  - LibTorch 1.13 or newer, from https://pytorch.org or a pip-installed torch,
    named in CMAKE_PREFIX_PATH
  - GoogleTest, Google Benchmark, CLI11, zlib, JSON for Modern C++;
    protobuf and librsvg for the component tensorboard
  - Fashion-MNIST's four .gz files, in the folder given to the trainer's
    --data-dir (the applications' tests skip where their data are missing)
With these in place, set STEPSIZE_SKIP_SETUP=1 and run the same command again.
END
  exit 1
fi

missing=()
for tool in "${tools[@]}"; do
  if ! has_tool "${tool%%:*}"; then missing+=("${tool##*:}"); fi
done
wanted=("${packages[@]}" ${extra[@]+"${extra[@]}"})
if ! own_torch=$(own_torch_config); then
  # The exit of a subshell: what it said about Torch_DIR stands.
  if [[ -n ${Torch_DIR:-} ]]; then exit 1; fi
  wanted+=("${torch_packages[@]}")
fi
for package in "${wanted[@]}"; do
  if ! has_package "$package"; then missing+=("$package"); fi
done
if ((${#missing[@]} == 0)); then
  check_cmake
  exit
fi

as_root=()
if [[ $(id -u) != 0 ]]; then
  if ! command -v sudo >/dev/null; then
    say "these packages are missing: ${missing[*]}"
    say "run this script as root, or ask an administrator to run:" \
      "apt-get install ${missing[*]}"
    say "or, if you have them from elsewhere, set STEPSIZE_SKIP_SETUP=1"
    exit 1
  fi
  as_root=(sudo)
fi

say "installing ${missing[*]}"
if [[ -n $own_torch ]]; then say "keeping the LibTorch of $own_torch"; fi
readonly apt=(
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=120
)
if ! "${apt[@]}" update; then
  say "apt-get update failed; trying with the package lists at hand"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" \
  >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  say "apt-get install failed; the lines above say why"
  exit 1
fi
check_cmake
say "done"
