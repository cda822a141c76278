"""A real registry (Debian's docker-registry) on loopback, in a namespace, and images that other tools make."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.daemon import REPOSITORY, Daemon
from tests.harness.tokens import ISSUER, SERVICE, make_authority

READY_TIMEOUT = 20.0


class Registry:
    """Serves on 127.0.0.1:PORT inside a daemon's namespace."""

    def __init__(
        self, daemon: Daemon, port: int = 5000, *, user: str = "", password: str = "", tokens: int = 0
    ) -> None:
        """With a user it asks for name and password; with `tokens`, the port of a token service, for its tokens."""
        self._namespace = daemon.name
        self.port = port
        self.base = Path(tempfile.mkdtemp(prefix="argosy-registry-"))
        self.credentials = f"{user}:{password}" if user else ""
        auth = ""
        self._tokens: subprocess.Popen[bytes] | None = None
        if tokens:
            auth = self._token_service(tokens, user, password)
        elif user:
            made = subprocess.run(["htpasswd", "-Bbn", user, password], capture_output=True, text=True, check=True)
            (self.base / "htpasswd").write_text(made.stdout)
            auth = f"auth: {{htpasswd: {{realm: test, path: {self.base}/htpasswd}}}}\n"
        (self.base / "config.yml").write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {self.base}/data}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "127.0.0.1:{port}"}}\n{auth}'
        )
        with (self.base / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "nsenter",
                    f"--net=/run/netns/{self._namespace}",
                    "docker-registry",
                    "serve",
                    f"{self.base}/config.yml",
                ],
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _token_service(self, port: int, user: str, password: str) -> str:
        make_authority(self.base)
        script = str(REPOSITORY / "tests/harness/tokens.py")
        self._tokens = subprocess.Popen(
            [
                "nsenter",
                f"--net=/run/netns/{self._namespace}",
                sys.executable,
                script,
                str(port),
                str(self.base),
                user,
                password,
            ],
            stdout=subprocess.PIPE,
        )
        assert self._tokens.stdout is not None
        assert self._tokens.stdout.readline() == b"serving\n"
        realm = f'"http://127.0.0.1:{port}/token"'
        bundle = f"{self.base}/token.crt"
        return f"auth: {{token: {{realm: {realm}, service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {bundle}}}}}\n"

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            probe = [
                "nsenter",
                f"--net=/run/netns/{self._namespace}",
                "curl",
                "-s",
                f"http://127.0.0.1:{self.port}/v2/",
            ]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the registry did not start:\n{(self.base / 'log').read_text()}")

    @property
    def host(self) -> str:
        """As it stands in references."""
        return f"127.0.0.1:{self.port}"

    def put(self, layout: Path, tag: str, name: str) -> None:
        """Copies an image from an OCI layout into the registry, with skopeo."""
        credentials = [f"--dest-creds={self.credentials}"] if self.credentials else []
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._namespace}", "skopeo", "copy", "-q", "--dest-tls-verify=false",
             *credentials, f"oci:{layout}:{tag}", f"docker://{self.host}/{name}"],
            check=True,
        )  # fmt: skip

    def inspect(self, name: str) -> str:
        """What skopeo says of an image here, JSON."""
        credentials = [f"--creds={self.credentials}"] if self.credentials else []
        command = ["nsenter", f"--net=/run/netns/{self._namespace}", "skopeo", "inspect", "--tls-verify=false"]
        return subprocess.run(
            [*command, *credentials, f"docker://{self.host}/{name}"], check=True, capture_output=True, text=True
        ).stdout

    def blob(self, digest: str) -> Path:
        """The file of a blob, to be tampered with."""
        digits = digest.removeprefix("sha256:")
        return self.base / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"

    def close(self) -> None:
        """Ends it and removes what it held."""
        self._process.terminate()
        self._process.wait(timeout=10)
        if self._tokens is not None:
            self._tokens.kill()
            self._tokens.communicate()
        shutil.rmtree(self.base, ignore_errors=True)


def make_layout(base: Path) -> Path:
    """An image of two layers made by umoci, with every kind of entry and with deletions; tag "v1"."""
    layout, bundle = base / "layout", base / "bundle"
    umoci = ["umoci"]
    subprocess.run([*umoci, "init", "--layout", str(layout)], check=True, capture_output=True)
    subprocess.run([*umoci, "new", "--image", f"{layout}:v1"], check=True, capture_output=True)
    for make in (_first_layer, _second_layer):
        subprocess.run([*umoci, "unpack", "--image", f"{layout}:v1", str(bundle)], check=True, capture_output=True)
        make(bundle / "rootfs")
        subprocess.run([*umoci, "repack", "--image", f"{layout}:v1", str(bundle)], check=True, capture_output=True)
        shutil.rmtree(bundle)
    subprocess.run(
        [*umoci, "config", "--image", f"{layout}:v1", "--config.cmd", "sh", "--config.env", "FROM=umoci"],
        check=True, capture_output=True,
    )  # fmt: skip
    return layout


def _first_layer(root: Path) -> None:
    script = r"""
set -e; cd "$1"
mkdir -p bin etc dev data/old data/kept tmp 'odd name' empty
cp /bin/busybox bin/; for a in sh cat ls true sleep httpd; do ln -s busybox bin/$a; done
echo root:x:0:0:root:/root:/bin/sh > etc/passwd
# Two images made within a second must not share a layer: tests of downloads need one that is not there yet.
cat /proc/sys/kernel/random/uuid > etc/unique
echo gone > etc/gone; echo a > data/old/a; echo k > data/kept/k
ln bin/busybox bin/hard; ln -s /etc/passwd etc/absolute; ln -s ../etc 'odd name/up'
mkfifo data/fifo; mknod dev/null c 1 3; mknod dev/loop7 b 7 7
chown -R 12:34 data/kept; chmod 4711 bin/hard; chmod 1777 tmp; chmod 0 empty
setfattr -n user.note -v hello data/kept/k
setcap cap_net_raw+ep bin/busybox 2>/dev/null || true
printf 'umlaut' > 'data/ä ö'; touch -d '2001-02-03 04:05:06.123456789 UTC' data/kept/k
touch -hd '2002-02-02 UTC' bin/sh
"""
    subprocess.run(["bash", "-c", script, "-", str(root)], check=True)


def _second_layer(root: Path) -> None:
    script = r"""
set -e; cd "$1"
rm etc/gone; rm -r data/old; mkdir data/old; echo new > data/old/b; echo changed > data/kept/more
rm bin/ls; ln -s /bin/busybox bin/ls
"""
    subprocess.run(["bash", "-c", script, "-", str(root)], check=True)
