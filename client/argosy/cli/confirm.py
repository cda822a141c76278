"""Asks the person before something is lost."""

from __future__ import annotations

import sys

from argosy.cli.output.plain import plain


def confirm(warning: str) -> bool:
    """Whether "y" was answered; nothing on standard input is a no."""
    sys.stdout.flush()
    sys.stderr.write(f"{plain(warning)}\nAre you sure you want to continue? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
