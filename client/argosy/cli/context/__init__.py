"""`argosy context`."""
