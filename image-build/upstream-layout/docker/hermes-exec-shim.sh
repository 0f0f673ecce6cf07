#!/bin/sh
# Run the client as the account, also for root.
client=/opt/hermes/.venv/bin/hermes
[ "$(id -u)" = 0 ] || exec "$client" "$@"
[ "${HERMES_DOCKER_EXEC_AS_ROOT:-0}" != 1 ] || exec "$client" "$@"
HOME=${HERMES_HOME:-/opt/data} exec /command/s6-setuidgid hermes "$client" "$@"
