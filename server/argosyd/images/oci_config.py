"""The image config: OCI's JSON and our dataclasses (OCI image spec, config.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argosy.errors import DataLoss, InvalidArgument
from argosyd.dockerfile.limits import MAX_ENVIRONMENT, MAX_PATH, MAX_PORTS, MAX_TRIGGERS, MAX_VARIABLES
from argosyd.images.content import check_digest
from argosyd.images.manifest import MAX_LAYERS, Manifest, load_json
from argosyd.images.model import HealthCheck, HistoryEntry, ImageConfig
from argosyd.units import Seconds, Timestamp

MAX_HISTORY = 10_000
"""Entries of an image's history that are kept; they are for people alone."""
_MOST_WORDS = 20_000
"""Words of a command, volumes, labels."""


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """A config as it stands in an image. `diff_ids` lowest first."""

    architecture: str
    os: str
    config: ImageConfig
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...] = ()
    created: Timestamp = Timestamp(0)
    author: str = ""
    variant: str = ""


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of a stack of layers (OCI image spec, config.md, "Layer ChainID"); "" for none."""
    chain = ""
    for diff_id in diff_ids:
        chain = diff_id if not chain else "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


def parse_time(text: object) -> Timestamp:
    """RFC 3339 with any number of decimals; 0 when absent or not a time."""
    if not isinstance(text, str) or not text or len(text) > 64:
        return Timestamp(0)
    head, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        return Timestamp(0)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Timestamp(int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0))


def format_time(moment: Timestamp) -> str:
    """RFC 3339 in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(moment, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def _bad(why: str) -> DataLoss:
    return DataLoss(f"the image config is not valid: {why}", kind="image", reason="INVALID_CONFIG")


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(v) for v in value if not isinstance(v, dict | list)) if isinstance(value, list) else ()


def _keys(value: object) -> tuple[str, ...]:
    return tuple(sorted(value)) if isinstance(value, dict) else ()


def _duration(value: object) -> Seconds | None:
    return Seconds(value / 1e9) if isinstance(value, int) and 0 < value < 1 << 62 else None


def check(config: ImageConfig) -> ImageConfig:
    """The config, when a container can be started with it. DataLoss says what is wrong."""
    counts: tuple[tuple[str, Sequence[object] | Mapping[str, str], int], ...] = (
        ("variables", config.env, MAX_VARIABLES),
        ("exposed ports", config.exposed_ports, MAX_PORTS),
        ("volumes", config.volumes, _MOST_WORDS),
        ("labels", config.labels, _MOST_WORDS),
        ("words of a command", (*config.entrypoint, *config.cmd, *config.shell), _MOST_WORDS),
        ("ONBUILD triggers", config.on_build, MAX_TRIGGERS),
    )
    for what, values, limit in counts:
        if len(values) > limit:
            raise _bad(f"it has more than {limit} {what}")
    if sum(map(len, config.env)) > MAX_ENVIRONMENT:
        raise _bad(f"its variables have more than {MAX_ENVIRONMENT} characters")
    if any(len(path) >= MAX_PATH for path in (config.working_dir, config.user, config.stop_signal, *config.volumes)):
        raise _bad(f"a path, the user or the stop signal has more than {MAX_PATH - 1} characters")
    health = config.health_check.test if config.health_check else ()
    texts = (
        config.user, config.working_dir, config.stop_signal, *config.env, *config.entrypoint, *config.cmd,
        *config.shell, *config.volumes, *config.exposed_ports, *health,
    )  # fmt: skip
    if any("\0" in text for text in texts):
        raise _bad("it has a NUL byte in a word, which no program can be given")
    return config


def _health(value: object) -> HealthCheck | None:
    test = _strings(value.get("Test")) if isinstance(value, dict) else ()
    if not isinstance(value, dict) or not test:
        return None
    retries = value.get("Retries")
    return HealthCheck(
        test,
        _duration(value.get("Interval")),
        _duration(value.get("Timeout")),
        _duration(value.get("StartPeriod")),
        retries if isinstance(retries, int) and 0 < retries < 1 << 31 else 0,
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _image_config(value: object) -> ImageConfig:
    document = value if isinstance(value, dict) else {}
    labels = document.get("Labels") or {}
    return ImageConfig(
        user=_text(document, "User"),
        exposed_ports=_keys(document.get("ExposedPorts")),
        env=_strings(document.get("Env")),
        entrypoint=_strings(document.get("Entrypoint")),
        cmd=_strings(document.get("Cmd")),
        volumes=_keys(document.get("Volumes")),
        working_dir=_text(document, "WorkingDir"),
        labels={k: str(v) for k, v in labels.items() if not isinstance(v, dict | list)}
        if isinstance(labels, dict)
        else {},
        stop_signal=_text(document, "StopSignal"),
        shell=_strings(document.get("Shell")),
        health_check=_health(document.get("Healthcheck")),
        on_build=_strings(document.get("OnBuild")),
    )


def parse(data: bytes) -> ConfigDocument:
    """A config blob. DataLoss when it is not one."""
    document = load_json(data, "the image config")
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(d, str) for d in diff_ids):
        raise DataLoss("the image config has no rootfs.diff_ids", kind="image", reason="INVALID_CONFIG")
    if len(diff_ids) > MAX_LAYERS:
        raise _bad(f"it has more than {MAX_LAYERS} layers")
    for diff_id in diff_ids:
        try:
            check_digest(diff_id)
        except InvalidArgument as error:
            raise _bad(error.message) from None
    history = document.get("history")
    return ConfigDocument(
        architecture=_text(document, "architecture"),
        os=_text(document, "os"),
        variant=_text(document, "variant"),
        config=check(_image_config(document.get("config"))),
        diff_ids=tuple(diff_ids),
        history=tuple(
            HistoryEntry(
                parse_time(h.get("created")),
                _text(h, "created_by"),
                _text(h, "comment"),
                _text(h, "author"),
                bool(h.get("empty_layer")),
            )
            for h in (history[:MAX_HISTORY] if isinstance(history, list) else ())
            if isinstance(h, dict)
        ),
        created=parse_time(document.get("created")),
        author=_text(document, "author"),
    )


def check_layers(document: ConfigDocument, manifest: Manifest, name: str) -> None:
    """Whether config and manifest speak of the same layers. DataLoss."""
    if len(document.diff_ids) != len(manifest.layers):
        raise DataLoss(
            f"{name}: {len(manifest.layers)} layers, but its config names {len(document.diff_ids)}",
            kind="image", id=name, reason="INVALID_MANIFEST",
        )  # fmt: skip


def _health_json(check: HealthCheck) -> dict[str, Any]:
    spans = {"Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period}
    return {
        "Test": list(check.test),
        **{name: round(span * 1e9) for name, span in spans.items() if span},
        **({"Retries": check.retries} if check.retries else {}),
    }


def config_json(config: ImageConfig) -> dict[str, Any]:
    """The "config" object, with Docker's names; what is empty is left out."""
    document: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {p: {} for p in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Volumes": {v: {} for v in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell),
        "Healthcheck": _health_json(config.health_check) if config.health_check else None,
        "OnBuild": list(config.on_build),
    }
    return {k: v for k, v in document.items() if v}


def _history_json(entry: HistoryEntry) -> dict[str, Any]:
    document: dict[str, Any] = {
        "created": format_time(entry.created) if entry.created else "",
        "created_by": entry.created_by,
        "author": entry.author,
        "comment": entry.comment,
        "empty_layer": entry.empty_layer,
    }
    return {k: v for k, v in document.items() if v}


def to_bytes(document: ConfigDocument) -> bytes:
    """The blob; the same bytes for the same document."""
    whole = {
        "created": format_time(document.created) if document.created else "",
        "author": document.author,
        "architecture": document.architecture,
        "os": document.os,
        "variant": document.variant,
        "config": config_json(document.config),
        "rootfs": {"type": "layers", "diff_ids": list(document.diff_ids)},
        "history": [_history_json(h) for h in document.history],
    }
    return json.dumps({k: v for k, v in whole.items() if v != ""}, separators=(",", ":")).encode()
