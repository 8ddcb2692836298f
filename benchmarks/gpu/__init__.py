"""The parts of `benchmarks/on_gpu.py`, what they share, and the questions that their rows answer."""

NO_GPU = 3  # exit status of a part whose torch sees no GPU
