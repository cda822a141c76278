"""`argosy cluster`."""
