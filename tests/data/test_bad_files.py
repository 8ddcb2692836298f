"""Tables of bad files: whatever is wrong with one, the mistake is one line that names it; no label is cut."""
