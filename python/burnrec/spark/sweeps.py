"""The sweeps of ALS as queries over blocks.

::

    ratings ─ repartition(block of user, or of item) . mapInArrow(native.als_block) ─► blocks, and what they want
    each half sweep:  blocks(items) cogroup what the users' blocks sent . applyInArrow(solve, then send) ─► messages, Gram matrix
    the sum of the Gram matrices comes to the driver, and goes out with the closure of the next half

A half sweep is one shuffle of messages: the block that solves its rows sends them at once to the blocks of the other side
that asked for them. The layout is that of Spark's own ALS; see ``models/src/als/block.rs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from burnrec.spark.blocks import block_index, block_keys
from burnrec.spark.cells import SCHEMA, pack, unpack
from burnrec.spark.tasks import threads

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from burnrec.spark.engine import Engine

__all__ = ["Problem", "train"]

#: The arrays of a block, in the order in which the native code returns them; `needs` goes out as what is wanted.
BLOCK = {
    "ids": np.int32,
    "offsets": np.int64,
    "cols": np.uint32,
    "values": np.float32,
    "needs": np.int32,
    "counts": np.int64,
}

#: Rows of a batch of factors that leave a worker.
BATCH = 1 << 14


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes
    ----------
    config : str
        settings of ALS as JSON, with the keys of a config file
    dim : int
        length of the factors
    seed : int
        not negative
    sweeps : int
    blocks : (int, int)
        of users and of items
    improves : bool
        whether the solver starts from a row's current factors
    """

    config: str
    dim: int
    seed: int
    sweeps: int
    blocks: tuple[int, int]
    improves: bool


@dataclass(frozen=True)
class Side:
    """Users or items: the keys of the side's blocks and those of the other side's."""

    keys: list[int]
    others: list[int]


@dataclass(frozen=True)
class Fixed:
    """The side that is fixed in a half sweep: what its blocks sent, the Gram matrix of all of it and the number of its rows."""

    state: DataFrame
    gram: npt.NDArray[np.float64]
    rows: int


def train(
    ratings: DataFrame, problem: Problem, engine: Engine, checkpoint_interval: int
) -> tuple[DataFrame, DataFrame]:
    """Trains on ratings (user int, item int, value float) and returns the factors of users and of items.

    Parameters
    ----------
    ratings : pyspark.sql.DataFrame
    problem : Problem
    engine
        what keeps frames, see :mod:`burnrec.spark.engine`
    checkpoint_interval : int
        sweeps between checkpoints; not over 0 is never

    Returns
    -------
    (DataFrame, DataFrame)
        the factors of users and of items, ``id int, features array<float>``, made of frames that the engine still keeps
    """
    users_of, items_of = (block_keys(blocks) for blocks in problem.blocks)
    sides = Side(users_of, items_of), Side(items_of, users_of)
    raw = [
        engine.blocks(make_blocks(ratings, side, own, other))
        for side, own, other in ((sides[0], "user", "item"), (sides[1], "item", "user"))
    ]
    blocks = [engine.blocks(with_wants(raw[at], raw[1 - at], side)) for at, side in enumerate(sides)]
    sizes = [count_rows(frame) for frame in blocks]
    for frame in raw:
        engine.release(frame)

    # The items' first factors are zeros: they are solved before anything reads them.
    state: list[Any] = [None, None]
    grams: list[Any] = [None, None]
    for at in (0, 1) if problem.improves or not problem.sweeps else (0,):
        state[at] = engine.state(first_state(blocks[at], sides[at], problem, drawn=at == 0), False)
        grams[at] = gram_of(state[at], problem.dim)
    for sweep in range(1, problem.sweeps + 1):
        for at in (1, 0):
            last = at == 0 and sweep == problem.sweeps
            fixed = Fixed(state[1 - at], grams[1 - at], sizes[1 - at])
            current = state[at] if problem.improves else None
            half = half_sweep(blocks[at], fixed, current, sides[at], problem, sends=not last)
            due = at == 0 and checkpoint_interval > 0 and sweep % checkpoint_interval == 0
            before, state[at] = state[at], engine.state(half, due)
            # This computes the half sweep, while what it is made of is kept.
            grams[at] = gram_of(state[at], problem.dim)
            if before is not None:
                engine.release(before)

    users, items = (factor_table(blocks[at], state[at], sides[at], problem.dim) for at in (0, 1))
    return users, items


def make_blocks(ratings: DataFrame, side: Side, own: str, other: str) -> DataFrame:
    """Returns the cells of a side's blocks, and for each block of the other side the ids that they want of it."""
    from pyspark.sql import functions as F

    keys, others = side.keys, side.others

    def made(key: int, columns: list[npt.NDArray[Any]]) -> Any:
        from burnrec._native import spark as native

        arrays = dict(zip(BLOCK, native.als_block(*columns, len(others), threads()), strict=True))
        src, needs = keys.index(key), np.frombuffer(arrays.pop("needs"), np.int32)
        cells = [(key, name, src, array) for name, array in arrays.items()]
        ends = np.cumsum(np.frombuffer(arrays["counts"], np.int64))
        for to, start, end in zip(others, [0, *ends[:-1]], ends, strict=True):
            if end > start:
                cells.append((to, "want", src, needs[start:end]))
        return pack(cells)

    def blocks(batches: Iterable[Any]) -> Iterator[Any]:
        # The rows come in small batches, where those of a group would come as one.
        parts: dict[int, list[list[npt.NDArray[Any]]]] = {}
        for batch in batches:
            columns = [batch.column(at).to_numpy() for at in range(4)]
            for key in np.unique(columns[0]):
                of_key = columns[0] == key
                parts.setdefault(int(key), []).append([column[of_key] for column in columns[1:]])
        for key in sorted(parts):
            columns = [np.concatenate(column) for column in zip(*parts.pop(key), strict=True)]
            yield from made(key, columns).to_batches()

    key = F.element_at(F.array(*[F.lit(key) for key in keys]), block_index(F.col(own), len(keys)) + 1)
    rows = ratings.select(key.alias("key"), F.col(own).alias("own"), F.col(other).alias("other"), "value")
    return rows.repartition(len(keys), "key").mapInArrow(blocks, SCHEMA)


def with_wants(blocks: DataFrame, others: DataFrame, side: Side) -> DataFrame:
    """Returns blocks with what the other side's blocks want of them, in one partition for each key."""
    cells = blocks.where("name != 'want'").unionByName(others.where("name = 'want'"))
    return cells.repartition(len(side.keys), "key").sortWithinPartitions("key")


def count_rows(blocks: DataFrame) -> int:
    """Returns the number of rows of a side.

    Raises
    ------
    RuntimeError
        When the engine did not bring all rows of a block together.
    """
    from pyspark.sql import functions as F

    ids = blocks.where("name = 'ids'").groupBy("key", "part")
    sizes = ids.agg(F.sum(F.octet_length("data").cast("long")).alias("bytes"), F.count(F.lit(1)).alias("n")).collect()
    if any(row["n"] > 1 for row in sizes):
        raise RuntimeError("found blocks in several parts, expected an engine that brings rows of one key together")
    n_bytes: int = sum(row["bytes"] for row in sizes)
    return n_bytes // 4


def first_state(blocks: DataFrame, side: Side, problem: Problem, drawn: bool) -> DataFrame:
    """Returns the first factors of a side, sent as after a half sweep: drawn, or zeros."""
    keys, others, config, seed, dim = side.keys, side.others, problem.config, problem.seed, problem.dim

    def draw(table: Any) -> Any:
        from burnrec._native import spark as native

        key, cells = table["key"][0].as_py(), unpack(table)
        src = keys.index(key)
        ids = np.frombuffer(cells["ids", src], np.int32)
        x = native.als_first(config, seed, ids, threads()) if drawn else np.zeros(len(ids) * dim, np.float32)
        return sent(key, src, ids, x, cells, others if drawn else None, dim)

    return blocks.where("name in ('ids', 'want')").groupBy("key").applyInArrow(draw, SCHEMA)


def half_sweep(
    blocks: DataFrame, fixed: Fixed, current: DataFrame | None, side: Side, problem: Problem, sends: bool
) -> DataFrame:
    """Solves the rows of a side for the factors that the other side's blocks sent, and sends the solutions.

    `current` has the side's own factors, where the solver improves them.
    """
    keys, others, config, dim, improves = side.keys, side.others, problem.config, problem.dim, problem.improves
    gram, n_fixed = fixed.gram, fixed.rows

    def solve(block: Any, messages: Any) -> Any:
        from burnrec._native import spark as native

        key, cells, got = block["key"][0].as_py(), unpack(block), unpack(messages)
        src = keys.index(key)
        own = {name: np.frombuffer(cells[name, src], dtype) for name, dtype in BLOCK.items() if name != "needs"}
        ids, counts = own["ids"], own["counts"]
        missing = [at for at, count in enumerate(counts) if count and ("message", at) not in got]
        if missing:
            raise RuntimeError(f"block {src}: found no factors from blocks {missing}, expected some from each")
        needs = b"".join(got["message", at] for at, count in enumerate(counts) if count)
        x = np.frombuffer(got["factors", src], np.float32) if improves else np.zeros(len(ids) * dim, np.float32)
        x = native.als_solve(
            config,
            own["offsets"],
            own["cols"],
            own["values"],
            np.frombuffer(needs, np.float32),
            gram,
            n_fixed,
            x,
            threads(),
        )
        return sent(key, src, ids, x, cells, others if sends else None, dim)

    messages = fixed.state.where("name = 'message'")
    if current is not None:
        messages = messages.unionByName(current.where("name = 'factors'"))
    by_key = messages.repartition(len(keys), "key").groupBy("key")
    return blocks.groupBy("key").cogroup(by_key).applyInArrow(solve, SCHEMA)


def sent(
    key: int,
    src: int,
    ids: npt.NDArray[np.int32],
    x: Any,
    cells: dict[tuple[str, int], bytes],
    others: list[int] | None,
    dim: int,
) -> Any:
    """Returns a block's factors, their Gram matrix and, where there are `others`, the rows that each of these wants."""
    from burnrec._native import spark as native

    x = np.frombuffer(x, np.float32)
    arrays = [(key, "factors", src, x), (key, "gram", src, native.als_gram(x, dim, threads()))]
    if others is not None:
        wants = {at: np.frombuffer(data, np.int32) for (name, at), data in cells.items() if name == "want"}
        for at, want in sorted(wants.items()):
            arrays.append((others[at], "message", src, native.als_send(ids, x, want, dim, threads())))
    return pack(arrays)


def gram_of(state: DataFrame, dim: int) -> npt.NDArray[np.float64]:
    """Returns the Gram matrix of a side's factors, `[dim * dim]`; the sum is in the order of the blocks."""
    rows = state.where("name = 'gram'").select("src", "part", "data").collect()
    parts: dict[int, bytes] = {}
    for row in sorted(rows, key=lambda row: (row["src"], row["part"])):
        parts[row["src"]] = parts.get(row["src"], b"") + bytes(row["data"])
    return sum((np.frombuffer(parts[src], np.float64) for src in sorted(parts)), np.zeros(dim * dim))


def factor_table(blocks: DataFrame, state: DataFrame, side: Side, dim: int) -> DataFrame:
    """Returns a side's factors as rows: ``id int, features array<float>``."""
    import pyarrow as pa

    def rows(table: Any) -> Any:
        cells = {name: data for (name, _), data in unpack(table).items()}
        ids, x = np.frombuffer(cells["ids"], np.int32), np.frombuffer(cells["factors"], np.float32)
        schema = pa.schema([("id", pa.int32()), ("features", pa.list_(pa.float32()))])
        batches = []
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            ends = np.arange(len(part) + 1, dtype=np.int32) * dim
            features = pa.ListArray.from_arrays(ends, x[start * dim : (start + len(part)) * dim])
            batches.append(pa.RecordBatch.from_arrays([pa.array(part), features], schema=schema))
        return pa.Table.from_batches(batches, schema)

    cells = blocks.where("name = 'ids'").unionByName(state.where("name = 'factors'"))
    return cells.repartition(len(side.keys), "key").groupBy("key").applyInArrow(rows, "id int, features array<float>")
