# Sourced by kafka.sh, kafka3.sh and kafka-tls.sh: installs Kafka from Maven, runs one broker, tells when it is ready.
kafka_version=4.3.1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kafka_home=$root/.services/kafka-$kafka_version
java_options=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1)

unavailable() {
  echo "$1" >&2
  exit 69
}

# Two test files may come here at once: one installs, the other waits. The folder has its name only when it is whole.
install_kafka() {
  command -v java >/dev/null || unavailable 'Kafka needs java, which is not installed'
  [ -d "$kafka_home" ] && return
  [ "${SERVICES_INSTALL:-}" = no ] && unavailable "Kafka $kafka_version is not installed"
  command -v mvn >/dev/null || unavailable 'Kafka is installed with mvn, which is not installed'
  mkdir -p "$root/.services"
  exec 9>"$root/.services/kafka.lock"
  flock 9
  if [ ! -d "$kafka_home" ]; then
    local fresh
    fresh=$(mktemp -d "$root/.services/kafka.XXXXXX")
    cat >"$fresh/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>daybook</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
  </dependencies>
</project>
POM
    (cd "$fresh" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs) >&2 ||
      { rm -rf "$fresh"; unavailable "Maven could not fetch Kafka $kafka_version"; }
    mv "$fresh" "$kafka_home"
  fi
  exec 9>&-
}

free_ports() {
  PATH="$root/node_modules/.bin:$PATH" node -e '
    const servers = Array.from({ length: +process.argv[1] }, () => require("node:net").createServer().listen(0, "127.0.0.1"));
    setImmediate(() => { console.log(...servers.map((one) => one.address().port)); for (const one of servers) one.close(); });
  ' "$1"
}

# Settings that every broker of the tests has. Few threads and partitions: it shares a small machine.
common_properties() {
  cat <<PROPERTIES
process.roles=broker,controller
controller.listener.names=CONTROLLER
num.partitions=6
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=2
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

# run_broker FOLDER FACTS FORMAT_OPTION…: formats the folder at the first start, runs the broker of
# FOLDER/server.properties, prints `ready FACTS` with its pid. Ends with it, on SIGTERM, and when stdin closes.
run_broker() {
  local folder=$1 facts=$2
  shift 2
  cat >"$folder/log4j2.xml" <<'XML'
<Configuration status="WARN"><Appenders><Console name="c"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root><Logger name="kafka.server.KafkaRaftServer" level="INFO"/></Loggers></Configuration>
XML
  java_options+=("-Dlog4j2.configurationFile=file:$folder/log4j2.xml")
  [ -f "$folder/log/meta.properties" ] ||
    java "${java_options[@]}" -Xmx128m -cp "$kafka_home/libs/*" kafka.tools.StorageTool format \
      -t MkU3OEVBNTcwNTJENDM2Qk -c "$folder/server.properties" "$@" >"$folder/format.log" 2>&1 ||
    { cat "$folder/format.log" >&2; exit 1; }
  : >"$folder/broker.log"
  java "${java_options[@]}" -Xms96m -Xmx384m -cp "$kafka_home/libs/*" kafka.Kafka "$folder/server.properties" \
    >"$folder/broker.log" 2>&1 </dev/null &
  broker=$!
  trap 'kill -TERM $broker 2>/dev/null' TERM INT
  if [ -p /dev/stdin ] || [ -S /dev/stdin ]; then
    exec 8<&0
    { cat <&8 >/dev/null; kill -TERM $broker 2>/dev/null; } >/dev/null 2>&1 &
    watcher=$!
  fi
  until grep -q 'Kafka Server started' "$folder/broker.log"; do
    kill -0 $broker 2>/dev/null || { tail -n 30 "$folder/broker.log" >&2; exit 1; }
    sleep 0.1
  done
  echo "ready ${facts%\}},\"pid\":$broker}"
  # A trapped signal ends the first wait before the broker has ended.
  while kill -0 $broker 2>/dev/null; do wait $broker; done
  [ -z "${watcher:-}" ] || pkill -P $watcher 2>/dev/null
  [ "${temporary:-}" = '' ] || rm -rf "$temporary"
}
