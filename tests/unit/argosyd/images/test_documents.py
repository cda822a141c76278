"""argosyd.images.manifest, oci_config, auth: documents from strangers."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import ArgosyError, DataLoss, NotFound, Unsupported
from argosyd.images import manifest as manifests
from argosyd.images import oci_config
from argosyd.images.manifest import Descriptor, Index, Manifest, Platform
from argosyd.images.model import HealthCheck, HistoryEntry, ImageConfig
from argosyd.images.oci_config import ConfigDocument
from argosyd.images.registry import auth
from argosyd.units import Seconds, Timestamp

KEYS = [
    "schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "rootfs", "diff_ids",
    "history", "Env", "Healthcheck", "Test", "urls", "created",
]  # fmt: skip
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HELM = json.dumps(
    {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": A, "size": 1}, "layers": []}
).encode()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(KEYS), inner, max_size=5),
)  # fmt: skip


def test_a_manifest_reads_back() -> None:
    made = Manifest(Descriptor(manifests.OCI_CONFIG, A, 2), (Descriptor(manifests.OCI_LAYER_GZIP, B, 3),))
    assert manifests.parse(made.to_bytes()) == made


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for read in (manifests.parse, oci_config.parse):
        with contextlib.suppress(ArgosyError):
            read(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b'{"layers":[],"config":{"digest":"../../etc","size":1}}'])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(DataLoss):
        manifests.parse(data)


def test_schema_one_and_artifacts_are_named() -> None:
    with pytest.raises(Unsupported, match="version 1"):
        manifests.parse(b'{"schemaVersion":1}')
    with pytest.raises(Unsupported, match="helm"):
        manifests.parse(HELM)


def _index(*platforms: tuple[str, str, str]) -> Index:
    return Index(
        tuple(
            Descriptor(
                manifests.OCI_MANIFEST, f"sha256:{n:064}", 1, {"os": os, "architecture": arch, "variant": variant}
            )
            for n, (os, arch, variant) in enumerate(platforms)
        )
    )


def test_the_platform_is_chosen() -> None:
    index = _index(("linux", "arm64", ""), ("linux", "amd64", ""), ("linux", "arm", "v6"), ("linux", "arm", "v7"))
    assert manifests.choose(index.manifests, Platform("linux", "amd64"), "x").digest.endswith("1")
    assert manifests.choose(index.manifests, Platform("linux", "arm", "v7"), "x").digest.endswith("3")
    assert manifests.choose(index.manifests, Platform("linux", "arm64", "v8"), "x").digest.endswith("0")
    with pytest.raises(NotFound, match="linux/amd64, linux/arm"):
        manifests.choose(index.manifests, Platform("linux", "s390x"), "x")


def test_a_config_reads_back() -> None:
    config = ImageConfig(
        user="1:2", exposed_ports=("80/tcp",), env=("A=b",), entrypoint=("/x",), cmd=("y",), volumes=("/v",),
        working_dir="/w", labels={"l": "m"}, stop_signal="SIGINT", shell=("/bin/bash", "-c"),
        health_check=HealthCheck(("CMD", "t"), Seconds(1.5), retries=2), on_build=("RUN x",),
    )  # fmt: skip
    history = (HistoryEntry(Timestamp(1_700_000_000_123_456_789), "RUN x"), HistoryEntry(empty_layer=True, comment="c"))
    document = ConfigDocument("arm64", "linux", config, (A,), history, Timestamp(5_000_000_001), "me", "v8")
    assert oci_config.parse(oci_config.to_bytes(document)) == document


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.000000001Z", 1_000_000_001),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert oci_config.parse_time(text) == ns


def test_chain_ids_are_those_of_the_specification() -> None:
    assert oci_config.chain_id([]) == ""
    assert oci_config.chain_id([A]) == A
    # echo -n "$A $B" | sha256sum
    assert oci_config.chain_id([A, B]) == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"


def test_challenges() -> None:
    header = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
    challenge = auth.parse_challenge(header)
    assert challenge is not None
    assert (challenge.scheme, challenge.parameters["realm"]) == ("bearer", "https://auth.docker.io/token")
    assert auth.token_query(challenge, "", None) == [
        ("service", "registry.docker.io"),
        ("scope", "repository:a/b:pull,push"),
    ]
    assert auth.parse_challenge("") is None


@given(st.text())
def test_any_challenge_header(text: str) -> None:
    auth.parse_challenge(text)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"WorkingDir": "/a\0b"}, "NUL byte"),
        ({"Env": ["A=\0"]}, "NUL byte"),
        ({"Healthcheck": {"Test": ["CMD", "\0"]}}, "NUL byte"),
        ({"WorkingDir": "/" * 5_000}, "longer than 4095"),
        ({"Volumes": {"/" + "v" * 5_000: {}}}, "longer than 4095"),
        ({"Env": ["A"] * 5_000}, "Env has more than 4096"),
        ({"Env": ["A=" + "b" * (1 << 20)]}, "more than 1 MiB"),
        ({"OnBuild": ["RUN x"] * 257}, "OnBuild has more than 256"),
        ({"Cmd": ["x"] * 20_001}, "Cmd has more than 20000"),
    ],
)
def test_a_config_that_no_container_can_have_is_refused(config: dict[str, object], words: str) -> None:
    document = {"config": config, "rootfs": {"diff_ids": []}}
    with pytest.raises(DataLoss, match=words):
        oci_config.parse(json.dumps(document).encode())


def test_a_health_check_without_a_test_is_none() -> None:
    for test in (None, [], ""):
        document = {"config": {"Healthcheck": {"Test": test}}, "rootfs": {"diff_ids": []}}
        assert oci_config.parse(json.dumps(document).encode()).config.health_check is None


@pytest.mark.parametrize(
    "document",
    [
        {"layers": [{}] * 1_001, "config": {}},
        {"manifests": [{}] * 5_001},
        {"layers": [], "config": {"digest": "sha256:" + "a" * 64, "size": 5 << 20}},
        {"layers": [], "config": {"digest": "sha256:" + "a" * 64, "size": 1 << 70}},
        {"layers": [], "config": {}, "mediaType": ["x"]},
    ],
)  # fmt: skip
def test_a_manifest_that_is_too_large_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(DataLoss):
        manifests.parse(json.dumps(document).encode())
