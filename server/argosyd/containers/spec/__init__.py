"""Makes the OCI runtime spec of a container: pure functions of what was asked, the image and the host."""
