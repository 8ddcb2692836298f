"""The tables of the report, from the records of all cells."""
