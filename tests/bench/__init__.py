"""`make bench`: argosy side by side with docker and podman, where they are installed, in one run."""
