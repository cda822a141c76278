"""Progress bars on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from argosy.cli.output.plain import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.v1.common_pb2 import Progress


class Bars:
    """A bar for each thing that moves."""

    def __init__(self) -> None:
        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[status]}", markup=False),
            BarColumn(bar_width=40),
            DownloadColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._rich.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._rich.stop()

    def step(self, progress: Progress) -> None:
        """Moves one bar; what has no id is a line above them."""
        if not progress.id:
            self._rich.console.print(plain(progress.status), markup=False, highlight=False)
            return
        if progress.id not in self._tasks:
            self._tasks[progress.id] = self._rich.add_task(plain(progress.id), total=None, status="")
        done = not progress.total and progress.status.lower().endswith(("complete", "exists", "done"))
        self._rich.update(
            self._tasks[progress.id],
            total=progress.total or (1 if done else None),
            completed=progress.current if progress.total else (1 if done else 0),
            status=plain(progress.status),
        )
