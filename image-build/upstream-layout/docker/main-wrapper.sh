#!/bin/sh
# Run the container's command as the account: an executable as it is, all else by hermes.
set -e
if [ -z "${HERMES_HOME-}" ]; then
    exec /command/with-contenv sh "$0" "$@"
fi
HOME=/opt/data
export HOME
cd "$HOME"
# shellcheck source=/dev/null
. /opt/hermes/.venv/bin/activate
if [ $# -eq 0 ] || ! command -v "$1" >/dev/null; then set -- hermes "$@"; fi
[ "$(id -u)" != 0 ] || set -- s6-setuidgid hermes "$@"
exec "$@"
