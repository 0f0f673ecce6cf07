# shellcheck shell=sh
# A login shell resets PATH to the system's. Add the directory of the client again.
PATH=/opt/hermes/bin:/opt/hermes/.venv/bin:$PATH:/command
export PATH
