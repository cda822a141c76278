"""Configs of images are foreign bytes: each is read whole, or refused in one line, wherever it comes from."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon, no_defects

from argosy.errors import ArgosyError, DataLoss, InvalidArgument
from argosyd.codec import dumps, loads
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import rules
from argosyd.images import changes, config_rules, oci_config
from argosyd.images import manifest as manifests
from argosyd.images.model import ImageConfig
from argosyd.images.oci_config import ConfigDocument
from argosyd.units import Timestamp

DEEP = "/a" * 1500
NUL = "a\0b"
LONE = "\ud800"


def document(**config: Any) -> dict[str, Any]:
    return {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": []}}


def read(value: object) -> ConfigDocument:
    return oci_config.parse(json.dumps(value).encode())


WRONG: dict[str, dict[str, Any]] = {
    "deep working directory": {"WorkingDir": DEEP},
    "long working directory": {"WorkingDir": "/" + "x" * 5000},
    "NUL in the working directory": {"WorkingDir": f"/{NUL}"},
    "endless user": {"User": "9" * 5000},
    "user on two lines": {"User": "root\nnobody"},
    "NUL in the user": {"User": NUL},
    "NUL in the command": {"Cmd": ["/bin/true\0", "x"]},
    "NUL in the entrypoint": {"Entrypoint": [NUL]},
    "NUL in the environment": {"Env": [f"A={NUL}"]},
    "half a letter": {"Env": [f"A={LONE}"]},
    "half a letter in a label": {"Labels": {LONE: "x"}},
    "endless variable": {"Env": ["A=" + "x" * (200 << 10)]},
    "endless label": {"Labels": {"a": "x" * (2 << 20)}},
    "command of numbers": {"Cmd": [1, 2]},
    "command that is an object": {"Cmd": {"a": "b"}},
    "environment that is an object": {"Env": {"A": "b"}},
    "labels that are a list": {"Labels": ["a=b"]},
    "label of a number": {"Labels": {"a": 1}},
    "volumes that are a list": {"Volumes": ["/a"]},
    "deep volume": {"Volumes": {DEEP: {}}},
    "NUL in a volume": {"Volumes": {f"/{NUL}": {}}},
    "too many volumes": {"Volumes": {f"/v{n}": {} for n in range(5000)}},
    "endless port": {"ExposedPorts": {"9" * 5000: {}}},
    "ports that are a number": {"ExposedPorts": 80},
    "user that is a number": {"User": 0},
    "NUL in the signal": {"StopSignal": NUL},
    "endless signal": {"StopSignal": "9" * 5000},
    "probe beyond any time": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 10**400}},
    "probe at half a time": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1.5}},
    "probe without end": {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 2**70}},
    "probe of numbers": {"Healthcheck": {"Test": [1]}},
    "NUL in a probe": {"Healthcheck": {"Test": ["CMD", NUL]}},
    "probe that is a text": {"Healthcheck": "CMD true"},
    "trigger of a number": {"OnBuild": [1]},
    "shell of nothing": {"Shell": [None]},
}


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_what_no_container_can_be_made_from_is_refused_when_it_is_read(config: dict[str, Any]) -> None:
    with pytest.raises(DataLoss) as caught:
        read(document(**config))
    assert caught.value.reason in ("INVALID_CONFIG", "INVALID_MANIFEST")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "whole",
    [
        [], None, 7, {}, {"rootfs": None}, {"rootfs": {"diff_ids": ["../../etc"]}}, {"rootfs": {"diff_ids": [1]}},
        {**document(), "config": []}, {**document(), "history": {}}, {**document(), "history": [1]},
        {**document(), "history": [{"created_by": 5}]}, {**document(), "history": [{"comment": NUL}]},
        {**document(), "history": [{}] * 20_000}, {**document(), "author": LONE}, {**document(), "os": ["linux"]},
        {**document(), "rootfs": {"diff_ids": ["sha256:" + "0" * 64] * 501}},
    ],
)  # fmt: skip
def test_documents_that_are_no_config(whole: object) -> None:
    with pytest.raises(DataLoss):
        read(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"config":' + b"9" * 5000 + b"}",
        b" " * (5 << 20),
    ],
)
def test_bytes_that_are_no_json(data: bytes) -> None:
    for parse in (oci_config.parse, manifests.parse):
        with pytest.raises(DataLoss):
            parse(data)


def test_what_other_tools_write_is_read() -> None:
    config = read(
        document(
            User=None, Env=None, Cmd="one", Entrypoint=None, Labels={"a": None}, Volumes=None, ExposedPorts={"80/tcp": {}},
            WorkingDir="", Healthcheck=None, AttachStdin=False, Image="sha256:x", OnBuild=None,
        )
    ).config  # fmt: skip
    assert config == ImageConfig(cmd=("one",), labels={"a": ""}, exposed_ports=("80/tcp",))


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z", "x"],
)
def test_times_that_are_none(text: str) -> None:
    assert oci_config.parse_time(text) == 0


TEXTS = st.text(max_size=8) | st.sampled_from([NUL, LONE, DEEP, "9" * 5000, "/", "..", "80/tcp", "CMD"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 10**300, 0])
KEYS = st.sampled_from(
    ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Shell",
     "Healthcheck", "OnBuild", "Test", "Interval", "Timeout", "Retries", "StartPeriod", "created", "history", "author"]
)  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXTS, inner, max_size=4),
    max_leaves=20,
)
LIKELY = st.lists(TEXTS, max_size=3)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "User": TEXTS | ANY, "WorkingDir": TEXTS | ANY, "StopSignal": TEXTS | ANY, "Env": LIKELY | ANY, "Cmd": LIKELY | ANY,
        "Entrypoint": LIKELY | ANY, "Shell": LIKELY | ANY, "OnBuild": LIKELY | ANY,
        "Labels": st.dictionaries(TEXTS, TEXTS, max_size=3) | ANY, "Volumes": st.dictionaries(TEXTS, ANY, max_size=3) | ANY,
        "ExposedPorts": st.dictionaries(TEXTS, ANY, max_size=3) | ANY,
        "Healthcheck": st.fixed_dictionaries({"Test": LIKELY}, optional={"Interval": NUMBERS, "Retries": NUMBERS}) | ANY,
    },
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(CONFIGS | ANY, st.dictionaries(KEYS, ANY, max_size=3))
@example({"Env": [LONE]}, {})
@example({"Healthcheck": {"Test": ["CMD"], "Interval": 10**400}}, {})
@example({}, {"created": "0001-01-01T00:00:00+23:59"})
def test_any_config_is_kept_whole_or_refused(config: Any, more: dict[str, Any]) -> None:
    try:
        found = read({**document(), **more, "config": config})
    except ArgosyError as error:
        found, said = None, str(error)
    else:
        said = ""
    assert len(said) < 500
    if found is None:
        return
    # It can be written again, recorded, and held against the rules of a container.
    assert oci_config.parse(oci_config.to_bytes(found)).config == found.config
    assert loads(ImageConfig, dumps(found.config)) == found.config
    dumps(found.config).encode()
    assert config_rules.problem(found.config) == ""


def test_what_is_made_here_keeps_the_same_rules() -> None:
    for config in (ImageConfig(working_dir=DEEP), ImageConfig(env=(f"A={NUL}",)), ImageConfig(user="x" * 300)):
        made = ConfigDocument("amd64", "linux", config, (), (), Timestamp(1))
        with pytest.raises(InvalidArgument):
            oci_config.to_bytes(made)
        with pytest.raises(InvalidArgument) as caught:
            rules.check(ContainerSpec("old"), config)
        assert caught.value.reason == "INVALID_CONFIG"


@pytest.mark.parametrize(
    "line",
    [f"HEALTHCHECK --interval={'9' * 5000}s CMD x", f"HEALTHCHECK --retries={'9' * 5000} CMD x", "HEALTHCHECK --retries=² CMD x",
     f"EXPOSE {'9' * 5000}", "EXPOSE ٣"],
)  # fmt: skip
def test_changes_with_numbers_that_are_none(line: str) -> None:
    with pytest.raises(InvalidArgument):
        changes.apply(ImageConfig(), [line])


# -- through the daemon -------------------------------------------------------------------------------------------


def blob(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(config: bytes, *, docker: bool) -> bytes:
    """An image of one small layer with this config, as `docker save` or as OCI tools write it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    files = {"layer.tar": layer.getvalue(), "config.json": config}
    if docker:
        entry = {"Config": "config.json", "RepoTags": ["hostile:1"], "Layers": ["layer.tar"]}
        files["manifest.json"] = json.dumps([entry]).encode()
    else:
        descriptors = [
            {"mediaType": kind, "digest": f"sha256:{blob(data)}", "size": len(data)}
            for kind, data in ((manifests.OCI_CONFIG, config), (manifests.OCI_LAYER, layer.getvalue()))
        ]
        manifest = json.dumps({"schemaVersion": 2, "config": descriptors[0], "layers": descriptors[1:]}).encode()
        files = {f"blobs/sha256/{blob(data)}": data for data in (config, layer.getvalue(), manifest)}
        named = {"org.opencontainers.image.ref.name": "hostile:1"}
        top = {"mediaType": manifests.OCI_MANIFEST, "digest": f"sha256:{blob(manifest)}", "size": len(manifest)}
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [{**top, "annotations": named}]}).encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return whole.getvalue()


def config_bytes(**config: Any) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    whole = document(**config)
    whole["rootfs"]["diff_ids"] = [f"sha256:{blob(layer.getvalue())}"]
    return json.dumps(whole).encode()


daemon = a_daemon("configs", at_end=no_defects)


def refused(result: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of a refusal that is the user's to act on."""
    lines = result.stderr.decode().strip().splitlines()
    said = "\n".join(line for line in lines if not line.endswith(": Loading layer"))
    assert result.returncode not in (0, 70), said
    assert len(said.splitlines()) == 1, said
    assert "internal error" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize(
    "name", ["deep working directory", "NUL in the command", "endless user", "half a letter", "probe beyond any time"]
)
def test_a_hostile_image_is_refused_at_the_door(daemon: Daemon, name: str, docker: bool) -> None:
    said = refused(daemon.argosy("load", stdin=archive(config_bytes(**WRONG[name]), docker=docker)))
    assert "config" in said
    assert b"hostile" not in daemon.argosy("images").stdout


def test_a_volume_over_everything_is_refused(daemon: Daemon) -> None:
    daemon.argosy("load", stdin=archive(config_bytes(Volumes={"/": {}}, Cmd=["/x"]), docker=True), check=True)
    assert "'/'" in refused(daemon.argosy("create", "hostile:1"))
    daemon.argosy("rmi", "hostile:1", check=True)


def test_documents_of_an_archive_of_any_shape(daemon: Daemon) -> None:
    for name, shapes in (
        (
            "manifest.json",
            ("{}", "[1]", '[{"Config":1}]', '[{"Layers":7}]', '[{"RepoTags":{}}]', "[" * 100_000, "nul\0"),
        ),
        ("index.json", ("[]", '{"manifests":{}}', '{"manifests":[1]}', '{"manifests":[{"digest":7}]}', "{" * 10)),
    ):
        for shape in shapes:
            whole = io.BytesIO()
            with tarfile.open(fileobj=whole, mode="w") as tar:
                info = tarfile.TarInfo(name)
                info.size = len(shape)
                tar.addfile(info, io.BytesIO(shape.encode()))
            refused(daemon.argosy("load", stdin=whole.getvalue()))


def test_builds_commits_and_imports_make_no_such_config_either(daemon: Daemon) -> None:
    daemon.argosy("create", "--name", "plain", "busybox", "true", check=True)
    for change in (f"WORKDIR {DEEP}", f"USER {'9' * 5000}", f"STOPSIGNAL {'9' * 5000}"):
        refused(daemon.argosy("commit", "--change", change, "plain"))
    daemon.argosy("rm", "plain", check=True)
    for line in (
        f"WORKDIR {DEEP}",
        "RUN echo \0 hidden",
        'CMD ["a\\u0000b"]',
        "ENV A=a\0b",
        f"USER {'x' * 300}",
        f"ENV A={'x' * (200 << 10)}",
    ):
        text = f"FROM busybox\n{line}\n".encode()
        result = daemon.argosy("build", "--network", "none", "-f", "-", "-q", "-t", "hostile:2", ".", stdin=text)
        assert result.returncode != 0, line
        assert b"internal error" not in result.stderr, result.stderr
    assert b"hostile" not in daemon.argosy("images").stdout


def test_the_daemon_starts_again_afterwards(daemon: Daemon) -> None:
    daemon.restart()
    assert daemon.argosy("run", "--rm", "--network", "none", "busybox", "echo", "well").stdout == b"well\n"
