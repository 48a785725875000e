#!/usr/bin/env bash
# litewitness, a witness of C2SP logs over SQLite: witness.sh ORIGIN LOGKEY, the log that it knows and the key of that.
# Ready: {"url":"http://127.0.0.1:PORT","publicKey":"<its SSH public key, base64>","pid":…}
source "$(dirname "$0")/common.sh"
version=0.10.0
witness=$root/.services/litewitness-$version/litewitness

build_witness() {
  local toolchain
  command -v go >/dev/null || unavailable "litewitness-$version is installed with go, which is not installed"
  # It needs a newer Go than machines have: a module like others.
  toolchain=$(go mod download -json "golang.org/toolchain@v0.0.1-go1.27.3.$(go env GOOS)-$(go env GOARCH)" |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  # Modules are stored without the bit.
  chmod +x "$toolchain"/bin/* "$toolchain"/pkg/tool/*/* 2>/dev/null
  GOTOOLCHAIN=local GOBIN=$(dirname "$witness") "$toolchain/bin/go" install "filippo.io/torchwood/cmd/litewitness@v$version"
}
install "litewitness-$version" "$witness" build_witness
command -v ssh-agent >/dev/null || unavailable 'a witness needs ssh-agent, which is not installed'
port=$(free_port) temporary=$(mktemp -d) folder=$temporary
cd "$folder" || exit 1
ssh-keygen -q -t ed25519 -N '' -f key
# Its own tool to add logs is a module that depends on others by replacement, which go install refuses.
ORIGIN=$1 LOGKEY=$2 node --disable-warning=ExperimentalWarning -e '
  const { DatabaseSync } = require("node:sqlite");
  const base = new DatabaseSync("witness.db");
  base.exec("CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL)");
  base.exec("CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin))");
  const empty = require("node:crypto").createHash("sha256").digest("base64");
  base.prepare("INSERT INTO log VALUES (?, 0, ?)").run(process.env.ORIGIN, empty);
  base.prepare("INSERT INTO key VALUES (?, ?)").run(process.env.ORIGIN, process.env.LOGKEY);
  base.close();'
# The agent ends with the witness.
cat >run <<'RUN'
ssh-agent -D -a "$PWD/agent" >/dev/null &
agent=$!
trap 'kill -TERM $agent $server' TERM
until [ -S agent ]; do sleep 0.05; done
SSH_AUTH_SOCK=$PWD/agent ssh-add -q key
"$1" -db witness.db -name witness.test -ssh-agent "$PWD/agent" -listen "127.0.0.1:$2" -key "$(ssh-keygen -lf key.pub | awk '{print $2}')" &
server=$!
wait $server
kill $agent
RUN
serve "{\"url\":\"http://127.0.0.1:$port\",\"publicKey\":\"$(awk '{print $2}' key.pub)\"}" "curl -sS http://127.0.0.1:$port/" \
  bash run "$witness" "$port"
