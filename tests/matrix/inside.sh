# `inside.sh TREE COMMAND…`, in mount, PID and network namespaces of its own: the command below an init that reaps at
# once, with the tree as its root. Not chroot: the kernel makes no user namespace there.
set -eu
tree=$1
shift
mount --make-rprivate /
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
if [ -n "${WITH_NETWORK:-}" ]; then
    cp /etc/resolv.conf "$tree/etc/resolv.conf"
    # What this machine trusts on its way to the registries, be it a company's proxy.
    cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
fi
cp "$(command -v catatonit)" "$tree/run/init"
ip link set lo up
cd "$tree"
mkdir -p mnt/before
pivot_root . mnt/before
cd /
umount --lazy /mnt/before
exec /run/init -- "$@"
