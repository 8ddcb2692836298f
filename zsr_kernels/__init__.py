"""The attack core: one file per op, `reference.py` as the meaning of each, Triton on CUDA. Knows nothing of CLIP.

Importing this package imports neither Triton nor torch's compiler; both come in with the first op that needs them.
"""

from zsr_kernels.apgd_step import apgd_step, apgd_track
from zsr_kernels.dispatch import KernelError
from zsr_kernels.l1_step import l1_step
from zsr_kernels.l2_step import l2_step
from zsr_kernels.linf_step import linf_step
from zsr_kernels.normalisation import Normalisation
from zsr_kernels.normalize import normalize
from zsr_kernels.start import start

__all__ = [
    "KernelError",
    "Normalisation",
    "apgd_step",
    "apgd_track",
    "l1_step",
    "l2_step",
    "linf_step",
    "normalize",
    "start",
]
