#!/usr/bin/env bash
# ministack, AWS's KMS alone: keys and signatures by Python's cryptography, in memory. Region us-east-1, any credentials.
# It signs messages of any length, where AWS takes 4,096 bytes. Ready: {"endpoint":"http://127.0.0.1:PORT","pid":…}
source "$(dirname "$0")/common.sh"
version=1.5.33
place=$root/.services/ministack-$version

install_ministack() {
  python3 -m venv "$place" && "$place/bin/pip" --quiet install "ministack==$version" cryptography==50.0.2 && touch "$place/done"
}
command -v python3 >/dev/null || unavailable "ministack-$version is installed with python3, which is not installed"
install "ministack-$version" "$place/done" install_ministack
port=$(free_port) temporary=$(mktemp -d) folder=$temporary
cd "$folder" || exit 1
export BIND_HOST=127.0.0.1 GATEWAY_PORT=$port SERVICES=kms IOT_MTLS_ENABLED=0 TMPDIR=$folder STATE_DIR=$folder/state
serve "{\"endpoint\":\"http://127.0.0.1:$port\"}" "curl -fsS http://127.0.0.1:$port/_ministack/health" "$place/bin/python3" -c "import sys; from ministack.app import main; sys.exit(main())"
