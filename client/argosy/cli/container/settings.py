"""The options of `run` and `create`, and the container they describe."""

from __future__ import annotations

from argosy.cli.options import Command, UsageError, argument, arguments, flag, integer, many, text
from argosy.cli.parse.mounts import MountSpec, read_mount, read_tmpfs, read_volume
from argosy.cli.parse.pairs import read_env, read_fields, read_label_files, read_pairs
from argosy.cli.parse.ports import read_exposed, read_ports
from argosy.cli.parse.sizes import read_cpus, read_size, read_swap
from argosy.cli.parse.times import read_duration
from argosy.numbers import whole
from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class HealthOptions(Protocol):
        """Options that say how health is probed."""

        health_cmd: str
        health_interval: str
        health_retries: int | None
        health_start_period: str
        health_timeout: str
        no_healthcheck: bool


class ContainerOptions(Command):
    """What both take."""

    interspersed = False
    fails_with = 125

    add_host = many("--add-host", help="Add a custom host-to-IP mapping (host:ip)")
    annotation = many("--annotation", help="Add an annotation to the container")
    attach = many("-a", "--attach", help="Attach to STDIN, STDOUT or STDERR")
    blkio_weight = integer("--blkio-weight", help="Block IO weight, 10 to 1000", metavar="uint16")
    cap_add = many("--cap-add", help="Add Linux capabilities")
    cap_drop = many("--cap-drop", help="Drop Linux capabilities")
    cgroup_parent = text("--cgroup-parent", help="Parent cgroup of the container")
    cgroupns = text("--cgroupns", help="Cgroup namespace to use (host|private)")
    cidfile = text("--cidfile", help="Write the container ID to the file", metavar="file")
    cpu_period = integer("--cpu-period", help="Limit CPU CFS period, microseconds")
    cpu_quota = integer("--cpu-quota", help="Limit CPU CFS quota, microseconds")
    cpu_shares = integer("-c", "--cpu-shares", help="CPU shares (relative weight)")
    cpus = text("--cpus", help="Number of CPUs", metavar="decimal")
    cpuset_cpus = text("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)")
    cpuset_mems = text("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)")
    device = many("--device", help="Add a host device to the container")
    dns = many("--dns", help="Set custom DNS servers")
    dns_option = many("--dns-option", "--dns-opt", help="Set DNS options")
    dns_search = many("--dns-search", help="Set custom DNS search domains")
    domainname = text("--domainname", help="Container NIS domain name")
    entrypoint = text("--entrypoint", help="Overwrite the default ENTRYPOINT of the image")
    env = many("-e", "--env", help="Set environment variables")
    env_file = many("--env-file", help="Read in a file of environment variables")
    expose = many("--expose", help="Expose a port or a range of ports")
    group_add = many("--group-add", help="Add additional groups to join")
    health_cmd = text("--health-cmd", help="Command to run to check health")
    health_interval = text("--health-interval", help="Time between running the check", metavar="duration")
    health_retries = integer("--health-retries", help="Consecutive failures needed to report unhealthy")
    health_start_period = text("--health-start-period", help="Start period before failures count", metavar="duration")
    health_timeout = text("--health-timeout", help="Maximum time one check may run", metavar="duration")
    hostname = text("-h", "--hostname", help="Container host name")
    init = flag("--init", help="Run an init inside the container that forwards signals and reaps processes")
    interactive = flag("-i", "--interactive", help="Keep STDIN open even if not attached")
    ip = text("--ip", help="IPv4 address (e.g., 172.30.100.104)")
    ip6 = text("--ip6", help="IPv6 address (e.g., 2001:db8::33)")
    ipc = text("--ipc", help="IPC mode to use")
    label = many("-l", "--label", help="Set meta data on a container")
    label_file = many("--label-file", help="Read in a line delimited file of labels")
    log_driver = text("--log-driver", help="Logging driver for the container")
    log_opt = many("--log-opt", help="Log driver options (max-size, max-file; by default 20m and 5)")
    mac_address = text("--mac-address", help="Container MAC address (e.g., 92:d0:c6:0a:29:33)")
    memory = text("-m", "--memory", help="Memory limit", metavar="bytes")
    memory_reservation = text("--memory-reservation", help="Memory soft limit", metavar="bytes")
    memory_swap = text("--memory-swap", help="Memory and swap together; -1 is unlimited swap", metavar="bytes")
    mount = many("--mount", help="Attach a filesystem mount to the container", metavar="mount")
    name_ = text("--name", help="Assign a name to the container")
    network = many("--network", "--net", help="Connect a container to a network", metavar="network")
    network_alias = many("--network-alias", "--net-alias", help="Add network-scoped alias for the container")
    no_healthcheck = flag("--no-healthcheck", help="Disable any container-specified HEALTHCHECK")
    oom_kill_disable = flag("--oom-kill-disable", help="Disable OOM killer")
    oom_score_adj = integer("--oom-score-adj", help="Tune host's OOM preferences (-1000 to 1000)")
    pid = text("--pid", help="PID namespace to use")
    pids_limit = integer("--pids-limit", help="Tune container pids limit (-1 for unlimited)")
    platform = text("--platform", help="Set platform if the image has several")
    privileged = flag("--privileged", help="Give extended privileges to this container")
    publish = many("-p", "--publish", help="Publish a container's port(s) to the host")
    publish_all = flag("-P", "--publish-all", help="Publish all exposed ports to random ports")
    pull = text("--pull", default="missing", help='Pull image before creating ("always", "missing", "never")')
    quiet = flag("-q", "--quiet", help="Suppress the pull output")
    read_only = flag("--read-only", help="Mount the container's root filesystem as read only")
    restart = text("--restart", default="no", help="Restart policy to apply when a container exits")
    rm = flag("--rm", help="Automatically remove the container when it exits")
    runtime = text("--runtime", help="Runtime to use for this container")
    security_opt = many("--security-opt", help="Security Options")
    shm_size = text("--shm-size", help="Size of /dev/shm", metavar="bytes")
    stop_signal = text("--stop-signal", help="Signal to stop the container")
    stop_timeout = integer("--stop-timeout", help="Timeout (in seconds) to stop a container")
    sysctl = many("--sysctl", help="Sysctl options")
    tmpfs = many("--tmpfs", help="Mount a tmpfs directory")
    tty = flag("-t", "--tty", help="Allocate a pseudo-TTY")
    ulimit = many("--ulimit", help="Ulimit options", metavar="ulimit")
    user = text("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
    userns = text("--userns", help="User namespace to use (host, auto[:size=N], remap:USER[:GROUP])")
    uts = text("--uts", help="UTS namespace to use")
    volume = many("-v", "--volume", help="Bind mount a volume")
    volume_driver = text("--volume-driver", help="Optional volume driver for the container")
    volumes_from = many("--volumes-from", help="Mount volumes from the specified container(s)")
    workdir = text("-w", "--workdir", help="Working directory inside the container")
    image = argument("IMAGE")
    command = arguments("[COMMAND] [ARG...]", at_least_one=False)

    def joined(self) -> set[str]:
        """The standard streams that -a and -i join. UsageError for an unknown one."""
        named = {part.lower() for part in self.attach}
        if unknown := named - {"stdin", "stdout", "stderr"}:
            raise UsageError(f'invalid argument "{min(unknown)}" for "-a, --attach" flag: use STDIN, STDOUT or STDERR')
        return named or {"stdout", "stderr"} | ({"stdin"} if self.interactive else set())

    def spec(self) -> pb.ContainerSpec:
        """The container these options describe. UsageError for a value that cannot be."""
        if self.pull not in ("always", "missing", "never"):
            raise UsageError(f'invalid pull option: "{self.pull}": use always, missing or never')
        spec = pb.ContainerSpec(
            image=self.image,
            command=self.command,
            env=read_env(self.env, self.env_file),
            working_dir=self.workdir,
            user=self.user,
            hostname=self.hostname,
            domainname=self.domainname,
            labels={**read_label_files(self.label_file), **read_pairs(self.label)},
            tty=self.tty,
            open_stdin=self.interactive,
            # A terminal stays open for who attaches next.
            stdin_once=self.interactive and not self.tty and "stdin" in self.joined(),
            auto_remove=self.rm,
            init=self.init,
            publish_all=self.publish_all,
            extra_hosts=[_host(entry) for entry in self.add_host],
            dns=self.dns,
            dns_search=self.dns_search,
            dns_options=self.dns_option,
            privileged=self.privileged,
            read_only_rootfs=self.read_only,
            cap_add=[_capability(c) for c in self.cap_add],
            cap_drop=[_capability(c) for c in self.cap_drop],
            security_opts=[_security(option) for option in self.security_opt],
            devices=self.device,
            ulimits=dict(map(_ulimit, self.ulimit)),
            sysctls=read_pairs(self.sysctl),
            pid_mode=self.pid,
            ipc_mode=self.ipc,
            uts_mode=self.uts,
            userns_mode=self.userns,
            cgroupns_mode=self.cgroupns,
            shm_size=read_size(self.shm_size, "shm-size") if self.shm_size else 0,
            stop_signal=self.stop_signal,
            group_add=self.group_add,
            oom_score_adj=self.oom_score_adj or 0,
            oom_kill_disable=self.oom_kill_disable,
            cgroup_parent=self.cgroup_parent,
            runtime=self.runtime,
            mac_address=self.mac_address,
            volumes_from=self.volumes_from,
            platform=self.platform,
            annotations=read_pairs(self.annotation),
        )
        self._overrides(spec)
        self._resources(spec.resources)
        self._networks(spec)
        spec.mounts.extend(mounts(self.volume, self.mount, self.tmpfs, self.volume_driver))
        for entry in self.publish:
            spec.ports.extend(port_mappings(entry))
        for entry in self.expose:
            spec.exposed_ports.extend(read_exposed(entry))
        health = health_check(self)
        if health is not None:
            spec.health_check.CopyFrom(health)
        return spec

    def _overrides(self, spec: pb.ContainerSpec) -> None:
        """What has a default of the image's or the engine's, and is sent only when it was given."""
        if "entrypoint" in self.given:
            spec.override_entrypoint = True
            spec.entrypoint.extend([self.entrypoint] if self.entrypoint else [])
        if self.stop_timeout is not None:
            spec.stop_timeout.seconds = self.stop_timeout
        if "restart" in self.given:
            spec.restart_policy.CopyFrom(restart_policy(self.restart))
            if self.rm and spec.restart_policy.condition > pb.RestartPolicy.CONDITION_NO:
                raise UsageError("conflicting options: cannot specify both --restart and --rm")
        if self.log_driver or self.log_opt:
            spec.log.CopyFrom(pb.LogConfig(driver=self.log_driver, options=read_pairs(self.log_opt)))

    def _resources(self, resources: common_pb2.Resources) -> None:
        if self.cpus:
            resources.nano_cpus = read_cpus(self.cpus)
        if self.memory:
            resources.memory_bytes = read_size(self.memory, "memory")
        if self.memory_swap:
            resources.memory_swap_bytes = read_swap(self.memory_swap)
        if self.memory_reservation:
            resources.memory_reservation_bytes = read_size(self.memory_reservation, "memory-reservation")
        resources.pids_limit = self.pids_limit or 0
        resources.cpu_shares = self.cpu_shares or 0
        resources.cpu_quota_us = self.cpu_quota or 0
        resources.cpu_period_us = self.cpu_period or 0
        resources.cpuset_cpus = self.cpuset_cpus
        resources.cpuset_mems = self.cpuset_mems
        resources.blkio_weight = self.blkio_weight or 0

    def _networks(self, spec: pb.ContainerSpec) -> None:
        """Options of an address go to the first network, as Docker has it; `name=…,alias=…` is the long form."""
        for at, entry in enumerate(self.network):
            endpoint = pb.EndpointSpec(network=entry)
            if "=" in entry:
                endpoint = _long_network(entry)
            if at == 0:
                endpoint.aliases.extend(self.network_alias)
                endpoint.ipv4_address = endpoint.ipv4_address or self.ip
                endpoint.ipv6_address = endpoint.ipv6_address or self.ip6
                spec.network_mode = endpoint.network
            special = endpoint.network in ("none", "host") or endpoint.network.startswith("container:")
            if special and len(self.network) > 1:
                raise UsageError(f'conflicting options: network "{endpoint.network}" goes with no other network')
            if not special:
                spec.endpoints.append(endpoint)
        if not self.network and (self.network_alias or self.ip or self.ip6):
            spec.endpoints.add(
                network="bridge", aliases=self.network_alias, ipv4_address=self.ip, ipv6_address=self.ip6
            )


def restart_policy(text: str) -> pb.RestartPolicy:
    """A policy of "no", "always", "unless-stopped", "on-failure[:max]"."""
    name, given, retries = text.partition(":")
    conditions = {
        "": pb.RestartPolicy.CONDITION_NO,
        "no": pb.RestartPolicy.CONDITION_NO,
        "on-failure": pb.RestartPolicy.CONDITION_ON_FAILURE,
        "always": pb.RestartPolicy.CONDITION_ALWAYS,
        "unless-stopped": pb.RestartPolicy.CONDITION_UNLESS_STOPPED,
    }
    most = whole(retries or "0", (1 << 31) - 1)
    if name not in conditions or most is None or (given and (name != "on-failure" or not retries)):
        raise UsageError(f"invalid restart policy: '{text}': use no, always, unless-stopped or on-failure[:max]")
    return pb.RestartPolicy(condition=conditions[name], max_retries=most)


def mounts(volumes: list[str], long: list[str], tmpfs: list[str], driver: str = "") -> list[common_pb2.Mount]:
    """Mounts of -v, --mount and --tmpfs. UsageError when two have one target."""
    specs = [*map(read_volume, volumes), *map(read_mount, long), *map(read_tmpfs, tmpfs)]
    seen: set[str] = set()
    for spec in specs:
        if spec.target in seen:
            raise UsageError(f"Duplicate mount point: {spec.target}")
        seen.add(spec.target)
        if driver and spec.type == "volume" and not spec.volume_driver:
            spec.volume_driver = driver
    return [_mount(spec) for spec in specs]


def _mount(spec: MountSpec) -> common_pb2.Mount:
    fields = dict(vars(spec))
    fields["type"] = f"TYPE_{spec.type.upper()}"
    return common_pb2.Mount(**fields)


def port_mappings(entry: str) -> list[common_pb2.PortMapping]:
    """Messages of one -p."""
    return [
        common_pb2.PortMapping(
            host_ip=p.host_ip, host_port=p.host_port, container_port=p.container_port, protocol=p.protocol
        )
        for p in read_ports(entry)
    ]


def health_check(options: HealthOptions) -> common_pb2.HealthCheck | None:
    """The --health-* options; None when there are none."""
    timing = {
        name: read_duration(value)
        for name, value in (
            ("interval", options.health_interval),
            ("timeout", options.health_timeout),
            ("start_period", options.health_start_period),
        )
        if value
    }
    if options.no_healthcheck:
        if timing or options.health_cmd or options.health_retries:
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return common_pb2.HealthCheck(test=["NONE"])
    if not (timing or options.health_cmd or options.health_retries):
        return None
    health = common_pb2.HealthCheck(
        test=["CMD-SHELL", options.health_cmd] if options.health_cmd else [], retries=options.health_retries or 0
    )
    for name, nanoseconds in timing.items():
        if nanoseconds < 0:
            raise UsageError(f"--health-{name.replace('_', '-')} cannot be negative")
        duration = getattr(health, name)
        duration.seconds, duration.nanos = divmod(nanoseconds, 10**9)
    return health


def _host(entry: str) -> str:
    name, found, address = entry.partition(":")
    if not found:
        name, found, address = entry.partition("=")
    if not (name and address):
        raise UsageError(f'bad format for add-host: "{entry}"')
    return f"{name}:{address}"


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _security(option: str) -> str:
    """seccomp profiles are files here; the daemon gets their text."""
    key, given, value = option.partition("=")
    if not given:
        key, given, value = option.partition(":")
    if key == "seccomp" and value not in ("", "unconfined", "builtin"):
        try:
            with open(value, encoding="utf-8") as file:
                return f"seccomp={file.read()}"
        except OSError as e:
            raise UsageError(f"opening seccomp profile ({value}) failed: {e.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"seccomp profile ({value}) is no text") from None
    return f"{key}={value}" if given else option


def _ulimit(entry: str) -> tuple[str, str]:
    name, found, limits = entry.partition("=")
    soft, both, hard = limits.partition(":")
    hard = hard if both else soft
    low, high = (-1 if v == "-1" else whole(v) for v in (soft, hard))
    if not (name and found) or low is None or high is None:
        raise UsageError(f"invalid ulimit argument: {entry}")
    if high != -1 and (low == -1 or low > high):
        raise UsageError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return name, f"{soft}:{hard}"


def _long_network(entry: str) -> pb.EndpointSpec:
    endpoint = pb.EndpointSpec()
    for key, value in read_fields(entry, "network"):
        if key == "name":
            endpoint.network = value or ""
        elif key == "alias":
            endpoint.aliases.append(value or "")
        elif key == "ip":
            endpoint.ipv4_address = value or ""
        elif key == "ip6":
            endpoint.ipv6_address = value or ""
        elif key == "mac-address":
            endpoint.mac_address = value or ""
        else:
            raise UsageError(f"invalid field {key} in --network {entry}")
    if not endpoint.network:
        raise UsageError(f"network name is missing in --network {entry}")
    return endpoint
