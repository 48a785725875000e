# Sourced by kafka.sh, kafka3.sh and kafka-tls.sh: installs Kafka from Maven, runs one broker.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
kafka_version=4.3.1
kafka_home=$root/.services/kafka-$kafka_version
java_options=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1)

# The folder has its name only when it is whole.
fetch_kafka() {
  command -v mvn >/dev/null || unavailable 'Kafka is installed with mvn, which is not installed'
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
  if (cd "$fresh" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs); then
    mv "$fresh" "$kafka_home"
  else
    rm -rf "$fresh"
    return 1
  fi
}

install_kafka() {
  command -v java >/dev/null || unavailable 'Kafka needs java, which is not installed'
  install "kafka-$kafka_version" "$kafka_home" fetch_kafka
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

# run_broker FACTS FORMAT_OPTION…: formats $folder at the first start and serves the broker of its server.properties.
run_broker() {
  local facts=$1
  shift
  cat >"$folder/log4j2.xml" <<'XML'
<Configuration status="WARN"><Appenders><Console name="c"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="c"/></Root><Logger name="kafka.server.KafkaRaftServer" level="INFO"/></Loggers></Configuration>
XML
  java_options+=("-Dlog4j2.configurationFile=file:$folder/log4j2.xml")
  [ -f "$folder/log/meta.properties" ] ||
    java "${java_options[@]}" -Xmx128m -cp "$kafka_home/libs/*" kafka.tools.StorageTool format \
      -t MkU3OEVBNTcwNTJENDM2Qk -c "$folder/server.properties" "$@" >"$folder/format.log" 2>&1 ||
    { cat "$folder/format.log" >&2; exit 1; }
  : >"$folder/server.log"
  serve "$facts" "grep -q 'Kafka Server started' '$folder/server.log'" \
    java "${java_options[@]}" -Xms96m -Xmx384m -cp "$kafka_home/libs/*" kafka.Kafka "$folder/server.properties"
}
