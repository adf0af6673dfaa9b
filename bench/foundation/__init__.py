"""`make bench-foundation`: the rows with a figure of the foundation; each module is one row."""
