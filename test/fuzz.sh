#!/usr/bin/env bash
# Runs every fuzz target of the project for a while: test/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
n=0
while IFS=: read -r file _ line; do
  name=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/' <<<"$line")
  dir=$(dirname "$file")
  echo "== $dir $name"
  go test "./$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$time"
  n=$((n + 1))
done < <(grep -rnE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' internal cmd test | sort)
echo "$n fuzz targets, $time each: no failure"
