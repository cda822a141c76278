"""`argosy network`."""
