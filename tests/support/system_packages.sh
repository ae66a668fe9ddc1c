#!/bin/sh
# Install the programs that the tests run for real, where they are lacking and where that is allowed:
# as root on Debian or Ubuntu. Anywhere else, end with the one line that does it.
set -eu

lacking=""
need() { # PACKAGE COMMAND...: the package, unless one of the commands is there
    package=$1
    shift
    for command in "$@"; do
        if command -v "$command" >/dev/null 2>&1; then return; fi
    done
    lacking="$lacking $package"
}
need chromium chromium
need chromium-driver chromedriver
need redis-server redis-server
need postgresql /usr/lib/postgresql/*/bin/postgres
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || lacking="$lacking python3-venv"

if [ -z "$lacking" ]; then exit; fi
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ]; then
        echo "Installing$lacking" >&2
        apt-get update -qq
        # shellcheck disable=SC2086 # a word a package
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $lacking >/dev/null
        exit
    fi
    echo "The tests need programs that are not here; run: sudo apt-get install$lacking" >&2
else
    echo "The tests need programs that are not here; install what Debian calls$lacking" >&2
fi
exit 1
