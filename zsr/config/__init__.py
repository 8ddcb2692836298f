"""From the text of a config to a complete, checked one. Imports no torch."""
