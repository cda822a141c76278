"""`argosy image`."""
