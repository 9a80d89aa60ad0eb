"""Frames and arrays in, frozen results out: no AnnData, no R, no figures, no files."""
