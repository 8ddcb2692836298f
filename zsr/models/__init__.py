"""Backbones: CLIP models built from `archs/*.yaml` with open_clip's code, and their tokenizers."""
