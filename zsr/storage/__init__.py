"""Results on disk: their paths, how each kind of file is written, read and checked."""
