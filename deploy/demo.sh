#!/usr/bin/env bash
# A tour of argosy: a daemon of its own in a network namespace of its own, an image from this machine's busybox, a real
# registry on loopback. Leaves the machine as it found it, also when it is interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "the demo must run as root: namespaces, mounts and cgroups need it" >&2; exit 1; }

base=$(mktemp -d /var/tmp/argosy-demo-XXXXXX)
space="argosy-demo-$$"
registry_pid='' daemon_pid='' lab=''
PATH="$PWD/.venv/bin:$PATH"
export ARGOSY_HOST="unix://$base/run/argosy.sock"

inside() { nsenter --net="/run/netns/$space" "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*"; "$@" 2>&1 | sed 's/^/    /'; }
stop() { [ -z "$1" ] || { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null || true; }; }

clean() {
    # Neither an impatient second ^C nor a closed terminal may stop this half-way.
    trap - EXIT
    trap '' INT TERM HUP PIPE
    set +e
    printf '\nputting everything back\n' 2>/dev/null
    [ ! -e "$lab/lab.json" ] || deploy/lab/lab --state "$lab" down >/dev/null 2>&1
    if [ -n "$daemon_pid" ]; then
        # Containers outlive a daemon that was killed; only a daemon can end them in order.
        argosy version >/dev/null 2>&1 || { stop "$daemon_pid"; start_daemon; }
        mapfile -t ids < <(argosy ps -aq 2>/dev/null)
        [ "${#ids[@]}" -eq 0 ] || argosy rm -f -v "${ids[@]}" >/dev/null 2>&1
    fi
    stop "$daemon_pid"
    stop "$registry_pid"
    ip netns del "$space" 2>/dev/null
    for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do rmdir "$tree/$space" 2>/dev/null; done
    rm -rf "$base"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

start_daemon() {
    # Not through `inside`: the background process must be the daemon itself, to be killed by its pid. In a session of
    # its own, as ^C goes to everything in the terminal's: the daemon has to be there to clean up.
    setsid nsenter --net="/run/netns/$space" argosyd --data-dir "$base/data" --run-dir "$base/run" --cgroup-parent "/$space" --name harbour \
        >>"$base/argosyd.log" 2>&1 &
    daemon_pid=$!
    for _ in $(seq 100); do
        argosy version >/dev/null 2>&1 && return
        kill -0 "$daemon_pid" 2>/dev/null || break
        read -rt 0.1 <> <(:) || true
    done
    echo "argosyd did not start:" >&2
    cat "$base/argosyd.log" >&2
    return 1
}

ip netns add "$space"
ip -n "$space" link set lo up

say "1. What this host offers"
show argosyd check

say "2. A daemon, and a registry on loopback"
start_daemon
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:5000"}\n' "$base" \
    >"$base/registry.yml"
setsid nsenter --net="/run/netns/$space" docker-registry serve "$base/registry.yml" >"$base/registry.log" 2>&1 &
registry_pid=$!
inside curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:5000/v2/ >/dev/null
show argosy version

say "3. An image from this machine's busybox, pushed and pulled"
mkdir -p "$base"/root/{bin,etc,www,tmp}
cp /bin/busybox "$base/root/bin/"
for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "$base/root/bin/$name"; done
echo 'root:x:0:0:root:/:/bin/sh' >"$base/root/etc/passwd"
echo 'Hello from a container.' >"$base/root/www/index.html"
tar -C "$base/root" -c . | argosy import --change 'CMD ["sh"]' - 127.0.0.1:5000/busybox:demo >/dev/null
show argosy push 127.0.0.1:5000/busybox:demo
show argosy rmi 127.0.0.1:5000/busybox:demo
show argosy pull 127.0.0.1:5000/busybox:demo
argosy tag 127.0.0.1:5000/busybox:demo busybox
show argosy images

say "4. A container with a published port"
show argosy run -d --name web -p 8080:80 busybox httpd -f -v -h /www
show inside curl -s --retry 5 --retry-connrefused http://127.0.0.1:8080/
show argosy ps
show argosy logs web
show argosy exec web ps

say "5. The daemon is killed with kill -9; the container does not notice"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
show inside curl -s http://127.0.0.1:8080/
start_daemon
show argosy exec web echo 'still here'

say "6. Exit codes are the container's, or say what went wrong"
for command in "sh -c 'exit 7'" nosuchcommand /etc/passwd; do
    printf '  $ argosy run --rm busybox %s; echo $?\n' "$command"
    code=0
    eval "argosy run --rm busybox $command" >"$base/out" 2>&1 || code=$?
    sed 's/^/    /' "$base/out"
    printf '    %s\n' "$code"
done

say "7. A network where containers find each other by name, and a volume that outlives them"
show argosy network create --subnet 10.88.0.0/24 shop
show argosy volume create stock
show argosy run -d --name db --network shop -v stock:/data busybox sh -c 'echo 42 apples >/data/list; while true; do nc -l -p 5432 </data/list; done'
show argosy run --rm --network shop busybox nslookup db
# A static busybox cannot look names up by itself, so it is asked for the address first.
show argosy run --rm --network shop busybox sh -c 'nc $(nslookup db | sed -n "s/^Address: //p") 5432'
argosy rm -f db >/dev/null
show argosy run --rm -v stock:/data:ro busybox cat /data/list

say "8. A web application built from a two-stage Dockerfile"
mkdir -p "$base/app/pages"
cp -r "$base/root" "$base/app/base"
echo 'Welcome to the shop.' >"$base/app/pages/index.html"
echo 'Apples, pears, plums.' >"$base/app/pages/goods.html"
echo 'notes.txt' >"$base/app/.dockerignore"
cat >"$base/app/Dockerfile" <<'END'
FROM busybox AS pages
WORKDIR /src
COPY pages/ .
RUN for page in *.html; do echo "<h1>$(cat $page)</h1>" >/$page; done && mkdir /out && mv /*.html /out

FROM busybox
RUN mkdir -p /www && echo "made by argosy" >/www/about.html
COPY --from=pages /out/ /www/
EXPOSE 80
CMD ["httpd", "-f", "-h", "/www"]
END
sed 's/^/    /' "$base/app/Dockerfile"
show argosy build -t shop:1 "$base/app"
say "   One page changes; everything that does not depend on it comes from the cache"
echo 'Apples, pears, plums, and now quinces.' >"$base/app/pages/goods.html"
show argosy build -t shop:2 "$base/app"
show argosy run -d --name shop --network shop -v stock:/www/stock:ro -p 8082:80 shop:2
show inside curl -s --retry 5 --retry-connrefused http://127.0.0.1:8082/goods.html
show inside curl -s http://127.0.0.1:8082/stock/list
argosy rm -f shop >/dev/null
argosy save shop:1 shop:2 >"$base/shop.tar"

say "9. A cluster of three daemons, each a host of its own"
lab="$base/lab"
lab() { deploy/lab/lab --state "$lab" "$@"; }
on() { local host=$1; shift; lab exec "$host" -- "$@"; }
show lab up 3
on node1 argosy cluster init >/dev/null
token=$(on node1 argosy cluster join-token -q worker)
for node in node2 node3; do show on "$node" argosy cluster join --token "$token" 10.99.0.1:2377; done
show on node2 argosy node ls

say "   Three replicas of the image built here: no registry has it, the nodes fetch it from each other"
on node1 argosy load <"$base/shop.tar" >/dev/null
show on node1 argosy service create --name shop --replicas 3 --stop-grace-period 1s shop:1
show on node3 argosy service ps shop

say "   Updated one replica at a time, from any node"
show on node2 argosy service update --image shop:2 --update-parallelism 1 --update-monitor 1s --rollback-monitor 1s shop
show on node2 argosy service ps --filter desired-state=running shop
say "   And back again"
show on node1 argosy service rollback shop

say "   A node is killed without a word; its replicas come back elsewhere"
lab kill node3
for _ in $(seq 100); do
    here=$(on node1 argosy service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' shop)
    [ "$(grep -c Running <<<"$here")" -ge 3 ] && ! grep -q node3 <<<"$here" && break
    read -rt 0.1 <> <(:) || true
done
show on node1 argosy node ls
show on node1 argosy service ps --filter desired-state=running shop
show on node1 argosy service rm shop

say "That was it."
argosy stop -t 1 web >/dev/null
show argosy rm web
