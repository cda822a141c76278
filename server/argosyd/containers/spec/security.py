"""What `--security-opt` asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.spec import seccomp_profile
from argosyd.containers.spec.facts import Host
from argosyd.containers.spec.seccomp import default_profile
from argosyd.host import apparmor

_TRUTH = {"": True, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Security:
    """`seccomp` is "" when nothing was asked for, "builtin", "unconfined" or the text of a profile."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    systempaths_unconfined: bool = False
    writable_cgroups: bool | None = None


def parse(options: Iterable[str]) -> Security:
    """Reads security options. InvalidArgument for one that is not known or can never be kept."""
    found: dict[str, Any] = {}
    for option in options:
        # Docker takes "name=value" and, from older days, "name:value".
        separator = "=" if "=" in option else ":"
        name, _, value = option.partition(separator)
        if name in ("no-new-privileges", "writable-cgroups") and value in _TRUTH:
            found[name.replace("-", "_")] = _TRUTH[value]
        elif name == "seccomp" and value:
            found["seccomp"] = "builtin" if value == "default" else value
        elif name == "apparmor" and value:
            found["apparmor"] = value
        elif name == "systempaths" and value == "unconfined":
            found["systempaths_unconfined"] = True
        elif name == "label" and value:
            _refuse_label(value)
        else:
            raise InvalidArgument(
                f"invalid --security-opt: {_short(option)!r}: use apparmor=, label=disable, no-new-privileges, seccomp=,"
                " systempaths=unconfined or writable-cgroups=",
                kind="security-opt",
                id=_short(option),
                reason="INVALID_SECURITY_OPT",
            )
    return Security(**found)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"


def _refuse_label(value: str) -> None:
    """The engine sets no SELinux labels, so that only wanting none can be kept."""
    if value != "disable":
        raise InvalidArgument(
            f"the SELinux label {_short(value)!r} cannot be applied: argosy sets no SELinux labels: leave"
            " --security-opt label= out, or use label=disable",
            kind="security-opt",
            id=_short(value),
            reason="LABEL_UNSUPPORTED",
        )


def check(options: Iterable[str], host: Host, loaded: Collection[str]) -> None:
    """InvalidArgument for what cannot be kept on this host. `loaded` are AppArmor's profiles in its kernel."""
    secured = parse(options)
    if secured.seccomp not in ("", "builtin", "unconfined"):
        seccomp_profile.read(secured.seccomp, (), host.architecture, host.kernel)
    name = secured.apparmor
    if name in ("", apparmor.UNCONFINED) or (host.apparmor and (name == apparmor.DEFAULT or name in loaded)):
        return
    why = (
        "it is not loaded: load it with apparmor_parser -r FILE"
        if host.apparmor
        else "this host has no AppArmor, or no apparmor_parser"
    )
    raise InvalidArgument(
        f"the AppArmor profile {_short(name)!r} cannot be applied: {why}",
        kind="security-opt",
        id=_short(name),
        reason="APPARMOR_PROFILE_UNUSABLE",
    )


def seccomp_of(
    security: Security, capabilities: Collection[str], host: Host, *, privileged: bool
) -> dict[str, Any] | None:
    """`linux.seccomp`; None without a filter, as privileged containers are unless they ask for one."""
    if security.seccomp == "unconfined" or (privileged and not security.seccomp):
        return None
    if security.seccomp in ("", "builtin"):
        return default_profile(capabilities, host.architecture, host.kernel)
    return seccomp_profile.read(security.seccomp, capabilities, host.architecture, host.kernel)


def apparmor_of(security: Security, host: Host, *, privileged: bool) -> str:
    """`process.apparmorProfile`; "" on a host without AppArmor."""
    if not host.apparmor:
        return ""
    return security.apparmor or (apparmor.UNCONFINED if privileged else apparmor.DEFAULT)
