"""Talking to registries (OCI distribution specification)."""
