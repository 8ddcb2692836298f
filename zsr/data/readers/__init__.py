"""One file per way of getting images; found by name (`zsr.registry`), never imported from here."""
