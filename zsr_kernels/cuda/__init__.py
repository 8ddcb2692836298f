"""Triton kernels, imported on the first CUDA call of an op. One program handles one block of one image.

Every load is widened to float32 at once: the interpreter computes bfloat16 on bit patterns, and a sum in half precision
is no sum. Minimum and maximum propagate NaN: Triton's default would turn a NaN pixel into a valid black one.
"""
