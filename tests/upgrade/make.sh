#!/usr/bin/env bash
# `make.sh COMMIT FILE`: the data directory that the argosyd of a commit leaves behind, by its own doing, as a tar archive.
# Run it by hand, as root, from a checkout that has the commit; in a network namespace and directories of its own.
set -euo pipefail
commit=$1 file=$(realpath "$2") top=$(git rev-parse --show-toplevel)
# Where it is opened, too: a container knows the paths of its volumes.
place=/tmp/argosy-upgrade
mkdir -m 700 "$place"
name=$(basename "$place")
daemon=

finish() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    ip netns delete "$name" 2>/dev/null || true
    git -C "$top" worktree remove --force "$place/source" 2>/dev/null || true
    rm -rf --one-file-system "$place"
}
trap finish EXIT

git -C "$top" worktree add --quiet --detach "$place/source" "$commit"
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet --quiet "$place/source"
ip netns add "$name"
nsenter --net="/run/netns/$name" ip link set lo up
options=("--data-dir=$place/data" "--run-dir=$place/run" "--cgroup-parent=/$name")
argosy() { "$place/env/bin/argosy" -H "unix://$place/run/argosy.sock" "$@"; }

nsenter --net="/run/netns/$name" "$place/env/bin/argosyd" "${options[@]}" >"$place/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do if argosy version >/dev/null 2>&1; then break; fi; sleep 0.1; done

(cd "$top" && "$top/.venv/bin/python" -c '
import sys
from tests.harness.daemon import busybox_tar
sys.stdout.buffer.write(busybox_tar())') | argosy import - base
printf 'FROM base\nRUN echo made >/made && chown 7:8 /made && rm /etc/group\nENV GREETING=hello\n' | argosy build -q -t built -
argosy network create --subnet 10.77.0.0/24 net
argosy volume create --label purpose=notes vol
argosy run -d --name always --restart always -v vol:/data -p 8080:80 --network net --ip 10.77.0.9 built \
    sh -c 'echo started >>/data/log; echo own >>/own; exec sleep 100000'
argosy run -d --name plain --memory 64m base sleep 100000
argosy run --name off built sh -c 'echo kept >/kept; rm /made; echo $GREETING; exit 7' || true
argosy create --name created base echo created
argosy commit off committed
argosy cluster init --advertise-addr 127.0.0.1
argosy service create -q --name many --replicas 2 base sleep 100000
until [ "$(argosy service ls --format '{{.Replicas}}')" = 2/2 ]; do sleep 0.2; done

# As a power cut would: nothing is ended in order. The daemon first, so that it restarts nothing.
kill -KILL "$daemon"
wait "$daemon" || true
daemon=
"$top/.venv/bin/python" -m argosyd purge --keep-data "${options[@]}"
tar --create --numeric-owner --xattrs --xattrs-include='*' --sort=name --directory="$place" data | xz -9e >"$file"
