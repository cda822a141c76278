"""COPY and ADD: what they mean, what the cache has to know of them, and how they are done."""

from __future__ import annotations

import bz2
import lzma
import posixpath
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from argosy.errors import DataLoss, InvalidArgument, NotFound, Unsupported
from argosyd.build import patterns
from argosyd.build.copy import Copier
from argosyd.build.source import CHUNK, Node, OneFile, Skip, Source, TreeSource, resolve, tree_digest
from argosyd.containers.spec import users
from argosyd.dockerfile.expand import expand_text
from argosyd.dockerfile.limits import Budget
from argosyd.dockerfile.lines import Heredoc
from argosyd.images.changes import checked_path
from argosyd.images.compression import decompress
from argosyd.images.unpack import unpack
from argosyd.trees.remove import discard
from argosyd.trees.root import Root

_ANY_URL = re.compile(r"(https?|ftp|git|ssh)://|git@", re.IGNORECASE)
_URL = re.compile(r"https?://", re.IGNORECASE)
_OCTAL = re.compile(r"[0-7]{1,4}")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_TAR_MAGIC = slice(257, 262)
_XZ_MEMORY = 128 << 20
"""Bytes that unpacking xz may take: `xz -9` asks for 65 MiB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to be copied: a path of a source with links followed, and the name it was asked for by."""

    source: Source
    path: str
    name: str
    node: Node
    remote: bool = False
    """It comes from an URL, which is its name."""

    @property
    def file_name(self) -> str:
        """What it is called in a directory. InvalidArgument when an URL does not say."""
        if not self.remote:
            return posixpath.basename(patterns.literal(self.name).rstrip("/"))
        name = posixpath.basename(unquote(urlsplit(self.name).path))
        if name in ("", ".", ".."):
            raise InvalidArgument(
                f"cannot determine filename from url: {self.name}: name the file in the destination",
                kind="url", id=self.name,
            )  # fmt: skip
        return name


@dataclass(frozen=True, slots=True)
class Transfer:
    """One COPY or ADD, everything expanded and found. `destination` is absolute; a slash at its end means something."""

    keyword: str
    items: tuple[Item, ...]
    destination: str
    documents: tuple[Heredoc, ...] = ()
    chown: str = ""
    mode: int | None = None
    parents: bool = False
    excluder: patterns.Excluder = field(default_factory=lambda: patterns.Excluder(()))
    keep_owners: bool = False

    @property
    def skip(self) -> Skip | None:
        """What --exclude leaves out."""
        return self.excluder if self.excluder else None

    @property
    def into_directory(self) -> bool:
        """Whether the destination must be a directory."""
        return self.destination.endswith("/") or len(self.items) + len(self.documents) > 1 or self.parents

    def facts(self) -> Iterator[str]:
        """All that its result hangs on, for the cache key. Blocking."""
        yield from (self.keyword, self.destination, self.chown, str(self.mode), str(self.parents))
        for item in self.items:
            yield item.name
            yield tree_digest(item.source, item.path, owners=self.keep_owners, skip=self.skip)
        for document in self.documents:
            yield from (document.name, document.content)


def urls(words: Sequence[str]) -> list[str]:
    """Those of an ADD's sources that have to be fetched."""
    return [word for word in words if _URL.match(word)]


def parse_mode(text: str | None) -> int | None:
    """The octal digits of --chmod. InvalidArgument."""
    if text is None:
        return None
    if not _OCTAL.fullmatch(text):
        raise InvalidArgument(f"invalid chmod parameter: {text!r}: expected octal digits, like 755")
    return int(text, 8)


def find(
    keyword: str, source: Source, words: Sequence[str], heredocs: Sequence[Heredoc], variables: Mapping[str, str],
    escape: str, downloads: Mapping[str, Source] | None = None, budget: Budget | None = None, **more: Any,
) -> Transfer:  # fmt: skip
    """Looks up what the sources mean. NotFound, InvalidArgument, Unsupported (URL). Blocking.

    `downloads` holds what was fetched, by URL: each a source with one file, `it`.
    """
    *names, destination = words
    documents = {h.name: h for h in heredocs}
    items: list[Item] = []
    inline: list[Heredoc] = []
    empty: list[str] = []
    for name in names:
        # Each stands for one source: a name written twice finds it once.
        document = documents.pop(name.removeprefix("<<").removeprefix("-").strip("\"'"), None) if "<<" in name else None
        if document is not None:
            content = document.content
            if document.expand:
                content = expand_text(content, variables, escape, budget)
            inline.append(Heredoc(document.name, content, expand=False))
        elif downloads and (fetched := downloads.get(name)) and (node := fetched.lookup("it")):
            items.append(Item(fetched, "it", name, node, remote=True))
        elif _ANY_URL.match(name):
            raise Unsupported(
                f"{name}: only ADD takes URLs, and only those of http and https: fetch it in a RUN",
                kind="url", id=name, reason="URL_UNSUPPORTED",
            )  # fmt: skip
        elif patterns.is_pattern(name):
            found = patterns.matches(source, _checked(name))
            items += [_item(source, path, path) for path in found]
            empty += [] if found else [name]
        else:
            items.append(_item(source, _checked(patterns.literal(name)), name))
    if empty and not items and not inline:
        raise NotFound(f"no files of {source.what} match {', '.join(empty)}", kind="path", id=empty[0],
                       reason="NO_SUCH_FILE")  # fmt: skip
    return Transfer(keyword, tuple(items), destination, tuple(inline), **more)


def _checked(name: str) -> str:
    checked_path(name)
    if posixpath.normpath(name.lstrip("/") or ".").split("/")[0] == "..":
        raise InvalidArgument(
            f"forbidden path outside the build context: {name}: give a path below it",
            kind="path", id=name, reason="OUTSIDE_CONTEXT",
        )  # fmt: skip
    return name.lstrip("/")


def _item(source: Source, path: str, name: str) -> Item:
    real = resolve(source, path)
    node = source.lookup(real) if real is not None else None
    if real is None or node is None:
        clean = posixpath.normpath("/" + path)
        straight = source.lookup(clean[1:])
        if straight is not None and straight.is_link:
            raise NotFound(
                f'"{clean}" in {source.what} is a symbolic link to {straight.link!r}, which is not in it',
                kind="path", id=path, reason="NO_SUCH_FILE",
            )  # fmt: skip
        hint = " (it may be left out by .dockerignore)" if source.what == "the build context" else ""
        raise NotFound(f'"{clean}" not found in {source.what}{hint}', kind="path", id=path, reason="NO_SUCH_FILE")
    return Item(source, real, name, node)


def owner_of(chown: str, root: Root) -> tuple[int, int] | None:
    """The ids that --chown means in an image. InvalidArgument."""
    if not chown:
        return None
    user = users.resolve(chown, root.read_text("/etc/passwd"), root.read_text("/etc/group"))
    name, _, group = chown.partition(":")
    # A number alone is both, as Docker documents it.
    return user.uid, user.uid if name.isdecimal() and not group else user.gid


def perform(transfer: Transfer, root: Path, scratch: Path) -> None:
    """Writes into a root that is mounted and that nobody else writes to. Conflict, DataLoss (archive). Blocking."""
    with Root.at(root) as held:
        _perform(transfer, held, scratch)


def _perform(transfer: Transfer, root: Root, scratch: Path) -> None:
    owner = owner_of(transfer.chown, root)
    copier = Copier(
        root, owner if owner or transfer.keep_owners else (0, 0), transfer.mode, transfer.skip
    )  # fmt: skip
    destination = copier.resolve(transfer.destination)
    into = transfer.into_directory or copier.is_dir(destination)
    if transfer.into_directory:
        copier.make_directories(destination)
    for item in transfer.items:
        local = transfer.keyword == "ADD" and item.node.is_file and not item.remote
        if local and (packing := archive(item.source, item.path)):
            _unpack(item.source, item.path, packing, copier, destination, owner, scratch)
            continue
        target = destination
        if transfer.parents:
            target = _join(destination, item.path)
        elif into and not item.node.is_dir:
            target = _join(destination, item.file_name)
        copier.copy(item.source, item.path, copier.resolve(target) if transfer.parents else target)
    for document in transfer.documents:
        source = _Document(document)
        target = _join(destination, posixpath.basename(document.name)) if into else destination
        copier.copy(source, "it", target)


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


class _Document(OneFile):
    """A here-document."""

    def __init__(self, document: Heredoc) -> None:
        self._data = document.content.encode("utf-8", "surrogateescape")
        super().__init__("a here-document", Node(stat.S_IFREG | 0o644, size=len(self._data)))

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        yield self._data


# -- archives ---------------------------------------------------------------------------------------------------


def archive(source: Source, path: str) -> str:
    """How a tar archive is packed: "plain", "gzip", "bzip2", "xz", "zstd"; "" when the file is none. Blocking."""
    head = next(source.read(path), b"")
    kind = next((k for k, magic in zip(("gzip", "bzip2", "xz", "zstd"), _PACKED, strict=True)
                 if head.startswith(magic)), "plain")  # fmt: skip
    if kind == "plain":
        return "plain" if head[_TAR_MAGIC] == b"ustar" else ""
    try:
        start = b""
        for piece in _pieces(source, path, kind):
            start += piece
            if len(start) >= 512:
                break
    except DataLoss:
        return ""
    return kind if start[_TAR_MAGIC] == b"ustar" else ""


def _pieces(source: Source, path: str, kind: str) -> Iterator[bytes]:
    """The unpacked bytes."""
    if kind not in ("bzip2", "xz"):
        yield from decompress(source.read(path))
        return
    inner: Any = _decompressor(kind)
    try:
        for data in source.read(path):
            while data or not inner.needs_input:
                if out := inner.decompress(data, CHUNK):
                    yield out
                data = b""
                if inner.eof:
                    # Several streams one after another are one.
                    data, inner = inner.unused_data, _decompressor(kind)
    except (OSError, EOFError, MemoryError, lzma.LZMAError):
        raise DataLoss(f"{path} is damaged: it cannot be decompressed", kind="path", id=path) from None


def _decompressor(kind: str) -> Any:
    return bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


def _unpack(
    source: Source, path: str, packing: str, copier: Copier, destination: str, owner: tuple[int, int] | None,
    scratch: Path,
) -> None:  # fmt: skip
    """Unpacks beside the image first: nothing in an archive can write through a link of the image that way."""
    from_tree = Path(tempfile.mkdtemp(dir=scratch, prefix="archive-"))
    try:
        from_tree.chmod(0o755)  # own: made above, in the scratch directory
        pieces = (p for p in _pieces(source, path, packing) if p)
        unpack(pieces, from_tree, layer=False)
        copier.make_directories(destination)
        with Root.at(from_tree) as root:
            tree = TreeSource(root, "an archive")
            Copier(copier.root, owner, copier.mode, copier.skip).copy(tree, "", destination)
    finally:
        discard(from_tree)
