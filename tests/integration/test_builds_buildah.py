"""What a Dockerfile makes here equals, file by file and in its config, what buildah makes of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness.daemon import Daemon, busybox_tar
from tests.harness.trees import describe

BASE = "FROM scratch\nADD base.tar /\n"

# Not among them: a COPY to a link that is there. buildah replaces the link, BuildKit and argosy write where it leads.
CASES = {
    "copy": BASE
    + """
COPY one.txt /
COPY one.txt two.sh /into/
COPY one.txt /renamed
COPY tree /tree
COPY tree/ /slash/
COPY *.txt sub?/x /glob/
COPY ["name with space", "/spaced/"]
WORKDIR /w/d
COPY one.txt .
COPY one.txt ./named
COPY tree/link-to-file /followed
COPY --chown=12:34 two.sh tree /owned/
COPY --chown=bob one.txt /byname/
COPY --chown=bob:wheel one.txt /bygroup/file
COPY --chmod=640 one.txt /mode/
COPY tree /over/
COPY other /over/
""",
    "places": BASE
    + """
RUN mkdir -p /real /x && ln -s real /sym && chmod 700 /x && mkdir -p /real/t/deep
COPY one.txt /sym/
COPY tree /sym/t
COPY one.txt /x
COPY one.txt tree/ /multi/
COPY sub* /subs/
COPY t*e/deep /wild
COPY . /everything/
COPY empty /made/empty
ENV D=/from/env S=one.txt
COPY $S ${D}/
COPY ["one.txt", "name with space", "/json dir/"]
ARG WHO=12
COPY --chown=$WHO:34 one.txt /chowned
USER bob
WORKDIR /bobs/dir
RUN touch mine
COPY one.txt rel/
WORKDIR ../other
RUN pwd > /tmp/where
""",
    "stages": BASE
    + """
RUN mkdir -p /out/d && echo built > /out/d/app && chmod 4755 /out/d/app && ln /out/d/app /out/d/hard && \\
    ln -s d/app /out/link && mkfifo /out/fifo && chown -R 7:8 /out/d && chmod 2711 /out /out/d
FROM scratch AS empty
COPY --from=0 /out /copied
FROM empty
COPY --from=0 /out/link /file
COPY --from=0 --chown=1:2 /out/d /again/
COPY --from=empty /copied/d/app /deep/er/app
""",
    "run": BASE
    + """
ENV A=one B="two words" C=$A-x
ARG D=given
RUN echo "$A $B $C $D" > /env && id -u > /id && pwd > /pwd && umask > /umask
WORKDIR /made/here
RUN pwd > /pwd2; touch relative; rm /etc/group; rm -r /home; mkdir /home; echo new > /home/file
USER bob
RUN id -u > /tmp/id; id -g >> /tmp/id
USER 12:34
RUN id -u > /tmp/id2; id -g >> /tmp/id2
SHELL ["/bin/sh", "-ec"]
RUN echo shell > /tmp/shell
RUN ["/bin/sh", "-c", "echo exec > /tmp/exec"]
""",
    "config": BASE
    + """
ENV PATH=/bin A=1
ENV B 2 three
ENV A="$A+$B"
LABEL one=1 "two words"="x y" quoted='a "b"'
EXPOSE 80 53/udp
VOLUME /data /more
VOLUME ["/json"]
USER bob
WORKDIR /a
WORKDIR b
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=1m30s --retries=4 CMD wget -q localhost
CMD echo "hello $A"
ENTRYPOINT ["/bin/sh", "-c"]
ONBUILD RUN echo trigger
""",
    "add": BASE
    + """
ADD data.tar.gz /unpacked/
ADD data.tar.xz /unpacked-xz
ADD one.txt /plain/
ADD --chown=3:4 tree /plain/tree/
ADD not-a-tar.gz /packed/
""",
}


def make_context(path: Path) -> None:
    """Files of every kind that a context can have."""
    (path / "base.tar").write_bytes(busybox_tar())
    script = r"""
set -e; cd "$1"
echo one > one.txt; echo uno > uno.txt; printf '#!/bin/sh\n' > two.sh; chmod 755 two.sh; echo s > 'name with space'
mkdir -p tree/deep/er sub1 sub2 other/deep empty; echo x > sub1/x; echo y > sub2/y
echo d > tree/deep/er/file; ln -s deep/er/file tree/link-to-file; ln -s /nowhere tree/dangling; ln -s deep tree/to-dir
chmod 700 tree/deep; chmod 600 tree/deep/er/file; echo new > other/deep/new; echo o > other/file; chmod 755 other/deep
printf x | gzip > not-a-tar.gz
find . -exec touch -hd '2003-04-05 06:07:08 UTC' {} +
"""
    subprocess.run(["bash", "-c", script, "-", str(path)], check=True)
    for name, mode in (("data.tar.gz", "w:gz"), ("data.tar.xz", "w:xz")):
        with tarfile.open(path / name, mode) as tar:  # type: ignore[call-overload]
            for entry, kind, link in (
                ("dir", tarfile.DIRTYPE, ""), ("dir/file", tarfile.REGTYPE, ""),
                ("dir/hard", tarfile.LNKTYPE, "dir/file"),
                ("dir/soft", tarfile.SYMTYPE, "/etc/passwd"),
            ):  # fmt: skip
                info = tarfile.TarInfo(entry)
                info.type, info.linkname, info.mode, info.mtime = kind, link, 0o751, 1_000_000_000
                info.uid, info.gid = 21, 43
                info.size = 4 if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(b"data"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("context")
    make_context(path)
    return path


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    made = Daemon(label="build").start()
    try:
        yield made
        assert made.left() == {}
    finally:
        made.close()


LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""A newer buildah asks for more than there is, which a machine may not grant even to root."""


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._store = ["buildah", "--root", f"{base}/root", "--runroot", f"{base}/run", "--storage-driver", "vfs"]

    def build(self, name: str, dockerfile: Path, context: Path) -> Path:
        """An OCI layout with the image under the tag."""
        subprocess.run(
            [*self._store, "bud", "--isolation", "chroot", "--format", "docker", "--identity-label=false", "-q",
             *LIMITS, "-f", dockerfile, "-t", name, context],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        layout = self.base / "layout"
        subprocess.run([*self._store, "push", "-q", name, f"oci:{layout}:{name}"], check=True, capture_output=True)
        return layout


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    base = tmp_path_factory.mktemp("buildah")
    yield Buildah(base)
    shutil.rmtree(base)


def unpack(layout: Path, tag: str, to: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Tree and config of an image, as umoci sees them."""
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:{tag}", str(to)], check=True, capture_output=True)
    index = json.loads((layout / "index.json").read_text())
    manifest = next(
        m["digest"] for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == tag
    )

    def blob(digest: str) -> Any:
        return json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())

    config = blob(blob(manifest)["config"]["digest"])["config"]
    # A newer buildah says it when no WORKDIR does.
    return describe(to / "rootfs"), {"WorkingDir": "/", **config}


RUNTIME_STUBS = ("dev", "proc", "sys", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname")
"""What buildah leaves in a root for its own mounts; argosy takes it away."""


def comparable(tree: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without stubs, without directories' times, and without those of files that a build writes now."""
    kept: dict[str, dict[str, Any]] = {}
    for path, entry in tree.items():
        if path.split("/")[0] in RUNTIME_STUBS or path in RUNTIME_STUBS:
            continue
        entry = dict(entry)
        if entry["mode"].startswith("0o4") or entry["mtime"] > 1_500_000_000_000_000_000:
            del entry["mtime"]
        kept[path] = entry
    return kept


@pytest.mark.parametrize("name", CASES)
def test_the_same_image(daemon: Daemon, buildah: Buildah, context: Path, tmp_path: Path, name: str) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(CASES[name])
    built = daemon.argosy("build", "--network", "none", "-f", str(dockerfile), "-t", name, str(context))
    assert built.returncode == 0, built.stderr.decode()
    daemon.argosy("save", "-o", str(tmp_path / "saved.tar"), name, check=True)
    ours = tmp_path / "ours"
    subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{tmp_path}/saved.tar", f"oci:{ours}:{name}"], check=True)
    theirs = buildah.build(name, dockerfile, context)

    our_tree, our_config = unpack(ours, name, tmp_path / "our-bundle")
    their_tree, their_config = unpack(theirs, name, tmp_path / "their-bundle")
    assert comparable(our_tree) == comparable(their_tree)
    assert our_config == their_config


def test_the_machine_has_what_the_comparison_needs() -> None:
    assert os.geteuid() == 0
    for program in ("buildah", "skopeo", "umoci"):
        assert shutil.which(program), f"install the package {program}"
