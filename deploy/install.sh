#!/usr/bin/env bash
# Installs argosy on this machine: `deploy/install.sh`; takes it away again: `deploy/install.sh --uninstall`
# (data in /var/lib/argosy stays; add --purge to delete that too).
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=/opt/argosy
bin=/usr/local/bin
unit=/etc/systemd/system/argosyd.service
completions="/usr/share/bash-completion/completions/argosy /usr/share/zsh/vendor-completions/_argosy /usr/share/fish/vendor_completions.d/argosy.fish"

[ "$(id -u)" -eq 0 ] || { echo "install.sh must run as root" >&2; exit 1; }
has_systemd() { [ -d /run/systemd/system ]; }

uninstall() {
    if has_systemd && [ -e "$unit" ]; then systemctl disable --now argosyd >/dev/null 2>&1 || true; fi
    rm -f "$unit" "$bin/argosy" "$bin/argosyd" $completions
    rm -rf "$prefix" /usr/local/share/doc/argosy
    if has_systemd; then systemctl daemon-reload; fi
    if [ "${1:-}" = --purge ]; then rm -rf /var/lib/argosy; groupdel argosy 2>/dev/null || true; fi
    echo "argosy is uninstalled$([ "${1:-}" = --purge ] && echo '' || echo '; its data is still in /var/lib/argosy')"
}

case "${1:-}" in
    --uninstall) uninstall "${2:-}"; exit 0 ;;
    '') ;;
    *) echo "usage: deploy/install.sh [--uninstall [--purge]]" >&2; exit 2 ;;
esac

echo "installing system packages"
needed=$(mktemp)
trap 'rm -f "$needed"' EXIT
# The list's first part is what argosyd needs; the rest is for tests.
sed '/^# … and/,$d' deploy/packages.txt >"$needed"
echo python3-venv >>"$needed"
bash deploy/packages.sh "$needed"

echo "installing argosy into $prefix"
python3 -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --quiet --disable-pip-version-check .
# The launcher says why.
sed -i '1{/ -S$/!s/$/ -S/}' "$prefix/bin/argosy"
# Byte code is made now, so that the first command is as fast as the second.
"$prefix/bin/python" -m compileall -q "$prefix/lib" >/dev/null || true
ln -sf "$prefix/bin/argosy" "$bin/argosy"
ln -sf "$prefix/bin/argosyd" "$bin/argosyd"
install -D -m 644 README.md /usr/local/share/doc/argosy/README.md
getent group argosy >/dev/null || groupadd --system argosy

for shell in bash zsh fish; do
    case "$shell" in
        bash) file=/usr/share/bash-completion/completions/argosy ;;
        zsh) file=/usr/share/zsh/vendor-completions/_argosy ;;
        fish) file=/usr/share/fish/vendor_completions.d/argosy.fish ;;
    esac
    if [ -d "$(dirname "$file")" ]; then "$bin/argosy" completion "$shell" >"$file" 2>/dev/null || rm -f "$file"; fi
done

"$bin/argosyd" check
if has_systemd; then
    install -m 644 deploy/argosyd.service "$unit"
    systemctl daemon-reload
    systemctl enable --now argosyd
    echo "argosyd runs; try: argosy run --rm docker.io/library/alpine echo hi"
else
    echo "systemd is not running here; start the daemon with: argosyd &"
    echo "then try: argosy run --rm docker.io/library/alpine echo hi"
fi
