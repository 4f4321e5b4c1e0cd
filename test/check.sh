#!/usr/bin/env bash
# Formatting, vet, staticcheck, the architecture test, and that generated files are as their source makes them.
set -uo pipefail
cd "$(dirname "$0")/.."
fail=0
say() { printf '%-14s %s\n' "$1" "$2"; }

mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.go')
out=$(go tool -modfile=tools/go.mod gofumpt -l "${files[@]}")
if [ -n "$out" ]; then say format "run gofumpt -w on:"; echo "$out"; fail=1; else say format ok; fi

if go vet ./...; then say vet ok; else say vet failed; fail=1; fi

if go tool -modfile=tools/go.mod staticcheck ./...; then say staticcheck ok; else say staticcheck failed; fail=1; fi

if go test -count=1 ./internal/archtest; then say archtest ok; else say archtest failed; fail=1; fi

if out=$(bash test/generate.sh --check 2>&1); then say generated ok; else say generated "$out"; fail=1; fi

if bad=$(grep -rlE 'T''ODO|F''IXME' --include='*.go' --include='*.sh' cmd internal test); then say leftovers "unfinished work marked in: $bad"; fail=1; else say leftovers ok; fi

# It asks the network for what only the tests of dependencies need; a network that fails is not an untidy module.
for try in 1 2 3; do
  out=$(go mod tidy -diff 2>&1) && { say modules ok; break; }
  case $out in *"--- current/"*) say modules "not tidy: run go mod tidy"; echo "$out"; fail=1; break ;; esac
  if [ $try = 3 ]; then say modules "go mod tidy failed: $out"; fail=1; else sleep 5; fi
done
exit $fail
