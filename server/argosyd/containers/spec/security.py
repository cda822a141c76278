"""What `--security-opt` asks for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.spec.seccomp import default_profile


@dataclass(frozen=True, slots=True)
class Security:
    """`seccomp` is "default", "unconfined" or the text of a profile in the form of Docker or of the OCI spec."""

    no_new_privileges: bool = False
    seccomp: str = "default"
    apparmor: str = ""
    selinux: tuple[str, ...] = ()
    systempaths_unconfined: bool = False


def parse(options: Iterable[str]) -> Security:
    """Reads security options. InvalidArgument for one that is not known."""
    no_new_privileges, seccomp, apparmor, unconfined = False, "default", "", False
    selinux: list[str] = []
    for option in options:
        # Docker takes "name=value" and, from older days, "name:value".
        separator = "=" if "=" in option else ":"
        name, has_value, value = option.partition(separator)
        if name == "no-new-privileges" and (not has_value or value in ("true", "false")):
            no_new_privileges = value != "false"
        elif name == "seccomp" and value:
            seccomp = {"builtin": "default"}.get(value, value)
        elif name == "apparmor" and value:
            apparmor = value
        elif name == "label" and value:
            selinux.append(value)
        elif name == "systempaths" and value == "unconfined":
            unconfined = True
        else:
            raise InvalidArgument(f"invalid --security-opt: {option!r}", kind="security-opt", id=option)
    if seccomp not in ("default", "unconfined"):
        _load(seccomp)
    return Security(no_new_privileges, seccomp, apparmor, tuple(selinux), unconfined)


def _load(text: str) -> dict[str, Any]:
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"the seccomp profile is no JSON: {error}", kind="security-opt", id="seccomp") from None
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument("the seccomp profile has no defaultAction", kind="security-opt", id="seccomp")
    return profile


def _applies(rule: dict[str, Any], capabilities: Collection[str], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("caps") and not all(c in capabilities for c in includes["caps"]):
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if any(c in capabilities for c in excludes.get("caps") or ()):
        return False
    return architecture not in (excludes.get("arches") or ())


def _from_docker(profile: dict[str, Any], capabilities: Collection[str], architecture: str) -> dict[str, Any]:
    """A profile in Docker's form (archMap, includes, excludes) as the OCI spec has it."""
    result = {k: v for k, v in profile.items() if k in ("defaultAction", "defaultErrnoRet", "architectures", "flags")}
    native = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "s390x": "SCMP_ARCH_S390X"}.get(architecture)
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            result["architectures"] = [native, *(entry.get("subArchitectures") or ())]
    rules = []
    for rule in profile.get("syscalls") or ():
        if _applies(rule, capabilities, architecture):
            kept = {k: rule[k] for k in ("action", "errnoRet", "args") if rule.get(k)}
            rules.append({"names": rule.get("names") or [rule["name"]], **kept})
    return {**result, "syscalls": rules}


def seccomp_of(security: Security, capabilities: Collection[str], architecture: str) -> dict[str, Any] | None:
    """`linux.seccomp`; None without a filter."""
    if security.seccomp == "unconfined":
        return None
    if security.seccomp == "default":
        return default_profile(capabilities, architecture)
    return _from_docker(_load(security.seccomp), capabilities, architecture)
