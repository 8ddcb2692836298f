"""Writes and reads adversarial examples: float32 images to the last bit, in a twelfth to three quarters of the space.

An attack in L-infinity leaves most pixels at x0, x0 + ε or x0 - ε, inside the box. Such a pixel is stored in two bits,
if it is equal to one of the three bit for bit. Any other pixel is stored as the distance of its bit pattern from that
of x0, counted in floats: small numbers, whose high bytes compress away. Every pixel is read as it was written, in every
norm; only the size of the file depends on the pixels.

The file is parquet with one row per example: its index in the prepared split, the two-bit codes, the other pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsr.errors import ZsrError

FORMAT = "zsr examples 1"
FREE = 3  # the code of a pixel that is none of the three candidates


@dataclass(frozen=True)
class Examples:
    """Examples, and which images they were made of."""

    index: np.ndarray  # int64 [n], in the prepared split
    x_adv: np.ndarray  # float32 [n, 3, H, W]


def write_examples(
    path: Path, index: np.ndarray, images: np.ndarray, x_adv: np.ndarray, *, radius: float = 0.0
) -> None:
    """Store `x_adv` [n, 3, H, W], made of `images[index]`; `radius` is ε, which makes L-infinity examples small."""
    index = np.asarray(index, np.int64)
    x_adv = np.ascontiguousarray(x_adv, np.float32)
    if len(index) != len(x_adv) or (len(index) and images.shape[1:] != x_adv.shape[1:]):
        raise ZsrError(f"{path}: {len(index)} places, examples {x_adv.shape}, images {images.shape}: they do not fit")
    ball = np.float32(radius)
    codes, free = [], []
    for image, example in zip(index, x_adv, strict=True):
        code, rest = _encode(images[image], example, ball)
        codes.append(code)
        free.append(rest)
    table = pa.table(
        {"index": pa.array(index), "codes": pa.array(codes, pa.binary()), "free": pa.array(free, pa.binary())},
        metadata={"format": FORMAT, "radius": float(ball).hex()},
    )
    write_table(path, table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a file of examples that are already encoded."""
    pq.write_table(table, path, compression="zstd", compression_level=6, use_dictionary=False, write_statistics=False)


def read_examples(path: Path, images: np.ndarray, only: Sequence[int] | None = None) -> Examples:
    """What `write_examples` was given. `images`: the prepared split, uint8 [N, 3, H, W], possibly memory-mapped.

    `only` picks examples by their rows in the file, in its order; only those are decoded.
    """
    table = read_table(path)
    if only is not None:
        table = table.take(pa.array(np.asarray(only, np.int64)))
    return _examples(table, images, path)


def parts(path: Path, images: np.ndarray, size: int) -> Iterator[Examples]:
    """As `read_examples`, `size` examples at a time: 50,000 of 224 x 224 are 30 GB."""
    table = read_table(path)
    for start in range(0, len(table), size):
        yield _examples(table.slice(start, size), images, path)


def _examples(table: pa.Table, images: np.ndarray, path: Path) -> Examples:
    ball = np.float32(float.fromhex(table.schema.metadata[b"radius"].decode()))
    index = table["index"].to_numpy().astype(np.int64)
    if len(index) and index.max() >= len(images):
        raise ZsrError(f"{path}: an example of image {index.max()}, the split has {len(images)}; it is of another set")
    x_adv = np.empty((len(index), *images.shape[1:]), np.float32)
    for k, (image, code, rest) in enumerate(zip(index, table["codes"], table["free"], strict=True)):
        x_adv[k] = _decode(images[image], code.as_py(), rest.as_py(), ball, path)
    return Examples(index, x_adv)


def stored(path: Path) -> np.ndarray:
    """The image index of each stored example, int64 [n]; nothing else is read."""
    return read_table(path, ["index"])["index"].to_numpy().astype(np.int64)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The table of a file, its examples still encoded."""
    try:
        table = pq.read_table(path, columns=columns, memory_map=False)
    except pa.ArrowException as error:
        raise ZsrError(f"{path}: no file of adversarial examples ({type(error).__name__})") from error
    if (table.schema.metadata or {}).get(b"format", b"").decode() != FORMAT:
        raise ZsrError(f"{path}: no file of adversarial examples of this version ('{FORMAT}')")
    return table


def pixels(images: np.ndarray) -> np.ndarray:
    """uint8 -> float32 / 255, as the attack sees them."""
    return images.astype(np.float32) / np.float32(255)


def _candidates(image: np.ndarray, ball: np.float32) -> np.ndarray:
    """[3, pixels]: x0, the upper and the lower end of its ball inside the box."""
    x0 = pixels(image).ravel()
    one, zero = np.float32(1), np.float32(0)
    return np.stack([x0, np.minimum(x0 + ball, one), np.maximum(x0 - ball, zero)])


def _encode(image: np.ndarray, example: np.ndarray, ball: np.float32) -> tuple[bytes, bytes]:
    candidates, bits = _candidates(image, ball), example.ravel().view(np.int32)
    code = np.full(bits.size, FREE, np.uint8)
    for k in (2, 1, 0):  # at the edge of the box, or with ε = 0, candidates coincide: the first counts
        code[candidates[k].view(np.int32) == bits] = k
    loose = code == FREE
    apart = bits[loose].astype(np.int64) - candidates[0].view(np.int32)[loose]
    zigzag = np.where(apart < 0, -2 * apart - 1, 2 * apart).astype("<u8")
    planes = zigzag.view(np.uint8).reshape(-1, 8).T[:5]  # a difference of two int32 and its sign: 33 bits
    return _pack(code), planes.tobytes()


def _decode(image: np.ndarray, codes: bytes, free: bytes, ball: np.float32, path: Path) -> np.ndarray:
    candidates = _candidates(image, ball)
    size = candidates.shape[1]
    code = _unpack(codes)[:size]
    loose = code == FREE
    if len(codes) != -(-size // 4) or len(free) != 5 * int(loose.sum()):
        raise ZsrError(f"{path}: an example does not fit images of {image.shape}; it is of another set")
    bits = candidates.view(np.int32)[np.where(loose, 0, code), np.arange(size)]
    planes = np.zeros((int(loose.sum()), 8), np.uint8)
    planes[:, :5] = np.frombuffer(free, np.uint8).reshape(5, -1).T
    zigzag = planes.view("<u8").ravel().astype(np.int64)
    bits[loose] += np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2).astype(np.int32)
    return bits.view(np.float32).reshape(image.shape)


def _pack(code: np.ndarray) -> bytes:
    """Four codes a byte."""
    padded = np.zeros(-(-code.size // 4) * 4, np.uint8)
    padded[: code.size] = code
    four = padded.reshape(-1, 4)
    return (four[:, 0] | four[:, 1] << 2 | four[:, 2] << 4 | four[:, 3] << 6).tobytes()


def _unpack(codes: bytes) -> np.ndarray:
    packed = np.frombuffer(codes, np.uint8)
    return np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], 1).ravel()
