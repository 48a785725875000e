#!/usr/bin/env bash
# kinesis-local, a Kinesis server in memory (any credentials, any region).
# usage: kinesis.sh install | installed | DATADIR [PORT]. Ready line: {"pid":…,"endpoint":"http://…"}
source "$(dirname "$0")/common.sh"
version=0.6.2
folder=$services/kinesis/$version
package=$folder/node_modules/kinesis-local

install() { npm install --prefix "$folder" --no-audit --no-fund "kinesis-local@$version"; }

case ${1:?install, installed or a data directory} in
  install) install_once kinesis "$package/main.js" install ;;
  installed) [ -e "$package/main.js" ] ;;
  *)
    mkdir -p "$1"
    directory=$(cd "$1" && pwd)
    port=${2:-$(free_port)}
    export KINESIS_MOCK_CERT_PATH=$package/server.json KINESIS_MOCK_PLAIN_PORT=$port KINESIS_MOCK_TLS_PORT=$(free_port)
    export LOG_LEVEL=ERROR SHOULD_PERSIST_DATA=false
    export CREATE_STREAM_DURATION=20ms DELETE_STREAM_DURATION=20ms UPDATE_SHARD_COUNT_DURATION=20ms
    export SPLIT_SHARD_DURATION=20ms MERGE_SHARDS_DURATION=20ms
    cd "$directory"
    serve "{\"pid\":PID,\"endpoint\":\"http://127.0.0.1:$port\"}" "(exec 3<>/dev/tcp/127.0.0.1/$port)" \
      node "$package/main.js"
    ;;
esac
