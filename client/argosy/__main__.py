"""`python -m argosy`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

if __name__ == "__main__":
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Nothing is begun yet that an interrupt would have to tidy up.
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))
    from argosy.cli import main

    main()
