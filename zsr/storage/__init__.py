"""Results on disk: where each lies, how it is written and checked."""
