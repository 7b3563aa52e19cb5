"""How ids are spread over blocks, and blocks over the partitions of a shuffle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

__all__ = ["block_keys", "block_index", "count_blocks"]

#: The entries of a block have about so many bytes at the most, and so have the factors that it gets: Spark sends each to Python
#: as one Arrow buffer, which it doubles as it grows, outside the JVM's heap.
ENTRIES_BYTES, FACTORS_BYTES = 100 << 20, 512 << 20

#: Column and value of an entry.
ENTRY_BYTES = 8


def count_blocks(asked: int, n_rows: int, n_others: int, dim: int) -> int:
    """Returns how many blocks a side has: as many as were asked for, or more where they would be too large.

    Parameters
    ----------
    asked : int
    n_rows : int
        rows of the ratings
    n_others : int
        an upper bound of the number of ids of the other side, each of which has `dim` factors
    dim : int
    """
    by_entries = n_rows * ENTRY_BYTES / ENTRIES_BYTES
    # An entry needs the factors of one id, and a block all ids at the most.
    by_factors = n_rows * dim * 4 / FACTORS_BYTES if n_others * dim * 4 > FACTORS_BYTES else 1
    return max(asked, math.ceil(by_entries), math.ceil(by_factors))


def block_index(column: Column, blocks: int) -> Column:
    """Returns the block of an id, as Spark's ALS and the native code do: the remainder that is not negative."""
    from pyspark.sql import functions as F

    return F.pmod(column.cast("int"), F.lit(blocks))


def block_keys(blocks: int) -> list[int]:
    """Returns a key for each block, such that Spark's hash puts each into a partition of its own.

    A shuffle by hash into as many partitions as there are blocks would put several blocks into one and none into others if
    blocks were simply numbered.
    """
    keys: dict[int, int] = {}
    key = 0
    while len(keys) < blocks:
        keys.setdefault(_murmur3(key) % blocks, key)
        key += 1
    return [keys[partition] for partition in range(blocks)]


def _murmur3(value: int, seed: int = 42) -> int:
    """Returns the hash of a 32-bit integer as Spark computes it (``Murmur3_x86_32.hashInt``), with its sign."""
    mask = 0xFFFFFFFF

    def rotated(x: int, by: int) -> int:
        return ((x << by) | (x >> (32 - by))) & mask

    mixed = rotated((value & mask) * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    hashed = (rotated(seed ^ mixed, 13) * 5 + 0xE6546B64) & mask
    hashed ^= 4
    hashed = (hashed ^ (hashed >> 16)) * 0x85EBCA6B & mask
    hashed = (hashed ^ (hashed >> 13)) * 0xC2B2AE35 & mask
    hashed ^= hashed >> 16
    return hashed - (1 << 32) if hashed >> 31 else hashed
