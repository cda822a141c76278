"""The image config: OCI's JSON and our dataclasses (OCI image spec, config.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from argosy.errors import DataLoss, InvalidArgument
from argosyd.dockerfile.limits import MAX_CONFIG
from argosyd.images.config_rules import problem, text_problem
from argosyd.images.content import check_digest
from argosyd.images.manifest import MAX_LAYERS, Manifest, load_json
from argosyd.images.model import HealthCheck, HistoryEntry, ImageConfig
from argosyd.units import Seconds, Timestamp

_LAST = 253_402_300_800
"""The first second of the year 10000."""
_MAX_HISTORY, _MAX_WORD, _MAX_AUTHOR = 10_000, 128, 4096


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
    """RFC 3339 with any number of decimals; 0 when absent, not a time, or before 1970."""
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
    seconds = int(moment.timestamp())
    # A zone may carry the last second of the year 9999 into one that cannot be written.
    if not 0 <= seconds < _LAST:
        return Timestamp(0)
    return Timestamp(seconds * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0))


def format_time(moment: Timestamp) -> str:
    """RFC 3339 in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(moment, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def _broken(why: str) -> DataLoss:
    return DataLoss(f"the image config is not valid: {why}", kind="image", reason="INVALID_CONFIG")


def _text(document: Mapping[str, Any], key: str, most: int = MAX_CONFIG) -> str:
    """A text, "" when it is absent or null."""
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _broken(f"{key} is not a text")
    if why := text_problem(value):
        raise _broken(f"{key} {why}")
    if len(value) > most:
        raise _broken(f"{key} is longer than {most} letters")
    return value


def _strings(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts; one text alone stands for a list, as in configs of old."""
    value = document.get(key)
    if isinstance(value, str):
        return (value,) if value else ()
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _broken(f"{key} is not a list of texts")
    return tuple(value)


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise _broken(f"{key} is not an object")
    return value or {}


def _number(document: Mapping[str, Any], key: str) -> int:
    """A whole number of 64 bits, 0 when it is absent or below."""
    value = document.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise _broken(f"{key} is not a whole number of 64 bits")
    return max(value, 0)


def _duration(document: Mapping[str, Any], key: str) -> Seconds | None:
    nanoseconds = _number(document, key)
    return Seconds(nanoseconds / 1e9) if nanoseconds else None


def _health(config: Mapping[str, Any]) -> HealthCheck | None:
    check = _object(config, "Healthcheck")
    test = _strings(check, "Test")
    if not test:
        return None
    interval, timeout, start_period = (_duration(check, k) for k in ("Interval", "Timeout", "StartPeriod"))
    return HealthCheck(test, interval, timeout, start_period, _number(check, "Retries"))


def _labels(config: Mapping[str, Any]) -> dict[str, str]:
    labels = {k: "" if v is None else v for k, v in _object(config, "Labels").items()}
    if not all(isinstance(v, str) for v in labels.values()):
        raise _broken("Labels holds something that is not a text")
    return labels


def _image_config(document: Mapping[str, Any]) -> ImageConfig:
    config = ImageConfig(
        user=_text(document, "User"),
        exposed_ports=tuple(sorted(_object(document, "ExposedPorts"))),
        env=_strings(document, "Env"),
        entrypoint=_strings(document, "Entrypoint"),
        cmd=_strings(document, "Cmd"),
        volumes=tuple(sorted(_object(document, "Volumes"))),
        working_dir=_text(document, "WorkingDir"),
        labels=_labels(document),
        stop_signal=_text(document, "StopSignal"),
        shell=_strings(document, "Shell"),
        health_check=_health(document),
        on_build=_strings(document, "OnBuild"),
    )
    if why := problem(config):
        raise _broken(why)
    return config


def _diff_ids(document: Mapping[str, Any]) -> tuple[str, ...]:
    diff_ids = _object(document, "rootfs").get("diff_ids")
    if not isinstance(diff_ids, list) or not all(isinstance(d, str) for d in diff_ids):
        raise _broken("it has no rootfs.diff_ids")
    if len(diff_ids) > MAX_LAYERS:
        raise _broken(f"it has more than {MAX_LAYERS} layers")
    try:
        for diff_id in diff_ids:
            check_digest(diff_id)
    except InvalidArgument as error:
        raise _broken(f"rootfs.diff_ids: {error.message}") from None
    return tuple(diff_ids)


def _history(document: Mapping[str, Any]) -> tuple[HistoryEntry, ...]:
    entries = document.get("history")
    if entries is None:
        return ()
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise _broken("history is not a list of objects")
    if len(entries) > _MAX_HISTORY:
        raise _broken(f"history has more than {_MAX_HISTORY} entries")
    return tuple(
        HistoryEntry(
            parse_time(e.get("created")),
            _text(e, "created_by"),
            _text(e, "comment"),
            _text(e, "author"),
            e.get("empty_layer") is True,
        )
        for e in entries
    )


def parse(data: bytes) -> ConfigDocument:
    """A config blob. DataLoss when it is not one, or holds what no container can be made from."""
    document = load_json(data, "the image config")
    return ConfigDocument(
        architecture=_text(document, "architecture", _MAX_WORD),
        os=_text(document, "os", _MAX_WORD),
        variant=_text(document, "variant", _MAX_WORD),
        config=_image_config(_object(document, "config")),
        diff_ids=_diff_ids(document),
        history=_history(document),
        created=parse_time(document.get("created")),
        author=_text(document, "author", _MAX_AUTHOR),
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


def _history_problems(entry: HistoryEntry) -> list[str]:
    return [w for t in (entry.created_by, entry.comment, entry.author) if (w := text_problem(t))]


def to_bytes(document: ConfigDocument) -> bytes:
    """The blob; the same bytes for the same document. InvalidArgument for what `parse` would not read again."""
    why = problem(document.config) or next((f"history {w}" for h in document.history for w in _history_problems(h)), "")
    if not why and len(document.diff_ids) > MAX_LAYERS:
        why = f"it has more than {MAX_LAYERS} layers"
    if why or (why := text_problem(document.author) and f"author {text_problem(document.author)}"):
        raise InvalidArgument(f"the image's config is not valid: {why}", kind="image", reason="INVALID_CONFIG")
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
