"""Image references: `[domain/]path[:tag][@digest]`.

Grammar of the distribution project (distribution/reference, reference.go), with Docker's short names: no domain
means docker.io, and there a path of one part means library/PART.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from argosy.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"
DEFAULT_TAG = "latest"

_COMPONENT = r"[a-zA-Z0-9]++(?:-++[a-zA-Z0-9]++)*+"
_HOST = rf"(?:(?:{_COMPONENT})(?:\.(?:{_COMPONENT}))*|\[[0-9a-fA-F:]+\])"
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]+)?")
_PART = r"[a-z0-9]++(?:(?:\.|__?|-++)[a-z0-9]++)*+"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HEX_ID = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 255
_LONGEST = 1024
"""Characters of a reference: a host name has 253 at most, a name 255, a tag 128, a digest 135."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One image in one repository. At least one of `tag` and `digest` is set once `with_default_tag` was called."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """`docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """As Docker shows it: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        rest = self.path.removeprefix(_OFFICIAL)
        if "/" not in rest:
            return rest
        # A path that begins like a host's name would be read as one.
        return self.repository if _is_host(self.path.partition("/")[0]) else self.path

    def __str__(self) -> str:
        return self.repository + self._suffix

    @property
    def familiar(self) -> str:
        """As Docker shows it: `busybox:latest`."""
        return self.familiar_repository + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_default_tag(self) -> Reference:
        """With `latest` when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)


def _wrong(text: str, why: str) -> InvalidArgument:
    shown = text if len(text) <= _LONGEST else f"{text[:60]}…"
    return InvalidArgument(f"invalid reference format: {shown!r}: {why}", kind="reference", id=shown)


def _is_host(first: str) -> bool:
    """A first part is a host when nothing else could be meant by it (reference/normalize.go, splitDockerDomain)."""
    return any(c in first for c in ".:[") or first == "localhost" or first != first.lower()


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and _is_host(first):
        domain, path = first, rest
    else:
        domain, path = DEFAULT_DOMAIN, name
    if domain in ("index.docker.io", "registry-1.docker.io"):
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def parse(text: str) -> Reference:
    """The reference a user wrote. InvalidArgument says which part is wrong."""
    if len(text) > _LONGEST:
        raise _wrong(text, f"it has more than {_LONGEST} characters")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, "after @ comes a digest such as sha256:… with 64 hexadecimal digits")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag or (tag.isdigit() and "/" not in name and at == "" and name == ""):
        name, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise _wrong(text, "a tag has letters, digits, '_', '.' and '-', at most 128")
    if not name:
        raise _wrong(text, "it has no name")
    if _HEX_ID.fullmatch(name):
        raise _wrong(text, "64 hexadecimal digits are an image id, not a name")
    domain, path = _split_domain(name)
    if not _DOMAIN.fullmatch(domain):
        raise _wrong(text, f"{domain!r} is no host name")
    if not _PATH.fullmatch(path):
        why = "a repository name is lowercase" if path != path.lower() else f"{path!r} is no repository name"
        raise _wrong(text, why)
    if len(path) > _MAX_NAME:
        raise _wrong(text, f"a repository name has at most {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def looks_like_id(text: str) -> bool:
    """Whether a text can be an image id or a prefix of one."""
    return re.fullmatch(r"(?:sha256:)?[0-9a-f]{1,64}", text) is not None
