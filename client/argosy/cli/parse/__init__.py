"""What users write on command lines, read into values. Nothing here talks to a daemon."""
