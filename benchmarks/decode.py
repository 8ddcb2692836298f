"""Decoding ImageNet's kind of JPEG: `prepare` against a plain torchvision DataLoader, on this machine's cores.

    python benchmarks/decode.py --images 20000 --workers 2

Generated pictures of ImageNet's typical size (500×375, quality 90) lie in class folders. Both sides give the same
224×224 pixels (Resize 256, CenterCrop 224, bilinear), which is checked. Reported per side: wall seconds, processor
seconds of the process and its children, images per processor second (what one core does, also on a busy machine), and
the largest resident memory of the process. Each side runs in a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def generate(folder: Path, count: int) -> None:
    """Smooth noise with grain: about 75 KB each, as much work for a decoder as a photograph."""
    from PIL import Image

    rng = np.random.default_rng(0)
    originals = min(count, 100)
    for i in range(count):
        path = folder / f"bench/test/{i % 2}/{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < originals:
            size = (500, 375) if i % 4 else (375, 500)
            coarse = np.clip(rng.normal(128, 60, (size[1] // 8, size[0] // 8, 3)), 0, 255).astype(np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
            pixels = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path, quality=90)
        else:
            path.write_bytes((folder / f"bench/test/{i % originals % 2}/{i % originals:06d}.jpg").read_bytes())


def ours(folder: Path, count: int, workers: int) -> np.ndarray:
    """The job `prepare`; a sample of what it made."""
    os.environ |= {"ZSR_DATA": str(folder), "ZSR_WORKERS": str(workers)}
    from zsr.data.readers.folder import Folder

    source = {"folder": "bench", "set": None, "files": [], "keys": [], "missing": "", "classes": 2, "half": None}
    spec = {"split": "test", "count": count, "transform": "256-224-bilinear", "source": source, "encoded": False}
    Folder().prepare(spec, folder / "images.npy", folder / "labels.npy", "benchmark")
    return np.load(folder / "images.npy", mmap_mode="r")[:64]


def plain(folder: Path, count: int, workers: int) -> np.ndarray:
    """torchvision as everyone writes it; a sample of what it gives."""
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    change = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder / "bench/test", change), batch_size=128, num_workers=workers
    )
    first = None
    for images, _ in loader:
        first = images if first is None else first
    return (first[:64] * 255).round().to(torch.uint8).numpy()


def one(side: str, folder: Path, count: int, workers: int) -> None:
    """In a process of its own: measure one side and print the numbers."""
    if side == "plain":  # a second of imports is no decoding
        import torchvision  # noqa: F401
    else:
        import zsr.data.prepare
        import zsr.data.readers.folder  # noqa: F401
    start, before = time.perf_counter(), os.times()
    sample = {"ours": ours, "plain": plain}[side](folder, count, workers)
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    wall = time.perf_counter() - start
    np.save(folder / f"{side}.npy", sample)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    found = {"side": side, "images": count, "workers": workers, "wall_s": round(wall, 2), "cpu_s": round(used, 2)}
    print(json.dumps({**found, "per_core_s": round(count / used, 1), "peak_mb": round(peak)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one(given.side, given.folder, given.images, given.workers)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, given.images)
        rows = []
        for side in ("plain", "ours"):
            command = [sys.executable, __file__, "--images", str(given.images), "--workers", str(given.workers)]
            done = subprocess.run(
                [*command, "--side", side, "--folder", name], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        same = bool((np.load(folder / "ours.npy") == np.load(folder / "plain.npy")).all())
    for row in rows:
        print(row)
    print(f"same pixels: {same}; ours / plain per core: {rows[1]['per_core_s'] / rows[0]['per_core_s']:.2f}")


if __name__ == "__main__":
    main()
