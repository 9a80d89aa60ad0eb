"""The outside world: R, AnnData, files."""
