"""`argosy volume`."""
