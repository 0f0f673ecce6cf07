#!/bin/sh
# Set the ids of the account, give it its home, and write the first files.
set -eu
home=${HERMES_HOME:-/opt/data}
[ -z "${HERMES_UID:-${PUID-}}" ] || usermod -o -u "${HERMES_UID:-$PUID}" hermes
[ -z "${HERMES_GID:-${PGID-}}" ] || groupmod -o -g "${HERMES_GID:-$PGID}" hermes
chown hermes:hermes "$home"
for name in .env gateway.lock gateway.pid gateway_state.json; do
    [ ! -f "$home/$name" ] || [ -L "$home/$name" ] || chown hermes:hermes "$home/$name"
done
# shellcheck disable=SC2016 # expanded by the inner shell
s6-setuidgid hermes sh -euc '
    cd "$1"
    mkdir -p logs sessions skills
    [ -e .env ] || (umask 077; echo "API_SERVER_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d " \n")" >.env)
    [ -e config.yaml ] || echo "{}" >config.yaml
    [ -e SOUL.md ] || echo "You are Hermes." >SOUL.md' sh "$home"
