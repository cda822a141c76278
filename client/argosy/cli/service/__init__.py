"""`argosy service`."""
