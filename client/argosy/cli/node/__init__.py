"""`argosy node`."""
