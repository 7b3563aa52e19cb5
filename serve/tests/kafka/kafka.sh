#!/usr/bin/env bash
# Real Kafka brokers (KRaft) for the tests, on ports of their own; any number of clusters run beside each other.
#
#   kafka.sh jars                                  get the jars (once, with Maven) and print their folder
#   kafka.sh start DIR [--brokers 1|3] [--secure]  start a cluster in DIR and print its bootstrap list
#   kafka.sh kill  DIR N...                        end brokers at once (SIGKILL)
#   kafka.sh halt  DIR N...                        end brokers cleanly, one after the other, and wait for it
#   kafka.sh up    DIR N...                        start brokers again, on their ports and data, and wait until ready
#   kafka.sh stop  DIR                             end the whole cluster and give its ports back; DIR stays
#
# DIR/bootstrap has the bootstrap list (plain text, no password), DIR/N/log what broker N said, DIR/N/pid its process.
# Of three brokers two must run for anything to work: where more are down, bring them back with one "up".
#
# --secure adds listeners with certificates of DIR/secure/ca.pem; DIR/secure/env has their lists, a line each:
# SASL_SSL (PLAIN and SCRAM-SHA-512, user burnrec, password kafka-secret), SSL (no user), EXPIRED (SSL; its
# certificate has expired).
#
# BURNREC_KAFKA_JAVA adds options of Java; for a measurement give "-XX:TieredStopAtLevel=4", which compiles fully.
# Needs Linux, Java 17 or later, Maven to get the jars, openssl for --secure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/burnrec/kafka
# Ports below those that the kernel hands to clients, so that nothing takes the port of a broker that is down.
first_port=20000 ports_each=16 slots=750

say() { printf '%s\n' "$*" >&2; }
fail() { say "kafka.sh: $*"; exit 1; }
need() { command -v "$1" > /dev/null || fail "$1 is missing: install $2"; }

get_jars() {
    local home
    home=$cache/$(sha256sum < "$here/pom.xml" | cut -c1-16)
    need java "a Java 17 runtime or later (Debian: openjdk-17-jre-headless)"
    if [ ! -d "$home/libs" ]; then
        need mvn "Maven, which gets Kafka's jars (Debian: maven)"
        mkdir -p "$home"
        exec 9> "$home/lock"
        flock 9
        if [ ! -d "$home/libs" ]; then
            say "getting the jars of Kafka into $home/libs"
            rm -rf "$home/partial"
            mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/partial" >&2 ||
                fail "Maven could not get the jars of $here/pom.xml"
            mv "$home/partial" "$home/libs"
        fi
        exec 9>&-
    fi
    libs=$home/libs
}

# A slot is a run of ports; a link to the cluster's folder says that it is taken, for as long as the folder is there.
take_slot() {
    mkdir -p "$cache/slots"
    exec 9> "$cache/slots.lock"
    flock 9
    local try slot port free
    for try in {1..100}; do
        slot=$((RANDOM % slots))
        [ ! -e "$cache/slots/$slot" ] || continue
        base=$((first_port + slot * ports_each)) free=1
        for ((port = base; port < base + ports_each; port++)); do
            if (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then free=; fi
        done
        [ "$free" ] || continue
        ln -sfnT "$dir" "$cache/slots/$slot"
        exec 9>&-
        return
    done
    fail "no free ports found in $try tries; clusters that were not stopped are listed in $cache/slots"
}

give_slot_back() {
    local link
    for link in "$cache"/slots/*; do
        if [ "$(readlink "$link")" = "$dir" ]; then rm -f "$link"; fi
    done
}

# Broker N has the ports from base + 5 (N - 1): PLAINTEXT, CONTROLLER, SASL_SSL, SSL, EXPIRED.
list() {
    local n all=''
    for ((n = 0; n < brokers; n++)); do all+=,127.0.0.1:$((base + 5 * n + $1)); done
    printf '%s\n' "${all#,}"
}

write_settings() {
    local n=$1 port=$((base + 5 * ($1 - 1))) voters="" replicas=$brokers min=1 session_ms=2000 i
    if ((brokers == 3)); then min=2 session_ms=4000; fi
    for ((i = 1; i <= brokers; i++)); do voters+=,$i@127.0.0.1:$((base + 5 * (i - 1) + 1)); done
    local listeners=PLAINTEXT://127.0.0.1:$port
    if [ "$secure" ]; then
        listeners+=,SASL_SSL://127.0.0.1:$((port + 2)),SSL://127.0.0.1:$((port + 3)),EXPIRED://127.0.0.1:$((port + 4))
    fi
    cat << END
node.id=$n
process.roles=broker,controller
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=$listeners,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=$listeners
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,EXPIRED:SSL
log.dirs=$dir/$n/data

auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$min
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$min
transaction.state.log.num.partitions=4
message.max.bytes=16777216
replica.fetch.max.bytes=16777216

# What dies is noticed within seconds, and what is small stays small. The first is also how long "up" after "kill"
# waits at least: until then the controller holds the dead broker for alive.
broker.session.timeout.ms=$session_ms
broker.heartbeat.interval.ms=250
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
# Members that start together get their partitions together; 3 s by default.
group.initial.rebalance.delay.ms=100
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
num.io.threads=4
END
    if [ "$secure" ]; then
        cat << END

sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_burnrec="kafka-secret";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.password=kafka-secret
ssl.keystore.location=$dir/secure/broker.p12
listener.name.expired.ssl.keystore.type=PKCS12
listener.name.expired.ssl.keystore.password=kafka-secret
listener.name.expired.ssl.keystore.location=$dir/secure/expired.p12
END
    fi
}

write_logging() {
    cat << 'END'
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
logger.settings.name=org.apache.kafka.common.config.AbstractConfig
logger.settings.level=WARN
END
}

# A CA, and two certificates of it for a broker here: one good for ten years, one that ended yesterday.
write_certificates() {
    need openssl "openssl"
    local at=$dir/secure name days
    mkdir "$at"
    {
        openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 3650 -subj "/CN=burnrec test CA" \
            -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$at/ca.key" -out "$at/ca.pem"
        for name in broker expired; do
            if [ "$name" = broker ]; then days=3650; else days=-1; fi
            openssl req -newkey rsa:2048 -nodes -sha256 -subj "/CN=localhost" -keyout "$at/$name.key" -out "$at/$name.csr"
            openssl x509 -req -sha256 -days "$days" -in "$at/$name.csr" -CA "$at/ca.pem" -CAkey "$at/ca.key" \
                -CAcreateserial -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$at/$name.pem"
            openssl pkcs12 -export -inkey "$at/$name.key" -in "$at/$name.pem" -certfile "$at/ca.pem" -name "$name" \
                -passout pass:kafka-secret -out "$at/$name.p12"
        done
    } > "$at/log" 2>&1
    printf '%s\n' "SASL_SSL=$(list 2)" "SSL=$(list 3)" "EXPIRED=$(list 4)" > "$at/env"
}

# Kafka's programs run with the memory and the logging of this cluster. The quick compiler halves the start.
set_java() {
    local heap=512m
    if [ -e "$dir/3" ]; then heap=384m; fi
    # shellcheck disable=SC2206 # several options in one variable
    java=(java "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 ${BURNREC_KAFKA_JAVA:-}
        "-Dlog4j2.configurationFile=$dir/log4j2.properties" -cp "$libs/*")
}

format() {
    local user=()
    if [ "$secure" ]; then user=(-S 'SCRAM-SHA-512=[name="burnrec",password="kafka-secret"]'); fi
    "${java[@]}" kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/$1/server.properties" "${user[@]}" \
        >> "$dir/$1/log" 2>&1
}

# Starts brokers, each in a session of its own, and waits until each has said that it started.
launch() {
    local n end=$((SECONDS + 60)) from=()
    for n in "$@"; do
        from[n]=$(wc -c < "$dir/$n/log")
        setsid "${java[@]}" kafka.Kafka "$dir/$n/server.properties" < /dev/null >> "$dir/$n/log" 2>&1 &
        started+=($!)
        echo $! > "$dir/$n/pid"
    done
    for n in "$@"; do
        until grep -q 'Kafka Server started' < <(tail -c "+$((from[n] + 1))" "$dir/$n/log"); do
            kill -0 "$(cat "$dir/$n/pid")" 2> /dev/null || not_ready "$n" "ended before it was ready"
            ((SECONDS < end)) || not_ready "$n" "is not ready after 60 s"
            sleep 0.1
        done
    done
}

not_ready() {
    tail -n 40 "$dir/$1/log" >&2
    fail "broker $1 $2; its log, with the end above: $dir/$1/log"
}

# Alive: the process of the pid file runs and is this broker; its number may be another process's by now.
alive() {
    local pid
    pid=$(cat "$dir/$1/pid" 2> /dev/null) || return 1
    grep -qszxF "$dir/$1/server.properties" "/proc/$pid/cmdline"
}

signal() {
    if alive "$2"; then kill "-$1" "$(cat "$dir/$2/pid")" 2> /dev/null || true; fi
}

# gone SECONDS N...: waits until none of these brokers runs.
gone() {
    local n end=$((SECONDS + $1))
    for n in "${@:2}"; do
        while alive "$n"; do
            ((SECONDS < end)) || return 1
            sleep 0.05
        done
    done
}

start() {
    brokers=1 secure='' started=()
    while (($#)); do
        case $1 in
            --brokers)
                (($# > 1)) || usage
                brokers=$2
                shift
                ;;
            --secure) secure=yes ;;
            *) usage ;;
        esac
        shift
    done
    [[ $brokers = [13] ]] || usage
    get_jars
    [ ! -e "$dir/1" ] || fail "$dir has a cluster already; take another folder, or stop it and remove the folder"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd -P)
    take_slot
    trap undo EXIT

    local n all=() formats=()
    for ((n = 1; n <= brokers; n++)); do all+=("$n"); done
    mkdir "${all[@]/#/$dir/}"
    cluster_id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | sed 's/^./K/; s/=*$//')
    write_logging > "$dir/log4j2.properties"
    if [ "$secure" ]; then write_certificates; fi
    set_java
    for n in "${all[@]}"; do
        write_settings "$n" > "$dir/$n/server.properties"
        format "$n" &
        formats[n]=$!
    done
    for n in "${all[@]}"; do wait "${formats[n]}" || not_ready "$n" "could not format its storage"; done
    launch "${all[@]}"

    trap - EXIT
    list 0 | tee "$dir/bootstrap"
}

undo() {
    say "kafka.sh: not started; what was said is in $dir"
    if ((${#started[@]})); then kill -9 "${started[@]}" 2> /dev/null || true; fi
    give_slot_back
}

stop() {
    local n all=()
    for n in 1 2 3; do if [ -e "$dir/$n" ]; then all+=("$n"); fi; done
    for n in "${all[@]}"; do signal TERM "$n"; done
    # The last of three waits for a quorum that is no more, for longer than is worth it.
    if ! gone 4 "${all[@]}"; then
        for n in "${all[@]}"; do signal KILL "$n"; done
        gone 10 "${all[@]}" || fail "a broker of $dir does not end"
    fi
    give_slot_back
}

usage() {
    sed -n '/^#   kafka/s/^#  //p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

command=${1:-} dir=${2:-}
case $command in
    jars)
        get_jars
        printf '%s\n' "$libs"
        exit
        ;;
    start | kill | halt | up | stop) [ "$dir" ] || usage ;;
    *) usage ;;
esac
shift 2
if [ "$command" = start ]; then
    start "$@"
    exit
fi

[ -e "$dir/log4j2.properties" ] || fail "$dir has no cluster"
dir=$(cd "$dir" && pwd -P)
if [ "$command" = stop ]; then
    stop
    exit
fi

(($#)) || usage
for n in "$@"; do
    [ -e "$dir/$n/server.properties" ] || fail "$dir has no broker $n"
    if [ "$command" = up ]; then
        if alive "$n"; then fail "broker $n runs already"; fi
    else
        alive "$n" || fail "broker $n does not run"
    fi
done
case $command in
    kill)
        for n in "$@"; do signal KILL "$n"; done
        gone 10 "$@" || fail "broker $* does not end"
        ;;
    halt)
        for n in "$@"; do
            signal TERM "$n"
            gone 60 "$n" || fail "broker $n has not ended after 60 s"
        done
        ;;
    up)
        started=()
        get_jars
        set_java
        launch "$@"
        ;;
esac
