# What the service scripts share; see service.ts for what each of them promises. Sourced, not run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
services=$root/.services
mkdir -p "$services"

# A port of 127.0.0.1 that is free now.
free_port() {
  node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

# install_once NAME FILE COMMAND…: runs COMMAND unless FILE is there; of several at once, one does it.
install_once() {
  local name=$1 file=$2
  shift 2
  (
    flock 9
    [ -e "$file" ] || "$@"
  ) 9>"$services/$name.lock" >&2
}

# serve READY_JSON CHECK COMMAND…: runs COMMAND, prints the ready line as soon as CHECK (a shell command) succeeds, and
# stays until COMMAND ends, TERM comes, or stdin ends. The server's pid takes the place of PID in READY_JSON.
serve() {
  local ready=$1 check=$2 pid watcher=
  shift 2
  # Bash gives a background command /dev/null as its stdin unless told otherwise.
  exec 8<&0
  "$@" 8<&- >&2 &
  pid=$!
  trap 'kill -TERM "$pid" 2>/dev/null' TERM INT
  if [ "${STOP_WITH_STDIN:-}" = 1 ]; then
    { cat <&8 >/dev/null; kill -TERM "$pid" 2>/dev/null; } >/dev/null 2>&1 &
    watcher=$!
  fi
  for _ in $(seq 1 "${READY_TRIES:-600}"); do
    if eval "$check" >/dev/null 2>&1; then
      echo "ready ${ready//PID/$pid}"
      break
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  # A trapped signal ends a wait before the server has ended.
  local code=0
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" && code=0 || code=$?; done
  [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
  return "$code"
}
