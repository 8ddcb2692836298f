"""Trained models for others: files that open_clip reads, with a model card."""
