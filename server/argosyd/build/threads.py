"""The threads on which builds read and write trees: as long as those are, so never on the ones that everything shares."""

from argosyd.work import Workers

disk = Workers("reading and writing files of a build", 4, 3600.0)
"""Use `to_the_end`: what is read and written there goes when the step has ended."""
