# shellcheck shell=sh
# A login shell starts from the system's PATH and would not find the client.
PATH=/opt/hermes/bin:/opt/hermes/.venv/bin:$PATH:/command
export PATH
