#!/usr/bin/env bash
# kinesis-local, a Kinesis server in memory: kinesis.sh [PORT]; without an argument a free one. It takes any credentials
# and any region. Ready: {"endpoint":"http://127.0.0.1:PORT","pid":…}
source "$(dirname "$0")/common.sh"
version=0.6.2
home=$root/.services/kinesis-local-$version
package=$home/node_modules/kinesis-local
install "kinesis-local-$version" "$package/main.js" \
  npm install --prefix "$home" --no-audit --no-fund "kinesis-local@$version"
temporary=$(mktemp -d) folder=$temporary port=${1:-$(free_port)}
export KINESIS_MOCK_CERT_PATH=$package/server.json KINESIS_MOCK_PLAIN_PORT=$port KINESIS_MOCK_TLS_PORT=$(free_port)
export LOG_LEVEL=ERROR SHOULD_PERSIST_DATA=false
export CREATE_STREAM_DURATION=20ms DELETE_STREAM_DURATION=20ms UPDATE_SHARD_COUNT_DURATION=20ms
export SPLIT_SHARD_DURATION=20ms MERGE_SHARDS_DURATION=20ms
cd "$folder" || exit
serve "{\"endpoint\":\"http://127.0.0.1:$port\"}" "(exec 3<>/dev/tcp/127.0.0.1/$port)" node "$package/main.js"
