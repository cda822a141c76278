"""`argosy container`."""
