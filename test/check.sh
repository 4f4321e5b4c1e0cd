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

before=$(cat go.mod go.sum | sha256sum)
cp go.mod go.mod.check && cp go.sum go.sum.check
if go mod tidy >/dev/null 2>&1; then
  if [ "$before" = "$(cat go.mod go.sum | sha256sum)" ]; then say modules ok; else say modules "go.mod or go.sum is not tidy: run go mod tidy"; fail=1; fi
else
  say modules "go mod tidy failed"; fail=1
fi
mv go.mod.check go.mod && mv go.sum.check go.sum
exit $fail
