"""Every Triton kernel compiled for a GPU where there is none: to PTX, and by Triton's own ptxas to machine code.

    python tests/support/kernel_builds.py

The launchers run on CPU tensors, and only the launch itself is left out: Triton sees the types, constants and
alignments of a real run. Prints one JSON line per build: [kernel, target, {PTX instruction: how often}].
"""

import json
import os
import re
import sys
import tempfile
from collections import Counter
from types import SimpleNamespace

import torch

FLOATS = re.compile(r"^\s*(?:@!?%p\d+ )?((?:fma|div|rcp|sqrt|rsqrt|max|min)\.\S*f32\S*)", re.MULTILINE)
FLOAT32, HALF = torch.float32, torch.float16
MEAN, STD = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])


def record() -> None:
    """From here on a launch compiles and prints."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    def build(self, *arguments, grid, warmup, **options):
        built = run(self, *arguments, grid=grid, warmup=True, **options)
        assert built.asm["cubin"]
        name = f"{self.__module__.rpartition('.')[2]}.{self.__name__}"
        print(json.dumps([name, f"sm_{target.arch}", Counter(FLOATS.findall(built.asm["ptx"]))]), flush=True)

    run, JITFunction.run = JITFunction.run, build
    for number, target in enumerate((GPUTarget("cuda", 80, 32), GPUTarget("cuda", 90, 32))):
        pretended = {"get_current_device": number, "get_current_stream": 0, "get_current_target": target}
        driver.set_active(SimpleNamespace(**{name: lambda *_, v=value: v for name, value in pretended.items()}))
        launches((2, 3, 8, 8), True, HALF, MEAN, STD)
    for dtype in (FLOAT32, HALF, torch.bfloat16):
        for uint8 in (True, False):
            launches((2, 3, 8, 8), uint8, dtype, MEAN, STD)
    launches((2, 3, 8, 8), False, FLOAT32, None, None)
    launches((2, 3, 8, 8), True, FLOAT32, None, None, 0.01)
    launches((2, 3, 5, 7), True, HALF, MEAN, STD)  # sizes that no vector divides
    launches((1, 3, 1, 1), False, FLOAT32, MEAN, STD)  # a size of 1 is a constant of the kernel
    launches((2, 1), True, FLOAT32, MEAN[:1], STD[:1])


def launches(shape, uint8, dtype, mean, std, step=None) -> None:
    """Each launcher once, with a step per image or one for all."""
    from zsr_kernels import Normalisation
    from zsr_kernels.cuda import apgd_step, apgd_track, l2_step, linf_step, normalize, start

    x, grad, rows = torch.zeros(shape), torch.zeros(shape, dtype=dtype), torch.ones(shape[0])
    x0 = x.to(torch.uint8) if uint8 else x
    step, counts = rows if step is None else step, torch.zeros(shape[0], dtype=torch.int64)
    normalisation = Normalisation(mean, std, dtype)
    normalize.launch(x0, normalisation)
    start.launch(x0, counts, 1, 2, step, normalisation)
    linf_step.launch(x, x0, grad, step, step, normalisation)
    l2_step.launch(x, x0, grad, step, step, normalisation)
    for restore in (None, rows > 0):
        apgd_step.launch(x, x, x, x0, grad, grad, restore, rows, rows, step, normalisation)
    apgd_track.launch(x, grad, rows, x.clone(), grad.clone(), rows.clone(), rows.clone(), counts)


if __name__ == "__main__":
    os.environ.pop("TRITON_INTERPRET", None)
    with tempfile.TemporaryDirectory() as folder:  # what an earlier run has built proves nothing
        os.environ["TRITON_CACHE_DIR"] = folder
        record()
    sys.exit()
