#!/usr/bin/env bash
# operated.sh PROGRAM ROOT STATE TOPIC SETTINGS...: runs the service with all that an operator may turn on, and changes its config
# every five seconds.
set -euo pipefail
program=$1 root=$2 state=$3 topic=$4
shift 4
rm -rf "$state" && mkdir -p "$state"
"$program" ctl token ops --role admin --tokens "$state/tokens.toml" > "$state/token"
at="127.0.0.1:$((20000 + RANDOM % 10000))"
(
    n=0
    while sleep 5 && kill -0 $$ 2> /dev/null; do
        n=$((n + 1))
        "$program" ctl --at "http://$at" --token-file "$state/token" set "flow.batch_events=$((512 + n % 2))" > /dev/null
    done
) &
exec "$program" serve "$root/benches/measure/examples/serve_throughput/serve.toml" "$@" \
    --set "control.dir=$state/control" --set "control.http.listen=$at" --set "control.http.tokens=$state/tokens.toml" \
    --set "http.tokens=$state/tokens.toml" --set "provenance.dir=$state/provenance" \
    --set 'tenants.all={events_per_s=1e9,bytes_per_s=1e12}' --set "routes=[{tenant=\"all\",topic=\"$topic\",models={main=1}}]"
