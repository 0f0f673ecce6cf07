#!/command/with-contenv /bin/sh
# shellcheck shell=sh
# Run the container's command as the runtime account, and end with its exit code.
# Without a command, run the hermes client. If the first word is an executable, run
# that. Otherwise pass all words to the client.
# Hermes Agent and hermes-reconcile-all find the container's command in /proc by the
# name of this file.

set -e

# Change to the account first, so that nothing below runs as root.
if [ "$(/usr/bin/id -u)" = 0 ]; then
    exec /command/s6-setuidgid "${HERMES_USER:-hermes}" /bin/sh "$0" "$@"
fi

HERMES_HOME=${HERMES_HOME:-/opt/data}
# HERMES_HOME may be the directory of a named profile.
HOME=$(/usr/local/bin/hermes-home)
# The account can write to this directory, which has aliases of profiles. So it comes
# last.
PATH=$PATH:$HOME/.local/bin
export HERMES_HOME HOME PATH
unset USER LOGNAME

# Keep the working directory if the user asked for another one than the image's.
[ "$PWD" != /opt/hermes ] || cd "$HOME"

# The client's interface is for people.
if [ $# -eq 0 ] && [ "$(readlink /proc/self/fd/0)" = /dev/null ]; then
    echo "hermes-s6: fatal: no command, and no terminal for the client: give a command, such as 'gateway run', or a terminal, with -it" >&2
    exit 100
fi

# Two commands of the client are also programs: of Debian, and of the package mcp.
case ${1-} in
    '' | login | mcp) ;;
    *) ! which "$1" >/dev/null 2>&1 || exec "$@" ;;
esac
exec hermes "$@"
