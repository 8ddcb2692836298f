"""From a config to the graph of jobs, each with its spec and the fingerprint of its code. Imports no torch."""
