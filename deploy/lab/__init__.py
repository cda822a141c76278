"""Many hosts on one machine."""
