"""The options of `service create` and `service update`, and the spec they describe."""

from __future__ import annotations

from argosy.cli.container.settings import health_check, mounts
from argosy.cli.options import Command, UsageError, flag, integer, many, number, text
from argosy.cli.parse.pairs import read_env, read_fields, read_pairs
from argosy.cli.parse.ports import read_ports
from argosy.cli.parse.sizes import read_cpus, read_size
from argosy.cli.parse.times import read_duration
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from google.protobuf.duration_pb2 import Duration

    T = TypeVar("T")

_FAILURE = {
    "pause": pb.UpdateConfig.FAILURE_ACTION_PAUSE,
    "continue": pb.UpdateConfig.FAILURE_ACTION_CONTINUE,
    "rollback": pb.UpdateConfig.FAILURE_ACTION_ROLLBACK,
}
_ORDERS = {
    "stop-first": pb.UpdateConfig.ORDER_STOP_FIRST,
    "start-first": pb.UpdateConfig.ORDER_START_FIRST,
}
_CONDITIONS = {
    "none": pb.ServiceRestart.CONDITION_NONE,
    "on-failure": pb.ServiceRestart.CONDITION_ON_FAILURE,
    "any": pb.ServiceRestart.CONDITION_ANY,
}


class ServiceOptions(Command):
    """What both take."""

    interspersed = False

    detach = flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge")
    entrypoint = text("--entrypoint", help="Overwrite the default ENTRYPOINT of the image")
    health_cmd = text("--health-cmd", help="Command to run to check health")
    health_interval = text("--health-interval", help="Time between running the check", metavar="duration")
    health_retries = integer("--health-retries", help="Consecutive failures needed to report unhealthy")
    health_start_period = text("--health-start-period", help="Start period before failures count", metavar="duration")
    health_timeout = text("--health-timeout", help="Maximum time to allow one check to run", metavar="duration")
    hostname = text("--hostname", help="Container hostname")
    init = flag("--init", help="Use an init inside each service container")
    limit_cpu = text("--limit-cpu", help="Limit CPUs", metavar="decimal")
    limit_memory = text("--limit-memory", help="Limit Memory", metavar="bytes")
    limit_pids = integer("--limit-pids", help="Limit maximum number of processes")
    log_driver = text("--log-driver", help="Logging driver for service")
    log_opt = many("--log-opt", help="Logging driver options (max-size, max-file; by default 20m and 5)")
    no_healthcheck = flag("--no-healthcheck", help="Disable any container-specified HEALTHCHECK")
    quiet = flag("-q", "--quiet", help="Suppress progress output")
    read_only = flag("--read-only", help="Mount the container's root filesystem as read only")
    replicas = integer("--replicas", help="Number of tasks")
    replicas_max_per_node = integer("--replicas-max-per-node", help="Maximum number of tasks per node")
    reserve_cpu = text("--reserve-cpu", help="Reserve CPUs", metavar="decimal")
    reserve_memory = text("--reserve-memory", help="Reserve Memory", metavar="bytes")
    restart_condition = text("--restart-condition", help='Restart when condition is met ("none", "on-failure", "any")')
    restart_delay = text("--restart-delay", help="Delay between restart attempts", metavar="duration")
    restart_max_attempts = integer("--restart-max-attempts", help="Maximum number of restarts before giving up")
    restart_window = text("--restart-window", help="Window used to evaluate the policy", metavar="duration")
    rollback_delay = text("--rollback-delay", help="Delay between task rollbacks", metavar="duration")
    rollback_failure_action = text("--rollback-failure-action", help='On rollback failure ("pause", "continue")')
    rollback_max_failure_ratio = number("--rollback-max-failure-ratio", help="Failure rate to tolerate")
    rollback_monitor = text("--rollback-monitor", help="Duration to monitor for failure", metavar="duration")
    rollback_order = text("--rollback-order", help='Rollback order ("start-first", "stop-first")')
    rollback_parallelism = integer("--rollback-parallelism", help="Tasks rolled back at once (0: all)")
    stop_grace_period = text("--stop-grace-period", help="Time to wait before force killing", metavar="duration")
    stop_signal = text("--stop-signal", help="Signal to stop the container")
    update_delay = text("--update-delay", help="Delay between updates", metavar="duration")
    update_failure_action = text(
        "--update-failure-action", help='Action on update failure ("pause", "continue", "rollback")'
    )
    update_max_failure_ratio = number("--update-max-failure-ratio", help="Failure rate to tolerate")
    update_monitor = text("--update-monitor", help="Duration to monitor for failure", metavar="duration")
    update_order = text("--update-order", help='Update order ("start-first", "stop-first")')
    update_parallelism = integer("--update-parallelism", help="Maximum number of tasks updated at once (0: all)")
    user = text("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
    with_registry_auth = flag("--with-registry-auth", help="Send registry authentication details to the nodes")
    workdir = text("-w", "--workdir", help="Working directory inside the container")

    def apply(self, spec: pb.ServiceSpec) -> None:
        """Writes what was given into the spec. UsageError for a value that cannot be."""
        given = self.given
        container = spec.container
        for attribute, field in (
            ("hostname", "hostname"),
            ("init", "init"),
            ("read_only", "read_only_rootfs"),
            ("stop_signal", "stop_signal"),
            ("user", "user"),
            ("workdir", "working_dir"),
        ):
            if attribute in given:
                setattr(container, field, getattr(self, attribute))
        if "entrypoint" in given:
            container.override_entrypoint = True
            del container.entrypoint[:]
            container.entrypoint.extend([self.entrypoint] if self.entrypoint else [])
        if self.stop_grace_period:
            _set(container.stop_timeout, self.stop_grace_period)
        if self.log_driver or self.log_opt:
            container.log.driver = self.log_driver
            container.log.options.update(read_pairs(self.log_opt))
        health = health_check(self)
        if health is not None:
            # An update changes what was given and keeps the rest of the check.
            if health.test:
                del container.health_check.test[:]
            container.health_check.MergeFrom(health)
        self._resources(spec)
        self._mode(spec)
        self._restart(spec.restart)
        self._config(spec, "update")
        self._config(spec, "rollback")

    def _resources(self, spec: pb.ServiceSpec) -> None:
        limits, reservations = spec.container.resources, spec.reservations
        if self.limit_cpu:
            limits.nano_cpus = read_cpus(self.limit_cpu)
        if self.limit_memory:
            limits.memory_bytes = read_size(self.limit_memory, "limit-memory")
        if self.limit_pids is not None:
            limits.pids_limit = self.limit_pids
        if self.reserve_cpu:
            reservations.nano_cpus = read_cpus(self.reserve_cpu)
        if self.reserve_memory:
            reservations.memory_bytes = read_size(self.reserve_memory, "reserve-memory")

    def _mode(self, spec: pb.ServiceSpec) -> None:
        if self.replicas is not None:
            if spec.mode.WhichOneof("mode") == "global":
                raise UsageError("replicas can only be used with replicated mode", 1)
            if self.replicas < 0:
                raise UsageError(f'invalid argument "{self.replicas}" for "--replicas" flag: it is negative')
            spec.mode.replicas = self.replicas
        if self.replicas_max_per_node is not None:
            spec.placement.max_replicas_per_node = self.replicas_max_per_node

    def _restart(self, restart: pb.ServiceRestart) -> None:
        if self.restart_condition:
            restart.condition = _choice(self.restart_condition, _CONDITIONS, "restart-condition")
        if self.restart_delay:
            _set(restart.delay, self.restart_delay)
        if self.restart_max_attempts is not None:
            restart.max_attempts = self.restart_max_attempts
        if self.restart_window:
            _set(restart.window, self.restart_window)

    def _config(self, spec: pb.ServiceSpec, which: str) -> None:
        if not any(name.startswith(f"{which}_") for name in self.given):
            return
        config = spec.update if which == "update" else spec.rollback
        parallelism = getattr(self, f"{which}_parallelism")
        if parallelism is not None:
            config.parallelism = parallelism
        for field, value in (
            (config.delay, getattr(self, f"{which}_delay")),
            (config.monitor, getattr(self, f"{which}_monitor")),
        ):
            if value:
                _set(field, value)
        if action := getattr(self, f"{which}_failure_action"):
            known = _FAILURE if which == "update" else {k: v for k, v in _FAILURE.items() if k != "rollback"}
            config.failure_action = _choice(action, known, f"{which}-failure-action")
        if order := getattr(self, f"{which}_order"):
            config.order = _choice(order, _ORDERS, f"{which}-order")
        ratio = getattr(self, f"{which}_max_failure_ratio")
        if ratio is not None:
            if not 0 <= ratio <= 1:
                raise UsageError(f"invalid {which}-max-failure-ratio {ratio}: use 0 to 1", 1)
            config.max_failure_ratio = ratio


def service_port(text: str) -> list[pb.ServicePort]:
    """Messages of one -p: "8080:80/tcp", or "published=8080,target=80,mode=host"."""
    if "=" not in text:
        return [
            pb.ServicePort(
                target=p.container_port, published=p.host_port, protocol=p.protocol, mode=pb.ServicePort.MODE_HOST
            )
            for p in read_ports(text)
        ]
    modes = {"host": pb.ServicePort.MODE_HOST, "ingress": pb.ServicePort.MODE_INGRESS}
    fields = {key: value or "" for key, value in read_fields(text, "port")}
    if unknown := set(fields) - {"published", "target", "protocol", "mode"}:
        raise UsageError(f"invalid field key {min(unknown)} in port {text}", 1)
    mode = _choice(fields.get("mode", "host"), modes, "port mode")
    [plain] = read_ports(f"{fields.get('published') or ''}:{fields.get('target', '')}/{fields.get('protocol', 'tcp')}")
    return [pb.ServicePort(target=plain.container_port, published=plain.host_port, protocol=plain.protocol, mode=mode)]


def add_mounts(spec: pb.ServiceSpec, entries: list[str]) -> None:
    """Adds --mount entries; one with the target of another replaces it."""
    added = mounts([], entries, [])
    kept = [m for m in spec.container.mounts if m.target not in {a.target for a in added}]
    del spec.container.mounts[:]
    spec.container.mounts.extend([*kept, *added])


def add_env(spec: pb.ServiceSpec, entries: list[str], files: list[str]) -> None:
    """Adds NAME=value entries; one with the name of another replaces it."""
    values = {e.partition("=")[0]: e for e in [*spec.container.env, *read_env(entries, files)]}
    del spec.container.env[:]
    spec.container.env.extend(values.values())


def _choice(text: str, known: dict[str, T], what: str) -> T:
    if text not in known:
        raise UsageError(f"invalid {what} '{text}': use {', '.join(known)}", 1)
    return known[text]


def _set(duration: Duration, text: str) -> None:
    duration.seconds, duration.nanos = divmod(max(read_duration(text), 0), 10**9)
