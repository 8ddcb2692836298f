"""Kinds of backbones: one file each with `build(definition) -> Backbone`, found by the `kind` of a definition."""
