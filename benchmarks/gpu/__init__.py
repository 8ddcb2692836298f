"""The parts of `benchmarks/on_gpu.py`, what they share, and the questions that their rows answer."""
