#!/usr/bin/env bash
# What scripts/docs.sh does to the folder that it writes to, with a program in
# the place of Doxygen that writes one page.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() {
  echo "docs.sh: $*" >&2
  failures=$((failures + 1))
}

mkdir "$work/bin"
cat >"$work/bin/doxygen" <<'END'
#!/usr/bin/env bash
mkdir -p "$STEPSIZE_DOCS/html"
printf '<html><body>%s</body></html>\n' "$PAGE" >"$STEPSIZE_DOCS/html/index.html"
exit "$STATUS"
END
chmod +x "$work/bin/doxygen"
run() {
  PATH=$work/bin:$PATH PAGE=$1 STATUS=$2 scripts/docs.sh "$work/site" \
    >"$work/log" 2>&1
}

# What others have made is kept.
mkdir -p "$work/site/html" "$work/site/source"
touch "$work/site/html/theirs" "$work/site/source/theirs"
if run first 0; then fail "another's html was taken"; fi
if ! grep -q "site/html is not of this script" "$work/log"; then
  fail "no reason: $(<"$work/log")"
fi
if [[ ! -e $work/site/html/theirs ]]; then fail "another's html is gone"; fi
rm -r "$work/site/html"

if ! run first 0; then fail "no first page: $(<"$work/log")"; fi
if ! run second 0; then fail "no second page: $(<"$work/log")"; fi
if run third 1; then fail "a failure of Doxygen's was passed over"; fi
if ! grep -q second "$work/site/html/index.html"; then
  fail "the last good page is not there"
fi
if [[ ! -e $work/site/source/theirs ]]; then fail "a folder is gone"; fi
if [[ $(ls -A "$work/site") != $'html\nsource' ]]; then
  fail "something is left over: $(ls -A "$work/site")"
fi

if ((failures > 0)); then
  echo "$failures failures" >&2
  exit 1
fi
echo "docs.sh: passed"
