"""Finished results, read through the plan: records, training logs, models."""
