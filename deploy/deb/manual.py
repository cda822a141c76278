"""Writes the manual pages: `python deploy/deb/manual.py DIRECTORY VERSION`, from the commands' own declarations."""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

from click_man.core import write_man_pages

from argosy.cli import typing_app
from argosyd import config

_DAEMON = """.TH ARGOSYD 8 "" "argosy {version}" "System administration"
.SH NAME
argosyd \\- the argosy container engine's daemon
.SH SYNOPSIS
.B argosyd
[OPTIONS] [serve | check | purge]
.SH DESCRIPTION
.B serve
(what it does unless told otherwise) serves the API until it is ended; containers run on without it.
.B check
says what this host offers and lacks.
.B purge
takes an engine off this host, with its data unless \\-\\-keep\\-data says to leave them.
.SH OPTIONS
Each stands in {file}, too, with underscores in its name; the command line is stronger.
{options}
.SH SIGNALS
.TP
TERM, INT
End it in order; containers run on.
.TP
USR1
Writes what each of its tasks and threads waits for to the file stacks in its run directory.
.SH FILES
.TP
{file}
.TP
/run/argosy/argosy.sock
.TP
/var/lib/argosy
.SH SEE ALSO
.BR argosy (1)
"""


def plain(text: str) -> str:
    """Text as troff leaves it alone."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("\n.", "\n\\&.")


def daemon(version: str) -> str:
    """The page of argosyd."""
    told = []
    for action in config.parser()._actions:
        if action.option_strings:
            value = "" if action.nargs == 0 else f" \\fI{plain(action.dest)}\\fR"
            told.append(
                f".TP\n\\fB{plain(', '.join(action.option_strings))}\\fR{value}\n{plain(action.help or '')}".rstrip()
            )
    return _DAEMON.format(version=plain(version), options="\n".join(told), file=config.DEFAULT_FILE)


def main() -> None:
    """Writes the pages, compressed."""
    to, version = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as scratch:
        write_man_pages("argosy", typing_app.app(), version=version, target_dir=scratch)
        pages = {f"man1/{page.name}": page.read_text() for page in sorted(Path(scratch).iterdir())}
    pages["man8/argosyd.8"] = daemon(version)
    for place, text in pages.items():
        file = to / f"{place}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
