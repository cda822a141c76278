#!/usr/bin/env bash
# Installs the packages listed in a file that are not installed yet. `packages.sh FILE [LAST]`: stops after a line LAST.
set -euo pipefail

wanted=()
while read -r name; do
    case "$name" in '' | '#'*) continue ;; esac
    # npm comes with some distributions of Node.js; either will do.
    case "$name" in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;; esac
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || wanted+=("$name")
done <"$1"
[ "${#wanted[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "packages are missing and only root can install them: ${wanted[*]}" >&2
    exit 1
fi

# Packages must not start their services: nothing here uses them as such.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${wanted[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "cannot install: ${wanted[*]}" >&2
    exit 1
fi
rm -f "$log"
