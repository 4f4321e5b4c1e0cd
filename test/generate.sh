#!/usr/bin/env bash
# Writes generated files anew: test/generate.sh. With --check it only says which are not as their source makes them.
#   docs/openapi.json   the contract of the HTTP API, from internal/api
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  "") go test -count=1 ./internal/api -run '^TestContractFile$' -update ;;
  --check) go test -count=1 ./internal/api -run '^TestContractFile$' ;;
  *) echo "usage: test/generate.sh [--check]" >&2; exit 2 ;;
esac
