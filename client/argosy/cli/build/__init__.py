"""`argosy build` and `argosy builder`."""
