"""Batch scoring of any saved model, by ``mapInArrow``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from burnrec.spark.tasks import threads

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["recommend", "score"]

#: Users that are scored together.
USERS = 1 << 12


def recommend(
    users: DataFrame,
    run: str | os.PathLike[str],
    k: int = 10,
    *,
    user_col: str = "user",
    include_seen: bool = False,
) -> DataFrame:
    """Returns the best items of the users of a frame, by a saved run of any model.

    The run is opened once in each Python worker of the engine, so its folder must be there on every machine.

    Parameters
    ----------
    users : pyspark.sql.DataFrame
        with a column of user ids; a user who occurs twice gets two rows
    run : str or os.PathLike
        a run directory, as ``burnrec train`` and ``burnrec.Recommender.save`` write it
    k : int
        how many items
    user_col : str
        the name of the column of user ids, which are integers or strings
    include_seen : bool
        whether items of a user's own history may be recommended

    Returns
    -------
    pyspark.sql.DataFrame
        the user, and ``recommendations``: array of (item, score), best first. ``score`` is what the run's scores are. A user
        whom the run does not know has no row, as in Spark's ``recommendForUserSubset``.

    Raises
    ------
    ValueError
        When `k` is not at least 1, or the frame has no such column of ids.
    FileNotFoundError
        When the run is not there.
    """
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_type

    if k < 1:
        raise ValueError(f"k: found {k}, expected at least 1")
    path, kind, user = _opened(run), item_type(run), _id_field(users, "user_col", user_col)
    pair = pa.struct([("item", kind), ("score", pa.float32())])
    schema = pa.schema([(user_col, to_arrow_type(user)), ("recommendations", pa.list_(pair))])

    def lists(batches: Iterable[Any]) -> Iterator[Any]:
        from burnrec._native import spark as native

        worker = Worker.of(path)
        for batch in batches:
            for start in range(0, len(batch), USERS):
                ids = batch.column(0).slice(start, USERS)
                rows = worker.rows("user", ids)
                known = rows != UNKNOWN
                counts, items, scores = native.best(worker.run, rows[known], k, include_seen, threads())
                ends = np.concatenate([[0], np.cumsum(np.frombuffer(counts, np.int64))]).astype(np.int32)
                best = worker.ids("item").take(pa.array(np.frombuffer(items, np.uint32)))
                best = pa.StructArray.from_arrays(
                    [best, pa.array(np.frombuffer(scores, np.float32))], fields=list(pair)
                )
                columns = [ids.filter(pa.array(known)), pa.ListArray.from_arrays(ends, best)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return users.select(f"`{user_col}`").mapInArrow(lists, from_arrow_schema(schema))


def score(
    pairs: DataFrame,
    run: str | os.PathLike[str],
    *,
    user_col: str = "user",
    item_col: str = "item",
    score_col: str = "score",
) -> DataFrame:
    """Returns a frame with the score of each pair of a user and an item, by a saved run of any model.

    Parameters
    ----------
    pairs : pyspark.sql.DataFrame
        with columns of user and of item ids; the others stay as they are
    run : str or os.PathLike
        a run directory, which must be there on every machine
    user_col, item_col, score_col : str
        the names of the columns

    Returns
    -------
    pyspark.sql.DataFrame
        `pairs` with the column of scores, null where the run does not know the user or the item

    Raises
    ------
    ValueError
        When the frame has no such columns of ids, or has the column of scores.
    FileNotFoundError
        When the run is not there.
    """
    from pyspark.sql.types import FloatType, StructField, StructType

    if score_col in pairs.columns:
        raise ValueError(f"score_col: found {score_col!r} in the frame, expected a new name")
    path = _opened(run)
    _id_field(pairs, "user_col", user_col)
    _id_field(pairs, "item_col", item_col)

    def scored(batches: Iterable[Any]) -> Iterator[Any]:
        from burnrec._native import spark as native

        worker = Worker.of(path)
        for batch in batches:
            users = worker.rows("user", batch.column(batch.schema.get_field_index(user_col)))
            items = worker.rows("item", batch.column(batch.schema.get_field_index(item_col)))
            known = (users != UNKNOWN) & (items != UNKNOWN)
            scores = np.full(len(known), np.nan, np.float32)
            found = native.scores(worker.run, users[known], items[known], threads())
            scores[known] = np.frombuffer(found, np.float32)
            column = pa.array(scores, from_pandas=True)
            yield pa.RecordBatch.from_arrays([*batch.columns, column], names=[*batch.schema.names, score_col])

    return pairs.mapInArrow(scored, StructType([*pairs.schema.fields, StructField(score_col, FloatType())]))


UNKNOWN = np.uint32(0xFFFFFFFF)


class Worker:
    """A run, as a Python worker of the engine keeps it."""

    opened: dict[str, tuple[int, Worker]] = {}

    def __init__(self, path: str) -> None:
        from burnrec._native import Recommender

        self.run = Recommender.open(path, device="cpu")
        self.of_side: dict[str, Any] = {}

    @classmethod
    def of(cls, path: str) -> Worker:
        """Returns the run in `path`, opened where it is not, or has been written since."""
        written = os.stat(os.path.join(path, "manifest.json")).st_mtime_ns
        opened = cls.opened.get(path)
        if opened is None or opened[0] != written:
            opened = cls.opened[path] = written, cls(path)
        return opened[1]

    def ids(self, side: str) -> Any:
        """Returns all ids of a side as an array of Arrow."""
        from burnrec._native import spark as native

        if side not in self.of_side:
            ids = native.ids(self.run, side)
            of_texts = isinstance(ids, list)
            self.of_side[side] = pa.array(ids if of_texts else np.frombuffer(ids, np.int64))
        return self.of_side[side]

    def rows(self, side: str, ids: Any) -> npt.NDArray[np.uint32]:
        """Returns the row of each id of an array of Arrow, :data:`UNKNOWN` where there is none."""
        from burnrec._native import spark as native

        if not len(ids):
            return np.zeros(0, np.uint32)
        valid = np.asarray(ids.is_valid())
        if pa.types.is_integer(ids.type):
            numbers = np.ascontiguousarray(ids.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
            rows = native.rows(self.run, side, numbers=numbers)
        else:
            texts = ids.fill_null("").cast(pa.large_string())
            ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
            data = texts.buffers()[2]
            rows = native.rows(self.run, side, texts=data.to_pybytes() if data else b"", ends=np.array(ends))
        return np.where(valid, np.frombuffer(rows, np.uint32), UNKNOWN)


def item_type(run: str | os.PathLike[str]) -> Any:
    """Returns the type of a run's items in Arrow: int64, or string."""
    return Worker.of(_opened(run)).ids("item").type


def _opened(run: str | os.PathLike[str]) -> str:
    path = os.path.abspath(os.fspath(run))
    if not os.path.exists(os.path.join(path, "manifest.json")):
        raise FileNotFoundError(f"{path}: found no manifest.json, expected a run directory")
    return path


def _id_field(frame: DataFrame, setting: str, name: str) -> Any:
    from pyspark.sql.types import IntegralType, StringType

    if name not in frame.columns:
        raise ValueError(f"{setting}: found no column {name!r}, expected one of {', '.join(frame.columns)}")
    kind = frame.schema[name].dataType
    if not isinstance(kind, (IntegralType, StringType)):
        raise ValueError(f"{setting}: found {name!r} of type {kind.simpleString()}, expected integers or strings")
    return kind
