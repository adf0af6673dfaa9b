"""Pure conversions: names here, data formats beside it; no I/O, nothing of ours above it."""
