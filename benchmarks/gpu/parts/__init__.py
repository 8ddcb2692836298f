"""The parts of `benchmarks/on_gpu.py`: each file has one function `run(bench)`, and runs in a process of its own."""
