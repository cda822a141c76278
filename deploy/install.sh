#!/usr/bin/env bash
# Installs argosy on this machine: `deploy/install.sh`; whole, or not at all.
# Takes it away again: `deploy/install.sh --uninstall [--stop] [--purge]`. It refuses while containers run, unless --stop
# says to stop them; data in /var/lib/argosy stays, unless --purge says to delete that too.
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=/opt/argosy
bin=/usr/local/bin
unit=/etc/systemd/system/argosyd.service
slice=/etc/systemd/system/argosy.slice
links=/etc/systemd/network/10-argosy.network
doc=/usr/local/share/doc/argosy
completions=(
    bash:/usr/share/bash-completion/completions/argosy
    zsh:/usr/share/zsh/vendor-completions/_argosy
    fish:/usr/share/fish/vendor_completions.d/argosy.fish
)

say() { printf '==> %s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
has_systemd() { [ -d /run/systemd/system ]; }
running() { pgrep -fc -- 'conmon .*--bundle=/run/argosy/containers/' || true; }

# -- taking it away ---------------------------------------------------------------------------------------------------

uninstall() {
    local stop="$1" purge="$2" count ids
    count=$(running)
    if [ "$count" -gt 0 ]; then
        [ "$stop" = yes ] || fail "$count container(s) run: stop them with \`argosy stop\`, or add --stop; nothing was removed"
        say "stopping $count container(s)"
        ids=$("$bin/argosy" ps -q) || fail "argosyd does not answer, and $count container(s) run: start it, or end them"
        # Word by word: these are ids.
        # shellcheck disable=SC2086
        "$bin/argosy" stop $ids >/dev/null
    fi
    if has_systemd && [ -e "$unit" ]; then
        say "stopping argosyd"
        systemctl disable --now argosyd >/dev/null 2>&1 || true
    elif [ -S /run/argosy/argosy.sock ] && "$bin/argosy" version >/dev/null 2>&1; then
        fail "argosyd runs: end it first; nothing was removed"
    fi
    if [ "$purge" = yes ]; then
        # First: it refuses when something would be lost that is not the engine's.
        "$bin/argosyd" purge || fail "its data could not be deleted; argosy is still installed"
        if getent group argosy >/dev/null; then groupdel argosy; fi
    fi
    say "removing the program"
    if has_systemd; then systemctl stop argosy.slice >/dev/null 2>&1 || true; fi
    rm -f "$unit" "$slice" "$links" "$bin/argosy" "$bin/argosyd" "${completions[@]#*:}"
    rm -rf --one-file-system "$prefix" "$doc"
    if has_systemd; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then say "argosy and its data are gone"; else say "argosy is gone; its data is still in /var/lib/argosy"; fi
}

# -- bringing it --------------------------------------------------------------------------------------------------------

made=()
whole=no
needed=

undo() {
    rm -f "$needed"
    [ "$whole" = no ] || return 0
    rm -rf --one-file-system "$prefix" "${made[@]}"
    if [ -e "$prefix.before" ]; then
        mv "$prefix.before" "$prefix"
        echo "install.sh: it failed; the installation that was here is as before" >&2
    else
        echo "install.sh: it failed; nothing of argosy was installed" >&2
    fi
}

# To be taken back if a later step fails; what was here before is not.
making() { [ -e "$1" ] || made+=("$1"); }

install_completions() {
    local pair file
    for pair in "${completions[@]}"; do
        file="${pair#*:}"
        [ -d "$(dirname "$file")" ] || continue
        making "$file"
        "$bin/argosy" completion "${pair%%:*}" >"$file"
    done
}

install_all() {
    say "1/5 system packages"
    # The list's first part is what argosyd needs; the rest is for tests.
    sed '/^# … and/,$d' deploy/packages.txt >"$needed"
    echo python3-venv >>"$needed"
    bash deploy/packages.sh "$needed"

    say "2/5 argosy, in $prefix"
    # What a former try set aside, when it was cut off, is the installation.
    if [ -e "$prefix.before" ]; then rm -rf --one-file-system "$prefix"; mv "$prefix.before" "$prefix"; fi
    if [ -e "$prefix" ]; then mv "$prefix" "$prefix.before"; fi
    python3 -m venv "$prefix"
    pip=("$prefix/bin/python" -m pip --quiet --quiet --disable-pip-version-check)
    "${pip[@]}" install --require-hashes --requirement deploy/requirements.lock
    "${pip[@]}" install --no-deps .
    # Nothing is ever added to it: what would is half of its files.
    "${pip[@]}" uninstall --yes setuptools pip
    # The launcher says why.
    sed -i '1{/ -S$/!s/$/ -S/}' "$prefix/bin/argosy"
    # Byte code is made now, so that the first command is as fast as the second.
    "$prefix/bin/python" -m compileall -q "$prefix/lib" >/dev/null || true

    say "3/5 what this host offers"
    "$prefix/bin/argosyd" check

    say "4/5 commands, completion, the group argosy"
    for name in argosy argosyd; do
        making "$bin/$name"
        ln -sf "$prefix/bin/$name" "$bin/$name"
    done
    making "$doc"
    install -D -m 644 README.md "$doc/README.md"
    install_completions
    getent group argosy >/dev/null || groupadd --system argosy

    if has_systemd; then
        say "5/5 the service"
        making "$unit"
        making "$slice"
        making "$links"
        install -m 644 deploy/argosyd.service "$unit"
        install -m 644 deploy/argosy.slice "$slice"
        # Links of containers are not for systemd-networkd to configure, whatever its other files match.
        install -D -m 644 deploy/argosy.network "$links"
        systemctl daemon-reload
        systemctl try-reload-or-restart systemd-networkd >/dev/null 2>&1 || true
        systemctl enable --quiet argosyd
        # One that runs goes on with the new program; its containers do not notice.
        systemctl restart argosyd
        say "argosyd runs; try: argosy run --rm docker.io/library/alpine echo hi"
    else
        say "5/5 no systemd runs here: start the daemon with \`argosyd &\`, then try: argosy run --rm docker.io/library/alpine echo hi"
    fi
    whole=yes
    rm -rf --one-file-system "$prefix.before"
}

usage() { echo "usage: deploy/install.sh [--uninstall [--stop] [--purge]]" >&2; exit 2; }

action=install stop=no purge=no
for option in "$@"; do
    case "$option" in
        --uninstall) action=uninstall ;;
        --stop) stop=yes ;;
        --purge) purge=yes ;;
        *) usage ;;
    esac
done
[ "$action" = uninstall ] || [ "$stop$purge" = nono ] || usage
[ "$(id -u)" -eq 0 ] || fail "it must run as root"
if [ "$action" = uninstall ]; then
    uninstall "$stop" "$purge"
else
    needed=$(mktemp)
    trap undo EXIT
    install_all
fi
