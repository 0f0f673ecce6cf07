# shellcheck shell=sh
# A login shell resets PATH to the system's. Add the directory of the client again, and
# for the account the directory that has the aliases of its profiles.
PATH=/opt/hermes/bin:/opt/hermes/.venv/bin:$PATH:/command
[ "$(id -u)" = 0 ] || PATH=$PATH:$HOME/.local/bin
export PATH
