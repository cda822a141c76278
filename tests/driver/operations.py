"""What the driver does, each as words for the command line, chosen by a seeded source of chance."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

NAMES = [f"box{n}" for n in range(5)]
VOLUMES = [f"vol{n}" for n in range(3)]
NETWORKS = [f"net{n}" for n in range(3)]
IMAGES = [f"img{n}" for n in range(3)]


@dataclass(frozen=True)
class Command:
    """One call of the command line."""

    words: tuple[str, ...]
    stdin: bytes = b""


def _dockerfile(chance: random.Random) -> bytes:
    steps = [f"RUN echo {chance.randrange(4)} > /file{n}" for n in range(chance.randrange(1, 4))]
    if chance.random() < 0.2:
        steps.append("RUN exit 7")
    if chance.random() < 0.3:
        steps.insert(0, "RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t/u touch /cache/x")
    return "\n".join(["FROM busybox", *steps]).encode()


def _archive(chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"copied{chance.randrange(9)}")
        member.size = chance.randrange(200_000)
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def run(chance: random.Random) -> Command:
    words = ["run", "--name", chance.choice(NAMES)]
    detached = chance.random() < 0.7
    words += ["-d"] if detached else []
    words += ["--rm"] if chance.random() < 0.3 else []
    words += chance.choice([[], ["--network=none"], ["--network", chance.choice(NETWORKS)], ["-p", "0:80"]])
    words += chance.choice([[], ["-v", f"{chance.choice(VOLUMES)}:/data"], ["-v", "/anonymous"], ["--tmpfs", "/t"]])
    words += chance.choice([[], [], ["--restart=on-failure:2"], ["--restart=always"], ["--init"], ["--read-only"]])
    words += chance.choice([[], [], [], ["--userns=auto"]])
    last = ["sleep", "1000"] if detached else ["sh", "-c", f"echo {chance.random()}; exit {chance.randrange(3)}"]
    if detached and chance.random() < 0.3:
        last = ["sh", "-c", f"sleep 0.{chance.randrange(9)}; exit {chance.randrange(2)}"]
    image = chance.choices(["busybox", chance.choice(IMAGES), "no-such-image"], [8, 4, 1])[0]
    return Command((*words, image, *last))


def _on(*words: str) -> Callable[[random.Random], Command]:
    return lambda chance: Command((*words, chance.choice(NAMES)))


OPERATIONS: list[tuple[int, Callable[[random.Random], Command]]] = [
    (40, run),
    (4, lambda c: Command(("create", "--name", c.choice(NAMES), "-v", f"{c.choice(VOLUMES)}:/data", "busybox", "true"))),
    (5, _on("start")),
    (7, _on("stop", "-t", "0")),
    (4, _on("kill")),
    (4, _on("restart", "-t", "0")),
    (3, _on("pause")),
    (4, _on("unpause")),
    (7, _on("rm", "-f", "-v")),
    (3, _on("rm")),
    (6, lambda c: Command(("exec", c.choice(NAMES), "sh", "-c", f"echo x > /tmp/f{c.randrange(5)}; exit {c.randrange(3)}"))),
    (4, lambda c: Command(("cp", "-", f"{c.choice(NAMES)}:/tmp"), _archive(c))),
    (4, lambda c: Command(("cp", f"{c.choice(NAMES)}:/etc", "-"))),
    (2, _on("export")),
    (3, lambda c: Command(("commit", c.choice(NAMES), c.choice(IMAGES)))),
    (2, lambda c: Command(("logs", c.choice(NAMES)))),
    (1, _on("diff")),
    (6, lambda c: Command(("build", "-q", "-t", c.choice(IMAGES), *c.choice([(), ("--no-cache",)]), "-"), _dockerfile(c))),
    (3, lambda c: Command(("rmi", *c.choice([(), ("-f",)]), c.choice(IMAGES)))),
    (1, lambda c: Command(("pull", f"127.0.0.1:5000/{c.choice(['one', 'two', 'none'])}"))),
    (1, lambda c: Command(("tag", "busybox", f"127.0.0.1:5000/{c.choice(IMAGES)}"))),
    (1, lambda c: Command(("push", f"127.0.0.1:5000/{c.choice(IMAGES)}"))),
    (3, lambda c: Command(("network", "create", c.choice(NETWORKS)))),
    (2, lambda c: Command(("network", "rm", c.choice(NETWORKS)))),
    (3, lambda c: Command(("network", "connect", c.choice(NETWORKS), c.choice(NAMES)))),
    (2, lambda c: Command(("network", "disconnect", "-f", c.choice(NETWORKS), c.choice(NAMES)))),
    (2, lambda c: Command(("volume", "create", c.choice(VOLUMES)))),
    (2, lambda c: Command(("volume", "rm", c.choice(VOLUMES)))),
    (1, lambda c: Command(("container", "prune", "-f"))),
    (1, lambda c: Command(("image", "prune", "-f"))),
    (1, lambda c: Command(("builder", "prune", "-f"))),
    (1, lambda c: Command(("volume", "prune", "-f"))),
    (1, lambda c: Command(("system", "df"))),
    (1, lambda c: Command(("rename", c.choice(NAMES), c.choice(NAMES)))),
]  # fmt: skip


def choose(chance: random.Random) -> Command:
    """The next command."""
    weights = [weight for weight, _ in OPERATIONS]
    _, operation = chance.choices(OPERATIONS, weights)[0]
    return operation(chance)
