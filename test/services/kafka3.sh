#!/usr/bin/env bash
# One of three Kafka brokers (replication factor 3, min.insync.replicas 2): kafka3.sh FOLDER NODE PORT1 CONTROLLER1 PORT2 …
# NODE from 1 to 3; start all three, two are enough to serve. Without arguments: all three, in a folder of their own.
# Ready: {"broker":"127.0.0.1:PORT","pid":PID of the broker}; of all three: {"brokers":[…]}.
source "$(dirname "$0")/kafka-broker.sh"
install_kafka
if [ $# -eq 0 ]; then
  all=$(mktemp -d)
  ports=()
  for _ in 1 2 3 4 5 6; do ports+=("$(free_port)"); done
  scripts=()
  for node in 1 2 3; do
    "$0" "$all" $node "${ports[@]}" </dev/null >"$all/$node.ready" &
    scripts+=($!)
  done
  trap 'kill -TERM "${scripts[@]}" 2>/dev/null' TERM INT
  if [ -p /dev/stdin ] || [ -S /dev/stdin ]; then
    exec 8<&0
    { cat <&8; kill -TERM $$; } >/dev/null 2>&1 &
    watcher=$!
  fi
  for node in 1 2 3; do
    until grep -q '^ready' "$all/$node.ready"; do
      kill -0 "${scripts[$((node - 1))]}" 2>/dev/null || { kill -TERM "${scripts[@]}" 2>/dev/null; wait; rm -rf "$all"; exit 1; }
      sleep 0.1
    done
  done
  echo "ready {\"brokers\":[\"127.0.0.1:${ports[0]}\",\"127.0.0.1:${ports[2]}\",\"127.0.0.1:${ports[4]}\"]}"
  for script in "${scripts[@]}"; do
    while kill -0 "$script" 2>/dev/null; do wait "$script"; done
  done
  [ -z "${watcher:-}" ] || pkill -P $watcher 2>/dev/null
  rm -rf "$all"
  exit 0
fi
node=$2 folder=$1/node$2
shift 2
mkdir -p "$folder"
args=("$@")
port=${args[$((2 * (node - 1)))]} controller=${args[$((2 * node - 1))]}
{
  common_properties
  cat <<PROPERTIES
node.id=$node
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.quorum.voters=1@127.0.0.1:${args[1]},2@127.0.0.1:${args[3]},3@127.0.0.1:${args[5]}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/log
default.replication.factor=3
min.insync.replicas=2
transaction.state.log.min.isr=2
PROPERTIES
} >"$folder/server.properties"
run_broker "{\"broker\":\"127.0.0.1:$port\"}"
