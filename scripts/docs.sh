#!/usr/bin/env bash
# Writes the API reference with the pages of docs/ as HTML; open html/index.html
# in a browser. Any warning of Doxygen's and any link that leads nowhere fails.
#
#   scripts/docs.sh              to build/docs/html
#   scripts/docs.sh FOLDER       to FOLDER/html
#
# Installs Doxygen where it is missing, as scripts/setup.sh does. Exit code 77:
# it is still missing (with STEPSIZE_SKIP_SETUP=1, say).
set -euo pipefail

if (($# > 1)) || [[ ${1:-} == -* ]]; then
  echo "docs: the only argument is the folder to write to" >&2
  exit 2
fi
folder=${1:+$(realpath -m -- "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${folder:-$PWD/build/docs}

if ! command -v doxygen >/dev/null; then scripts/setup.sh --for docs; fi
if ! command -v doxygen >/dev/null; then
  echo "docs: there is no doxygen"
  exit 77
fi

STEPSIZE_VERSION=$(sed -n 's/^ *VERSION \([0-9.]*\)$/\1/p' CMakeLists.txt)
STEPSIZE_DOCS=$folder
export STEPSIZE_VERSION STEPSIZE_DOCS
rm -rf "$folder/source" "$folder/html"
python3 -B scripts/reference.py prepare "$folder"
doxygen docs/reference/Doxyfile
python3 -B scripts/reference.py check "$folder/html"
rm -r "$folder/source"
echo "docs: $folder/html/index.html"
