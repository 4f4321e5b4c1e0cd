#!/usr/bin/env bash
# Load test, side by side: Postroad and Postfix as plain relays to the same sink, fed by the same generator.
#
#   test/bench/run.sh                 20,000 messages with new connections, 40,000 with kept ones
#   MESSAGES=100000 test/bench/run.sh
#   ONLY=postroad test/bench/run.sh   (or ONLY=postfix)
#   PROFILE=DIR test/bench/run.sh     keeps a CPU profile of each Postroad run in DIR
#
# Needs smtp-source and smtp-sink, which come with Postfix; where Postfix itself cannot be run (it wants root) only
# Postroad is measured. Both keep their queue on the same disk and sync it: neither gives up durability, and Postroad's
# record is on. Everything listens on loopback, lives in a temporary folder and is stopped by its pid.
set -euo pipefail
cd "$(dirname "$0")/../.."

messages=${MESSAGES:-20000}
kept=$((2 * messages)) # kept connections go faster: measure for about as long
sessions=${SESSIONS:-40}
size=${SIZE:-4096}
only=${ONLY:-}
postroad=${POSTROAD:-bin/postroad}
# The ports of relay.toml and relay-platform.toml. Other ones are for machines where these are taken.
smtp_port=${SMTP_PORT:-2587} sink_port=${SINK_PORT:-2626} http_port=${HTTP_PORT:-2080} postfix_port=${POSTFIX_PORT:-2525}
# How long one run may take before it counts as failed, in seconds.
patience=600

for tool in smtp-source smtp-sink; do
  command -v "$tool" >/dev/null || { echo "bench: $tool is missing; it comes with Postfix (apt-get install postfix)" >&2; exit 1; }
done
[ -x "$postroad" ] || { echo "bench: $postroad is missing; run make build" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/postroad-bench.XXXXXX")
pids=()
config=""
cleanup() {
  if [ -n "$config" ]; then postfix -c "$config" stop >/dev/null 2>&1 || true; fi
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

now() { date +%s.%N; }
calc() { awk "BEGIN { printf \"%.${2:-0}f\", $1 }"; }
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
await_port() {
  for _ in $(seq 200); do listening "$1" && return; sleep 0.05; done
  echo "bench: nobody listens on port $1" >&2
  exit 1
}
for port in "$smtp_port" "$sink_port" "$http_port" "$postfix_port"; do
  if listening "$port"; then echo "bench: port $port is in use" >&2; exit 1; fi
done

# The sink counts into a file: "sess=… quit=… mesg=N", each with a carriage return. As root it wants another user.
drop=()
if [ "$(id -u)" = 0 ]; then drop=(-u nobody); fi
sink() {
  smtp-sink "${drop[@]}" -c "127.0.0.1:$sink_port" 1000 >"$tmp/sink" 2>&1 &
  sink_pid=$!
  pids+=("$sink_pid")
  await_port "$sink_port"
}
unsink() {
  kill "$sink_pid" 2>/dev/null || true
  wait "$sink_pid" 2>/dev/null || true
}
# How many messages it has taken: the last number that is whole.
taken() { tail -c 200 "$tmp/sink" | tr '\r' '\n' | sed -n 's/.*mesg=\([0-9][0-9]*\)$/\1/p' | tail -n 1; }

# load NAME PORT MESSAGES [-d]: sends, waits until the sink has them all, sets accepted and relayed (messages a second).
load() {
  local name=$1 port=$2 n=$3 begin sent last have deadline
  shift 3
  sink
  begin=$(now)
  smtp-source "$@" -s "$sessions" -l "$size" -m "$n" -f sender@bench.example -t recipient@bench.test "127.0.0.1:$port"
  sent=$(now)
  deadline=$((SECONDS + patience))
  while have=$(taken); [ "${have:-0}" -lt "$n" ]; do
    if [ $SECONDS -gt $deadline ]; then
      echo "bench: $name: the sink has only ${have:-0} of $n messages after $patience s" >&2
      exit 1
    fi
    sleep 0.02
  done
  last=$(now)
  if [ "$have" -ne "$n" ]; then echo "bench: $name: the sink has $have messages, $n were sent" >&2; exit 1; fi
  accepted=$(calc "$n / ($sent - $begin)")
  relayed=$(calc "$n / ($last - $begin)")
  unsink
}

start_postroad() {
  local serve=test/bench/relay.toml platform=test/bench/relay-platform.toml
  if [ "$smtp_port $sink_port $http_port" != "2587 2626 2080" ]; then
    sed "s/2587/$smtp_port/" $serve >"$tmp/relay.toml"
    printf '\n[http]\nlisten = ["127.0.0.1:%s"]\n' "$http_port" >>"$tmp/relay.toml"
    sed "s/2626/$sink_port/" $platform >"$tmp/relay-platform.toml"
    serve=$tmp/relay.toml platform=$tmp/relay-platform.toml
  fi
  "$postroad" serve --config "$serve" --data "$tmp/data" 2>"$tmp/postroad.log" &
  postroad_pid=$!
  pids+=("$postroad_pid")
  for _ in $(seq 200); do
    if [ -S "$tmp/data/admin.sock" ] && listening "$smtp_port"; then break; fi
    kill -0 "$postroad_pid" 2>/dev/null || { cat "$tmp/postroad.log" >&2; exit 1; }
    sleep 0.05
  done
  "$postroad" apply -f "$platform" --data "$tmp/data" >/dev/null
}

# metric NAME{LABELS}: a figure of the running platform.
metric() { curl -s --unix-socket "$tmp/data/admin.sock" http://admin/metrics | awk -v m="$1" '$1 == m { printf "%.0f\n", $2 }'; }

# recorded N: waits until the queue is empty and the record holds everything. A relay that were fast because it records
# nothing, or late, would show here.
recorded() {
  local n=$1 begin deadline=$((SECONDS + patience))
  begin=$(now)
  while [ "$(metric 'postroad_deliveries_total{result="relayed"}')" != "$n" ] || [ "$(metric postroad_record_lag_events)" != 0 ]; do
    if [ $SECONDS -gt $deadline ]; then
      echo "bench: the record is not complete after $patience s: $(metric 'postroad_deliveries_total{result="relayed"}') of $n relayed, $(metric postroad_record_lag_events) events to be recorded" >&2
      exit 1
    fi
    sleep 0.05
  done
  record_lag=$(calc "$(now) - $begin" 1)
}

# ticks PID: processor time used so far, in ticks of 10 ms.
ticks() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

# postfix_ticks: the same of a Postfix, its ended processes included.
postfix_ticks() {
  local master
  master=$(tr -d ' ' <"$tmp/queue/pid/master.pid")
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v m="$master" '
    { pid = $1; sub(/^.*\) /, "") }
    pid == m { sum += $12 + $13 + $14 + $15 }
    $2 == m { sum += $12 + $13 }
    END { print sum + 0 }'
}

# profiled NAME COMMAND…: runs it, with a CPU profile of Postroad where one is wanted.
profiled() {
  local name=$1
  shift
  if [ -n "${PROFILE:-}" ]; then
    mkdir -p "$PROFILE"
    curl -s --unix-socket "$tmp/data/admin.sock" "http://admin/debug/pprof/profile?seconds=${PROFILE_SECONDS:-4}" -o "$PROFILE/$name.pprof" &
    local profiler=$!
  fi
  "$@"
  if [ -n "${PROFILE:-}" ]; then wait "$profiler"; fi
}

bench_postroad() {
  start_postroad
  local cpu
  # A few messages first: what is made once (connections, caches, tables) is no part of the figure.
  load warm-up "$smtp_port" 500
  recorded 500
  cpu=$(ticks "$postroad_pid")
  profiled new load postroad "$smtp_port" "$messages"
  recorded $((500 + messages))
  cpu=$(($(ticks "$postroad_pid") - cpu))
  postroad_new=$relayed
  row postroad "new per message" "$messages" "$(calc "$cpu * 10000 / $messages") us CPU a message, record complete ${record_lag} s later"
  cpu=$(ticks "$postroad_pid")
  profiled kept load postroad "$smtp_port" "$kept" -d
  recorded $((500 + messages + kept))
  cpu=$(($(ticks "$postroad_pid") - cpu))
  postroad_kept=$relayed
  row postroad "kept (-d)" "$kept" "$(calc "$cpu * 10000 / $kept") us CPU a message, record complete ${record_lag} s later"
  rss=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$postroad_pid/status")
  kill -TERM "$postroad_pid"
  wait "$postroad_pid" || { cat "$tmp/postroad.log" >&2; echo "bench: postroad did not stop cleanly" >&2; exit 1; }
}

# A Postfix of its own: queue, data and configuration in the temporary folder; the system's Postfix is not touched. It
# is tuned as one would tune a relay of this load: many processes, no client limits, no delays by choice, no DNS,
# connections to the next hop kept. Durability is as it comes.
start_postfix() {
  config=$tmp/postfix
  mkdir -p "$config" "$tmp/queue" "$tmp/state"
  chmod 755 "$tmp"
  chown postfix "$tmp/state"
  cat >"$config/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $tmp/queue
data_directory = $tmp/state
myhostname = postfix.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$sink_port
alias_maps =
alias_database =
local_transport = error:no local mail
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
initial_destination_concurrency = 50
default_destination_concurrency_limit = 50
smtp_connection_cache_destinations = static:all
qmgr_message_active_limit = 40000
in_flow_delay = 0
maillog_file =
CF
  # The packaged services, with the listener moved and no chroot.
  sed -E "s/^smtp( +inet .*)/127.0.0.1:$postfix_port\1/; s/^([a-z0-9.:-]+ +(inet|unix|unix-dgram|fifo) +[yn-] +[yn-] +)[yn-]/\1n/" /etc/postfix/master.cf >"$config/master.cf"
  cp /etc/postfix/dynamicmaps.cf "$config/" 2>/dev/null || true
  postfix -c "$config" start >"$tmp/postfix.log" 2>&1 || { cat "$tmp/postfix.log" >&2; exit 1; }
  await_port "$postfix_port"
}

bench_postfix() {
  start_postfix
  # It is slower: fewer messages measure it as well.
  local cpu n=$((messages / 4))
  load warm-up "$postfix_port" 200
  cpu=$(postfix_ticks)
  load postfix "$postfix_port" $n
  cpu=$(($(postfix_ticks) - cpu))
  postfix_new=$relayed
  row postfix "new per message" $n "$(calc "$cpu * 10000 / $n") us CPU a message"
  cpu=$(postfix_ticks)
  load postfix "$postfix_port" $n -d
  cpu=$(($(postfix_ticks) - cpu))
  postfix_kept=$relayed
  row postfix "kept (-d)" $n "$(calc "$cpu * 10000 / $n") us CPU a message"
  postfix -c "$config" stop >/dev/null 2>&1 || true
  config=""
}

row() { printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$accepted" "$relayed" "$4"; }

printf 'commit %s, %s, %s cores, %s, load before %s\n' "$(git describe --tags --always --dirty 2>/dev/null || echo unknown)" \
  "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$(nproc)" "$(uname -sr)" "$(cut -d' ' -f1 /proc/loadavg)"
printf '%s octets a message, %s connections at a time, %s on %s\n\n' "$size" "$sessions" "$tmp" "$(stat -f -c %T "$tmp")"
if awk '{ exit !($1 > 1) }' /proc/loadavg; then
  # Not only slower but unfair: Postfix works in many processes and gets a larger share of a crowded machine.
  printf 'The machine is busy with something else: only the processor time a message takes can be trusted.\n\n'
fi
echo '| system | connections | messages | accepted/s | relayed/s (end to end) | |'
echo '|---|---|---|---|---|---|'
postroad_new="" postroad_kept="" postfix_new="" postfix_kept="" rss=""
if [ "$only" != postfix ]; then bench_postroad; fi
if [ "$only" != postroad ]; then
  if [ "$(id -u)" = 0 ] && command -v postfix >/dev/null; then bench_postfix; else echo "Postfix is not measured: it has to be installed, and started by root."; fi
fi
echo
if [ -n "$rss" ]; then echo "Postroad's memory at its peak: $rss MiB"; fi
if [ -n "$postroad_new" ] && [ -n "$postfix_new" ]; then
  printf 'Postroad against Postfix: %s times with a new connection per message (goal 4), %s times with kept ones (goal 6)\n' \
    "$(calc "$postroad_new / $postfix_new" 1)" "$(calc "$postroad_kept / $postfix_kept" 1)"
fi
