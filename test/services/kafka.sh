#!/usr/bin/env bash
# One Kafka broker without encryption: kafka.sh [FOLDER PORT CONTROLLER_PORT]; without arguments a folder of its own.
# Ready: {"broker":"127.0.0.1:PORT","pid":PID of the broker}. ADVERTISED_PORT: what clients are told (a proxy in front).
source "$(dirname "$0")/kafka-broker.sh"
install_kafka
if [ $# -eq 3 ]; then
  folder=$1 port=$2 controller=$3
else
  temporary=$(mktemp -d) folder=$temporary
  port=$(free_port) controller=$(free_port)
fi
mkdir -p "$folder"
{
  common_properties
  cat <<PROPERTIES
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:${ADVERTISED_PORT:-$port}
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
PROPERTIES
} >"$folder/server.properties"
run_broker "{\"broker\":\"127.0.0.1:${ADVERTISED_PORT:-$port}\"}" --standalone
