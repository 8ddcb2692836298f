"""The figures of the report, from its tables."""
