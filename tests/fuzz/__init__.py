"""Everything that reads foreign bytes, held against bytes that nobody meant."""
