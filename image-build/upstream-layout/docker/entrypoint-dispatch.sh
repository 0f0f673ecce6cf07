#!/bin/sh
# Start s6 if this is process 1.
set -e
[ $$ != 1 ] || exec /init /opt/hermes/docker/main-wrapper.sh "$@"
/opt/hermes/docker/stage2-hook.sh
exec /opt/hermes/docker/main-wrapper.sh "$@"
