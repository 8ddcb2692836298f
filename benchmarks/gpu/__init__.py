"""What only a GPU can answer: `benchmarks/on_gpu.py` runs the parts, `questions.py` says what each row is asked for."""
