#!/usr/bin/env bash
# The full-size proofs, one after the other; their figures go to docs/proof.md, between the marks of this script, with
# the machine, the commit and each command. `make proof` builds bin/postroad and runs this; it takes a quarter of an
# hour. A proof that fails is written down as failed, and fails the script at its end.
#
#   CRASH_ROUNDS=5 test/proof.sh      fewer rounds of killing
#   PROOF_MD=/dev/stdout test/proof.sh   print instead of writing docs/proof.md
set -euo pipefail
cd "$(dirname "$0")/.."

postroad=${POSTROAD:-$PWD/bin/postroad}
rounds=${CRASH_ROUNDS:-50}
out=${PROOF_MD:-docs/proof.md}
begin='<!-- figures: written by test/proof.sh -->'
end='<!-- end of figures -->'
[ -x "$postroad" ] || { echo "proof: $postroad is missing; run make build" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/postroad-proofs.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
figures=$tmp/figures
failed=0

{
  printf '%s\n\n' "$begin"
  # shellcheck disable=SC2016 # the backquotes are Markdown's
  printf 'Commit `%s`, %s; %s, %s cores, %s; load before the first proof: %s.\n\n' \
    "$(git describe --tags --always --dirty 2>/dev/null || echo unknown)" "$(date -u +%Y-%m-%d)" \
    "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$(nproc)" "$(uname -sr)" "$(cut -d' ' -f1 /proc/loadavg)"
} >"$figures"

# proof TITLE FILTER COMMAND…: runs the command, and writes down what the filter (an awk program) finds in its output.
proof() {
  local title=$1 filter=$2 log status=ok
  shift 2
  log=$tmp/log
  echo "== $title"
  if ! "$@" >"$log" 2>&1; then
    status=FAILED
    failed=1
    tail -n 30 "$log" >&2
  fi
  {
    printf '### %s: %s\n\n' "$title" "$status"
    # Without the folder this happens to lie in.
    printf '    %s\n\n' "$(sed "s|$PWD/||g; s|^tests \\(.*\\) \\(.*\\)|POSTROAD_PROOF=1 go test -v \\1 -run '\\2'|" <<<"$*")"
    awk "$filter" "$log" | sed -E 's/^[[:space:]]*//; s/^[a-z_]+_test\.go:[0-9]+: //; /^$/d; s/^/- /'
    echo
  } | tee -a "$figures"
}

# tests PACKAGE PATTERN: the long form of Go tests, with what they log.
# shellcheck disable=SC2317 # proof calls it
tests() { env POSTROAD_PROOF=1 go test -count=1 -v -timeout 30m "$1" -run "$2"; }

proof 'Spool: a page behind a million settled deliveries' '/schedule_test|^(--- |FAIL)/' tests ./internal/spool TestPageFromCursor
proof 'Spool: memory of 100,000 deferred deliveries' '/bench_test|^(--- |FAIL)/' tests ./internal/spool TestIdleMemory
proof 'Record: ten million events over 30 days' '/record_test|^(--- |FAIL)/' tests ./internal/projector TestFullRecord
proof "Crash: $rounds rounds under load" '/kills,/ { sub(/^crash: /, ""); gsub(/; /, "\n"); print }' go run ./test/crash -rounds "$rounds" -postroad "$postroad"
proof 'Start and rest with 100,000 deferred deliveries over 10,000 domains' '/deferred deliveries/' go run ./test/proof -postroad "$postroad"
if command -v smtp-source >/dev/null; then
  proof 'Speed, side by side' '/^\|/ { next } { print }' env "POSTROAD=$postroad" test/bench/run.sh
  # The table itself, which a list would spoil.
  { grep '^|' "$tmp/log" || true; echo; } >>"$figures"
fi
# shellcheck disable=SC2016 # an awk program
# The longest one: 20 scripts, and the power fails before every single write of each.
proof 'Spool: every crash point, damage, order' '/ writes, / { n += $2; s++ } /^(--- |FAIL)/ && !/SKIP/ { print } END { print n " crash points in " s " scripts" }' tests ./internal/spool 'Crash|FailedWrite|Damage|Salvage|SyncOrder'
printf '%s\n' "$end" >>"$figures"

if [ "$out" = /dev/stdout ] || [ ! -e "$out" ]; then
  cat "$figures" >>"$out"
else
  # What stands between the marks is replaced; without marks the figures go to the end.
  awk -v begin="$begin" -v end="$end" -v file="$figures" '
    function insert(  line) { while ((getline line < file) > 0) print line; done = 1 }
    index($0, begin) { insert(); skip = 1 }
    !skip { print }
    index($0, end) { skip = 0 }
    END { if (!done) { print ""; insert() } }' "$out" >"$tmp/new"
  cp "$tmp/new" "$out"
fi
exit $failed
