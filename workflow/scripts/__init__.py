"""One entry point per rule: read the spec, call the library, write the files."""
