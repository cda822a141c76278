"""The language of Dockerfiles, as far as more than one room reads it."""
