"""One card for each job on a machine with several: a lock that dies with its process, and CUDA_VISIBLE_DEVICES.

Snakemake counts GPUs but does not say which (`resources: gpu` in profiles/default). Here a job takes the first card
whose lock file is free, by `flock`: the kernel drops the lock when the process ends, however it ends. A training takes
a card for itself; cells may share one, `cells_per_gpu` of the config at a time. SLURM chooses cards itself and is left
alone.

ZSR_GPUS="0,1" names the cards to use, in any form that CUDA_VISIBLE_DEVICES takes; without it the cards of an
inherited CUDA_VISIBLE_DEVICES are used, or all that the driver lists. ZSR_GPU_LOCKS is the folder of the lock files,
which all who share a machine must share.
"""

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path

from zsr.errors import ZsrError

held: list[int] = []  # descriptors of this process's locks, open until it ends


def take(count: int = 1, share: int = 1, every: float = 1.0) -> list[str]:
    """Wait for `count` whole cards, or (share > 1) for one of `share` places on a card; call before importing torch."""
    if "SLURM_JOB_ID" in os.environ:
        return []
    cards = known_cards()
    if count > len(cards):
        raise ZsrError(f"this job needs {count} GPUs, there are {len(cards)} ({', '.join(cards) or 'none'})")
    told = False
    while True:
        chosen = _try(cards, count, share)
        if chosen:
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the driver's numbers, and not the fastest card first
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
            return chosen
        if not told:
            print(f"all GPUs are taken ({', '.join(cards)}); waiting for one", file=sys.stderr, flush=True)
            told = True
        time.sleep(every)


def take_for(spec: dict) -> None:
    """A training has a card for each of its processes; other jobs may share one (ZSR_CELLS_PER_GPU, from the rules)."""
    if spec["job"] in ("pretrain", "finetune"):
        take(count=spec["recipe"].get("processes", 1))
    else:
        take(share=int(os.environ.get("ZSR_CELLS_PER_GPU", "1")))


def known_cards() -> list[str]:
    """The cards that jobs may use."""
    said = os.environ.get("ZSR_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES"))
    if said is not None:
        return [card.strip() for card in said.split(",") if card.strip()]
    driver = Path("/proc/driver/nvidia/gpus")
    return [str(i) for i in range(len(list(driver.iterdir())))] if driver.is_dir() else ["0"]


def _try(cards: list[str], count: int, share: int) -> list[str]:
    """All that is wanted, or nothing and no lock kept."""
    taken: list[tuple[str, list[int]]] = []
    for card in cards:
        locks = _lock_shared(card, share) if share > 1 else _lock_whole(card)
        if locks:
            taken.append((card, locks))
            if len(taken) == count:
                held.extend(lock for _, locks in taken for lock in locks)
                return [card for card, _ in taken]
    for _, locks in taken:
        _drop(locks)
    return []


def _lock_whole(card: str) -> list[int]:
    """The card for this process alone."""
    lock = _lock(card, fcntl.LOCK_EX)
    return [lock] if lock is not None else []


def _lock_shared(card: str, share: int) -> list[int]:
    """One of the places on a card that no process has for itself."""
    common = _lock(card, fcntl.LOCK_SH)
    if common is None:
        return []
    for number in range(share):
        own = _lock(f"{card}.{number}", fcntl.LOCK_EX)
        if own is not None:
            return [common, own]
    _drop([common])
    return []


def _lock(name: str, kind: int) -> int | None:
    """The descriptor of a lock, or None if another process has it."""
    folder = Path(os.environ.get("ZSR_GPU_LOCKS", tempfile.gettempdir()))
    safe = "".join(sign if sign.isalnum() or sign in ".-" else "_" for sign in name)
    before = os.umask(0)  # other users must be able to open it too
    try:
        descriptor = os.open(folder / f"zsr-gpu-{safe}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    finally:
        os.umask(before)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _drop(locks: list[int]) -> None:
    for lock in locks:
        os.close(lock)
