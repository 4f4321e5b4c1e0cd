#!/usr/bin/env bash
# Interoperability: Postroad against mail software from Debian. `make interop` builds bin/postroad and runs this.
#
# Needs root and Debian: the peers come from there. What does not get in Postfix's way is installed with apt; Debian's
# mail servers exclude each other as packages, so Exim and OpenSMTPD are downloaded and unpacked into a cache folder,
# and the users they insist on are made as their packages would. Nothing is started by the installation. The tests start
# every peer with a configuration and a queue of its own, on loopback, and end it by its pid.
#
# Elsewhere it says so and does nothing: without error for a person, as an error in CI (CI is set), because a CI that
# silently proves nothing is worse than one that fails.
#
#   test/interop/run.sh [go test arguments]     such as -v -run TestInterop/relays
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null; then
  echo "interop needs root on Debian"
  if [ -n "${CI:-}" ]; then exit 1; fi
  exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/postroad-interop
installed=(postfix swaks libnet-ssleay-perl msmtp nsd dovecot-core dovecot-imapd dovecot-lmtpd dovecot-sieve python3-dkim python3-nacl)
unpacked=(exim4-daemon-light exim4-base opensmtpd libevent-2.1-7)

missing=()
for p in "${installed[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q ' installed$' || missing+=("$p")
done
need_update=yes
update() {
  if [ -n "$need_update" ]; then apt-get -o Acquire::Retries=3 update -qq; fi
  need_update=""
}
if [ ${#missing[@]} -gt 0 ]; then
  echo "interop: installing ${missing[*]}"
  update
  # Debian starts services it installs, unless this file says no. One that is there already belongs to somebody else.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
for p in "${unpacked[@]}"; do
  if [ ! -e "$cache/$p.done" ]; then
    echo "interop: unpacking $p into $cache"
    update
    mkdir -p "$cache/deb" "$cache/root"
    # apt-get leaves its privileges for the download, and may not write into root's folders then.
    (cd "$cache/deb" && rm -f "$p"_*.deb && apt-get -o Acquire::Retries=3 -o APT::Sandbox::User=root download -qq "$p" >/dev/null && dpkg-deb -x "$p"_*.deb "$cache/root")
    touch "$cache/$p.done"
  fi
done
for u in Debian-exim opensmtpd opensmtpq; do
  if ! getent passwd "$u" >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$u"
  fi
done
# OpenSMTPD's folders cannot be moved by configuration.
mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd
chmod 711 /var/lib/opensmtpd/empty /var/spool/smtpd

export POSTROAD=${POSTROAD:-$PWD/bin/postroad}
export POSTROAD_INTEROP_CACHE=$cache
[ -x "$POSTROAD" ] || { echo "interop: $POSTROAD is missing; run make build" >&2; exit 1; }
printf 'interop: Postfix %s, Exim and OpenSMTPD from %s\n' "$(postconf -d -h mail_version)" "$cache"
test/gotest.sh -tags interop -count=1 -timeout 20m "$@" ./test/interop
