# Sourced by the service scripts: installs what they run, and runs it as service.ts tells.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH="$root/node_modules/.bin:$PATH"

unavailable() {
  echo "$1" >&2
  exit 69
}

# install NAME FILE COMMAND…: runs COMMAND unless FILE is there. Two test files may come here at once: one installs.
install() {
  local name=$1 file=$2
  shift 2
  [ -e "$file" ] && return
  [ "${SERVICES_INSTALL:-}" = no ] && unavailable "$name is not installed"
  command -v "$1" >/dev/null || unavailable "$name is installed with $1, which is not installed"
  mkdir -p "$root/.services"
  exec 9>"$root/.services/$name.lock"
  flock 9
  [ -e "$file" ] || "$@" >&2 || unavailable "$1 could not fetch $name"
  exec 9>&-
}

# Sets $go. A Go before 1.21, such as Debian 12's, does not fetch the newer one that is asked for: that is a module like others.
modern_go() {
  local toolchain
  go=go
  if [ -z "$(go env GOTOOLCHAIN)" ]; then
    toolchain=$(go mod download -json "golang.org/toolchain@v0.0.1-go1.25.3.$(go env GOOS)-$(go env GOARCH)" |
      sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    # Modules are stored without the bit.
    chmod +x "$toolchain"/bin/* "$toolchain"/pkg/tool/*/*
    go=$toolchain/bin/go
  fi
}

free_port() {
  (cd "$root" && node --input-type=module -e \
    'import { freePorts } from "./test/services/service.ts"; console.log((await freePorts(1))[0])')
}

# serve FACTS CHECK COMMAND…: runs COMMAND in the folder $folder, prints `ready FACTS` with its pid as soon as CHECK
# succeeds. Ends with it, on SIGTERM, and when stdin closes; the folder goes where it is the script's own. A server that
# does not follow SIGTERM (or $stop_signal) is killed: a Kafka broker waits for minutes for other brokers that have gone
# before it.
serve() {
  local facts=$1 check=$2 server watcher=
  shift 2
  "$@" >"$folder/server.log" 2>&1 </dev/null &
  server=$!
  trap '{ kill -${stop_signal:-TERM} $server; sleep 5; kill -KILL $server; } >/dev/null 2>&1 &' TERM INT
  if [ -p /dev/stdin ] || [ -S /dev/stdin ]; then
    exec 8<&0
    { cat <&8; kill -TERM $$; } >/dev/null 2>&1 &
    watcher=$!
  fi
  until eval "$check" >/dev/null 2>&1; do
    kill -0 $server 2>/dev/null || { tail -n 30 "$folder/server.log" >&2; exit 1; }
    sleep 0.05
  done
  echo "ready ${facts%\}},\"pid\":$server}"
  # A trapped signal ends the first wait before the server has ended.
  while kill -0 $server 2>/dev/null; do wait $server; done
  [ -z "$watcher" ] || pkill -P $watcher 2>/dev/null
  [ -z "${temporary:-}" ] || rm -rf "$temporary"
}
