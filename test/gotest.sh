#!/usr/bin/env bash
# go test with a line per package and what failed again at the end: test/gotest.sh [flags of go test] packages.
#
# With RERUN set, as in CI, a test that fails is run once more, and those that passed only then are listed at the end, to
# be mended: on a machine that is shared, a moment without a core is no fault of the change. More than three failures, a
# panic and a data race are never run again.
set -euo pipefail
cd "$(dirname "$0")/.."
gotestsum=(go tool -modfile=tools/go.mod gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary=skipped)
if [ -z "${RERUN:-}" ]; then
  exec "${gotestsum[@]}" -- "$@"
fi

flags=() packages=()
for arg; do
  case $arg in
  ./*) packages+=("$arg") ;;
  *) flags+=("$arg") ;;
  esac
done
again=$(mktemp)
trap 'rm -f "$again"' EXIT
"${gotestsum[@]}" --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-abort-on-data-race --rerun-fails-report="$again" \
  --packages="${packages[*]}" -- "${flags[@]}"
if [ -s "$again" ]; then
  echo "passed only when run once more; mend:"
  cat "$again"
fi
