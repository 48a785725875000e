#!/usr/bin/env bash
# versitygw, an S3 server over a folder: path style, 127.0.0.1, region us-east-1, access key `test`, secret `testsecret`.
# usage: s3.sh install | installed | DATADIR [PORT]. Ready line: {"pid":…,"endpoint":"http://…"}
source "$(dirname "$0")/common.sh"
version=v1.8.0
gateway=$services/s3/$version/versitygw

install() { GOBIN=$(dirname "$gateway") go install "github.com/versity/versitygw/cmd/versitygw@$version"; }

case ${1:?install, installed or a data directory} in
  install) install_once s3 "$gateway" install ;;
  installed) [ -x "$gateway" ] ;;
  *)
    mkdir -p "$1/data" "$1/versions" "$1/iam"
    directory=$(cd "$1" && pwd)
    port=${2:-$(free_port)}
    export ROOT_ACCESS_KEY=test ROOT_SECRET_KEY=testsecret
    serve "{\"pid\":PID,\"endpoint\":\"http://127.0.0.1:$port\"}" "curl -fsS http://127.0.0.1:$port/health" \
      "$gateway" --port "127.0.0.1:$port" --region us-east-1 --iam-dir "$directory/iam" --health /health --quiet \
      posix --versioning-dir "$directory/versions" "$directory/data"
    ;;
esac
