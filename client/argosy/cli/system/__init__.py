"""`argosy system`."""
