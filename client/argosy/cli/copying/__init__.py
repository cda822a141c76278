"""What `cp` does on this side: where things go, and trees to and from tar streams."""
