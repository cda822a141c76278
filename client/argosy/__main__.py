"""`python -m argosy`."""

from __future__ import annotations

from argosy.cli import main

if __name__ == "__main__":
    main()
