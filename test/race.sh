#!/usr/bin/env bash
# Tests under the race detector: test/race.sh [arguments of go test] packages. Each package is told as it ends; the tests
# that failed, and why, come again at the end.
#
# Left uninstrumented are SQLite itself (C made Go by a machine, with locks of its own; its driver is looked at) and
# checksums: races there are not ours to find, and looking for them takes more than half of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
flags=()
for p in modernc.org/sqlite/lib modernc.org/libc hash/crc32 github.com/cockroachdb/pebble/v2/internal/{bitflip,crc}; do
  flags+=("-gcflags=$p=-race=false")
done
exec test/gotest.sh -race -timeout 20m "${flags[@]}" "$@"
