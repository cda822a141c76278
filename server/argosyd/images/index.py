"""Which images there are and what they are called: in memory for answers, in SQLite for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from argosy.errors import InvalidArgument, NotFound
from argosyd import codec
from argosyd.images import reference
from argosyd.images.model import Image
from argosyd.leftovers import Leftovers
from argosyd.state.database import Database


class ImageIndex:
    """Names to images. What is new is written before it is seen; what is removed is not seen while that is written, so that
    nobody begins to use it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}
        self.whole = True
        """Whether every record could be read. If not, nobody knows all that is needed, and nothing is collected."""

    async def start(self, leftovers: Leftovers) -> None:
        """Reads what there is."""

        def load(connection: sqlite3.Connection) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
            records = [tuple(row) for row in connection.execute("SELECT id, record FROM images")]
            return records, [tuple(row) for row in connection.execute("SELECT name, image_id FROM image_names")]

        records, names = await self._database.read(load)
        for id, record in records:
            with leftovers.apart(f"image {id}"):
                self._images[id] = codec.loads(Image, record, id=id)
        self.whole = len(self._images) == len(records)
        self._names = {name: id for name, id in names if id in self._images}

    def __len__(self) -> int:
        return len(self._images)

    def all(self) -> list[Image]:
        """Every image, the newest first."""
        return sorted((self._named(i) for i in self._images.values()), key=lambda i: (-i.created, i.id))

    def get(self, image_id: str) -> Image | None:
        """An image by its full id."""
        image = self._images.get(image_id)
        return None if image is None else self._named(image)

    def names(self, image_id: str) -> list[str]:
        """Every name of an image, sorted."""
        return sorted(n for n, i in self._names.items() if i == image_id)

    def target(self, name: str) -> str:
        """The id behind a full name; "" when it names nothing."""
        return self._names.get(name, "")

    def _named(self, image: Image) -> Image:
        names = self.names(image.id)
        return replace(
            image,
            repo_tags=tuple(n for n in names if "@" not in n),
            repo_digests=tuple(n for n in names if "@" in n),
        )

    def resolve(self, text: str) -> Image:
        """By name, id or unique prefix of an id. NotFound, InvalidArgument (a prefix that fits several)."""
        found = self._find(text)
        if found is None:
            raise NotFound(f"No such image: {text}", kind="image", id=text, reason="NO_SUCH_IMAGE")
        return self._named(found)

    def _find(self, text: str) -> Image | None:
        exact = self._images.get(text) or self._images.get(f"sha256:{text}")
        if exact is not None:
            return exact
        problem: InvalidArgument | None = None
        try:
            parsed = reference.parse(text).with_default_tag()
            by_digest = f"{parsed.repository}@{parsed.digest}" if parsed.digest else str(parsed)
            if image_id := self._names.get(by_digest):
                return self._images[image_id]
        except InvalidArgument as error:
            problem = error
        if reference.looks_like_id(text):
            prefix = "sha256:" + text.removeprefix("sha256:")
            fits = [i for d, i in self._images.items() if d.startswith(prefix)]
            if len(fits) > 1:
                raise InvalidArgument(
                    f"image id prefix {text} fits {len(fits)} images: write more of it", kind="image", id=text
                )
            if fits:
                return fits[0]
        elif problem is not None:
            raise problem
        return None

    async def put(self, image: Image, names: Iterable[str] = ()) -> Image:
        """Records an image, and names that now mean it."""
        bare = replace(image, repo_tags=(), repo_digests=())
        record, pairs = codec.dumps(bare), [(n, image.id) for n in names]

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO images VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                (image.id, record),
            )
            connection.executemany("INSERT OR REPLACE INTO image_names VALUES (?, ?)", pairs)

        await self._database.write(write, durable=True)
        self._images[image.id] = bare
        self._names.update(pairs)
        return self._named(bare)

    async def unname(self, name: str) -> None:
        """Takes one name away."""
        await self._database.write(lambda c: c.execute("DELETE FROM image_names WHERE name = ?", (name,)), durable=True)
        self._names.pop(name, None)

    async def remove(self, image_id: str) -> None:
        """Takes an image and all its names away."""
        image = self._images.pop(image_id, None)
        names = {n: i for n, i in self._names.items() if i == image_id}
        for name in names:
            del self._names[name]
        try:
            await self._database.write(
                lambda c: c.execute("DELETE FROM images WHERE id = ?", (image_id,)), durable=True
            )
        except BaseException:
            if image is not None:
                self._images[image_id] = image
                self._names = {**names, **self._names}
            raise
