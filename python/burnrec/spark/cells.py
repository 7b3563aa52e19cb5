"""Named arrays as rows of a data frame, each addressed to a block.

All that blocks keep and send to each other is in frames of one schema, so that one shuffle brings a block all of it. An array
is cut into cells of at most 16 MiB: Spark copies a cell several times in the JVM, and cannot hold one of 2 GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["SCHEMA", "pack", "unpack"]

#: key: the block it is for, src: the index of the block that it is from, part: the place of the cell in its array
SCHEMA = "key int, name string, src int, part int, data binary"

ARROW = pa.schema(
    [("key", pa.int32()), ("name", pa.string()), ("src", pa.int32()), ("part", pa.int32()), ("data", pa.binary())]
)

CELL_BYTES = 16 << 20


def pack(arrays: Iterable[tuple[int, str, int, Any]]) -> Any:
    """Returns a table of the cells of some arrays.

    Parameters
    ----------
    arrays : iterable of (int, str, int, buffer)
        key, name, src and the contiguous array itself
    """
    return pa.Table.from_batches([cell for array in arrays for cell in _cells(*array)], ARROW)


def _cells(key: int, name: str, src: int, array: Any) -> Iterator[Any]:
    # One batch a cell: the JVM then never holds more than one in an Arrow buffer.
    data = np.frombuffer(array, np.uint8)
    for part, start in enumerate(range(0, max(len(data), 1), CELL_BYTES)):
        cell = data[start : start + CELL_BYTES]
        ends = np.array([0, len(cell)], np.int32)
        binary = pa.Array.from_buffers(pa.binary(), 1, [None, pa.py_buffer(ends), pa.py_buffer(cell)])
        to, of, place = (pa.array([number], pa.int32()) for number in (key, src, part))
        yield pa.RecordBatch.from_arrays([to, pa.array([name]), of, place, binary], schema=ARROW)


def unpack(table: Any) -> dict[tuple[str, int], bytes]:
    """Returns the bytes of each array of a table of cells, by (name, src)."""
    parts: dict[tuple[str, int], list[tuple[int, Any]]] = {}
    columns = (table[name].to_pylist() for name in ("name", "src", "part"))
    for name, src, part, cell in zip(*columns, table["data"], strict=True):
        parts.setdefault((name, src), []).append((part, cell.as_buffer()))
    # Joined even where there is one cell: its bytes then begin at an address for numbers of any size.
    return {
        key: b"".join(memoryview(cell) for _, cell in sorted(cells, key=lambda cell: cell[0]))
        for key, cells in parts.items()
    }
