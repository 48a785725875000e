#!/usr/bin/env bash
# versitygw, an S3 server over a folder: s3.sh [FOLDER PORT]; without arguments a folder of its own and a free port.
# Path style, region us-east-1, access key `test`, secret key `testsecret`. Ready: {"endpoint":"http://127.0.0.1:PORT","pid":…}
source "$(dirname "$0")/common.sh"
version=1.8.0
gateway=$root/.services/versitygw-$version/versitygw

build_gateway() {
  command -v go >/dev/null || unavailable "versitygw-$version is installed with go, which is not installed"
  modern_go
  GOBIN=$(dirname "$gateway") "$go" install "github.com/versity/versitygw/cmd/versitygw@v$version"
}
install "versitygw-$version" "$gateway" build_gateway
if [ $# -eq 2 ]; then
  folder=$1 port=$2
else
  temporary=$(mktemp -d) folder=$temporary port=$(free_port)
fi
mkdir -p "$folder/data" "$folder/versions" "$folder/iam"
export ROOT_ACCESS_KEY=test ROOT_SECRET_KEY=testsecret
serve "{\"endpoint\":\"http://127.0.0.1:$port\"}" "curl -fsS http://127.0.0.1:$port/health" \
  "$gateway" --port "127.0.0.1:$port" --region us-east-1 --iam-dir "$folder/iam" --health /health --quiet \
  posix --versioning-dir "$folder/versions" "$folder/data"
