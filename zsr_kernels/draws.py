"""Random numbers as a function of (seed, image, stream, position): a counter-based generator, the same on every device.

Two words are hashed from (seed, image key, stream), and position i of that stream is mix(mix(i + a) ^ b) >> 8, in units
of 2^-24. It serves random starts and random search; it is no cryptography. It is tested for uniformity,
correlations between keys, seeds and streams, and pins the numbers themselves.
"""

import math

import torch
from torch import Tensor

GOLDEN, MIX_1, MIX_2 = 0x9E3779B9, 0x7FEB352D, 0x846CA68B  # 2^32/phi; Wellons' "lowbias32" multipliers


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def mix32(h: Tensor) -> Tensor:
    """A bijective 32-bit hash (lowbias32): xor-shift, multiply, twice. int32 in and out, arithmetic modulo 2^32."""
    h = h ^ ((h >> 16) & 0xFFFF)
    h = h * _signed(MIX_1)
    h = h ^ ((h >> 15) & 0x1FFFF)
    h = h * _signed(MIX_2)
    return h ^ ((h >> 16) & 0xFFFF)


def stream_keys(keys: Tensor, seed: int, stream: int) -> tuple[Tensor, Tensor]:
    """Two 32-bit words per image that carry (seed, image key, stream); int64 keys in, int32 words out, each [B]."""
    low, high = _low_word(keys), _low_word(keys >> 32)
    start = torch.full_like(low, _signed(seed))
    first = mix32(mix32(mix32(start) ^ low) + high)
    first = mix32(first ^ _signed(stream))
    second = mix32(mix32(first + _signed(GOLDEN)) ^ _signed(seed >> 32))
    return first, second


def _low_word(keys: Tensor) -> Tensor:
    word = keys & 0xFFFFFFFF
    return torch.where(word >= 1 << 31, word - (1 << 32), word).to(torch.int32)


def draw(first: Tensor, second: Tensor, position: Tensor) -> Tensor:
    """Numbers in [0, 1), multiples of 2^-24, at these positions ([n] or [B, n], int32) of each image's stream."""
    h = mix32(mix32(position + first[:, None]) ^ second[:, None])
    return ((h >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def uniform(keys: Tensor, seed: int, stream: int, n: int) -> Tensor:
    """[B, n] numbers in [0, 1) from position, image key, seed and stream alone."""
    return draw(*stream_keys(keys, seed, stream), torch.arange(n, dtype=torch.int32, device=keys.device))


def normal(keys: Tensor, seed: int, stream: int, n: int) -> Tensor:
    """[B, n] standard normal numbers (Box-Muller)."""
    u = uniform(keys, seed, stream, 2 * n)
    radius = (-2.0 * torch.log(1.0 - u[:, :n])).sqrt()
    return radius * torch.cos(2.0 * math.pi * u[:, n:])
