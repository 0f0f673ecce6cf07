#!/command/with-contenv /bin/sh
# shellcheck shell=sh
# The container's command, as the runtime account and with its exit code:
# none is the hermes client, an executable is itself, anything else is for the client.
# Hermes Agent and hermes-reconcile-all find the command in /proc by this file's name.

set -e

# The account comes first, so that nothing below is root's to get wrong.
if [ "$(/usr/bin/id -u)" = 0 ]; then
    exec /command/s6-setuidgid "${HERMES_USER:-hermes}" /bin/sh "$0" "$@"
fi

HERMES_HOME=${HERMES_HOME:-/opt/data}
HOME=$HERMES_HOME
# Aliases of profiles live in a directory that the account writes, so it stands last.
PATH=$PATH:$HOME/.local/bin
export HERMES_HOME HOME PATH
unset USER LOGNAME

# Another working directory than the image's own was asked for, and is kept.
[ "$PWD" != /opt/hermes ] || cd "$HERMES_HOME"

if [ $# -gt 0 ] && which "$1" >/dev/null 2>&1; then
    exec "$@"
fi
exec hermes "$@"
