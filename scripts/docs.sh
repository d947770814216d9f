#!/usr/bin/env bash
# Writes the API reference with the pages of docs/ as HTML; open html/index.html
# in a browser. Any warning of Doxygen's and any link that leads nowhere fails.
#
#   scripts/docs.sh              to build/docs/html
#   scripts/docs.sh FOLDER       to FOLDER/html
#
# What was there stays until the new one is complete, and an html that another
# program made, or you, is refused.
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
html=$folder/html
# In what this script has made.
readonly mark=.made-by-docs.sh
if [[ -e $html || -L $html ]] && [[ ! -f $html/$mark ]]; then
  echo "docs: $html is not of this script, name another folder or remove it" >&2
  exit 2
fi

if ! command -v doxygen >/dev/null; then scripts/setup.sh --for docs; fi
if ! command -v doxygen >/dev/null; then
  echo "docs: there is no doxygen"
  exit 77
fi

STEPSIZE_VERSION=$(sed -n 's/^ *VERSION \([0-9.]*\)$/\1/p' CMakeLists.txt)
mkdir -p "$folder"
work=$(mktemp -d "$folder/.docs.XXXXXX")
trap 'rm -rf "$work"' EXIT
STEPSIZE_DOCS=$work
export STEPSIZE_VERSION STEPSIZE_DOCS
python3 -B scripts/reference.py prepare "$work"
doxygen docs/reference/Doxyfile
python3 -B scripts/reference.py check "$work/html"
touch "$work/html/$mark"
if [[ -e $html ]]; then mv "$html" "$work/old"; fi
mv "$work/html" "$html"
echo "docs: $html/index.html"
