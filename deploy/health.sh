#!/usr/bin/env bash
# Asks the service in this container whether it is live or ready, with what the image has: `burnrec-health ready`. Exits 0
# where the answer is 200; else says what was answered. The port is that of BURNREC__HTTP__LISTEN, or 8080; the token that
# of BURNREC__HTTP__TOKEN, or BURNREC_TOKEN. It speaks no TLS.
set -euo pipefail

what=${1:?live or ready}
listen=${BURNREC__HTTP__LISTEN:-127.0.0.1:8080}
token=${BURNREC__HTTP__TOKEN:-${BURNREC_TOKEN:-}}

exec 3<> "/dev/tcp/127.0.0.1/${listen##*:}"
printf 'GET /health/%s HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n' \
    "$what" "${token:+Authorization: Bearer $token$'\r\n'}" >&3
answer=$(timeout 5 cat <&3)
if [[ $answer != 'HTTP/1.1 200 '* ]]; then
    printf '%s\n' "${answer##*$'\r\n'}" >&2
    exit 1
fi
