"""``burnrec.spark.ALSModel``: factors with ids of any type, on any engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.recommendation import _ALSModelParams
from pyspark.ml.util import DefaultParamsReader, MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

__all__ = ["ALSModel"]

#: Users and items of a pair of blocks.
USERS, ITEMS = 1 << 12, 1 << 16

#: Scores that are computed at once: 64 MiB.
SCORES = 1 << 24


class ALSModel(Model, _ALSModelParams, MLWritable, MLReadable["ALSModel"]):
    """What ``pyspark.ml.recommendation.ALSModel`` is, for ids that it cannot hold: strings and integers of 64 bits.

    Its methods are Spark's, and their results have the same columns. It needs no JVM.

    Parameters
    ----------
    user_factors, item_factors : pyspark.sql.DataFrame
        ``id`` of any type, ``features array<float>``
    """

    def __init__(self, user_factors: DataFrame | None = None, item_factors: DataFrame | None = None) -> None:
        super().__init__()
        # A model without factors has nothing but params.
        self.userFactors = cast(DataFrame, user_factors)
        self.itemFactors = cast(DataFrame, item_factors)

    @property
    def rank(self) -> int:
        """Length of the factors."""
        return len(self.itemFactors.take(1)[0]["features"])

    def setPredictionCol(self, value: str) -> ALSModel:
        """Sets the column of predictions."""
        return self._set(predictionCol=value)

    def setColdStartStrategy(self, value: str) -> ALSModel:
        """Sets what becomes of pairs with an unknown id: ``nan`` or ``drop``."""
        return self._set(coldStartStrategy=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        of, name = self.getOrDefault, self.getOrDefault(self.predictionCol)
        for side, given in (("userCol", of(self.userCol)), ("itemCol", of(self.itemCol))):
            if given not in dataset.columns:
                raise ValueError(f"{side}: found no column {given!r}, expected one of {', '.join(dataset.columns)}")
        joined = dataset
        for frame, column, features in (
            (self.userFactors, self.userCol, "__u"),
            (self.itemFactors, self.itemCol, "__i"),
        ):
            factors = frame.select(F.col("id").alias(f"{features}_id"), F.col("features").alias(features))
            joined = joined.join(factors, F.col(f"`{of(column)}`") == F.col(f"{features}_id"), "left").drop(
                f"{features}_id"
            )
        schema = StructType([*dataset.schema.fields, StructField(name, FloatType())])
        scored = joined.mapInArrow(_dots(name), schema)
        return scored.where(~F.isnan(name)) if of(self.coldStartStrategy) == "drop" else scored

    def recommendForAllUsers(self, numItems: int) -> DataFrame:
        """Returns the best items of all users: user, array of (item, rating)."""
        return self._best(self.userFactors, self.itemFactors, (self.userCol, self.itemCol), numItems)

    def recommendForAllItems(self, numUsers: int) -> DataFrame:
        """Returns the best users of all items: item, array of (user, rating)."""
        return self._best(self.itemFactors, self.userFactors, (self.itemCol, self.userCol), numUsers)

    def recommendForUserSubset(self, dataset: DataFrame, numItems: int) -> DataFrame:
        """Returns the best items of the users of a frame, those that the model knows."""
        users = self._subset(self.userFactors, dataset, self.userCol)
        return self._best(users, self.itemFactors, (self.userCol, self.itemCol), numItems)

    def recommendForItemSubset(self, dataset: DataFrame, numUsers: int) -> DataFrame:
        """Returns the best users of the items of a frame, those that the model knows."""
        items = self._subset(self.itemFactors, dataset, self.itemCol)
        return self._best(items, self.userFactors, (self.itemCol, self.userCol), numUsers)

    def _subset(self, factors: DataFrame, dataset: DataFrame, column: Any) -> DataFrame:
        ids = dataset.select(F.col(f"`{self.getOrDefault(column)}`").alias("id")).distinct()
        return factors.join(ids, "id", "left_semi")

    def _best(self, of: DataFrame, among: DataFrame, columns: tuple[Any, Any], k: int) -> DataFrame:
        if k < 1:
            raise ValueError(f"number of recommendations: found {k}, expected at least 1")
        own, other = (self.getOrDefault(column) for column in columns)
        own_type, other_type = of.schema["id"].dataType, among.schema["id"].dataType
        pairs = _cut(of, USERS).crossJoin(_cut(among, ITEMS).withColumnsRenamed({"ids": "others", "x": "y"}))
        # Of a block of users with each block of items the best are kept; the best of these are the best of all.
        candidates = StructType().add("block", own_type).add("row", "integer").add("id", own_type)
        candidates = candidates.add("other", other_type).add("score", "float")
        best = pairs.mapInArrow(_top(k), candidates)
        pair = StructType().add(other, other_type).add("rating", "float")
        schema = StructType().add(own, own_type).add("recommendations", ArrayType(pair))
        return best.groupBy("block").applyInArrow(_merged(k, own, other), schema)

    def write(self) -> MLWriter:
        """Returns a writer of the model."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[ALSModel]:
        """Returns a reader of saved models."""
        return _Reader()


def _matrix(column: Any) -> Any:
    """Returns the rows of a column of lists, none of which is missing, as a matrix."""
    values = np.asarray(column.flatten(), np.float32)
    return values.reshape(len(column), -1) if len(column) else values.reshape(0, 0)


def _dots(name: str) -> Callable[[Iterable[Any]], Iterator[Any]]:
    def scored(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            pairs = table["__u"].combine_chunks(), table["__i"].combine_chunks()
            known = np.asarray(pairs[0].is_valid()) & np.asarray(pairs[1].is_valid())
            dots = np.full(len(known), np.nan, np.float32)
            u, i = (_matrix(column.filter(pa.array(known))) for column in pairs)
            dots[known] = np.einsum("ij,ij->i", u, i)
            table = table.drop_columns(["__u", "__i"]).append_column(name, pa.array(dots))
            yield from table.to_batches()

    return scored


def _cut(factors: DataFrame, rows: int) -> DataFrame:
    """Returns factors in blocks of at most so many rows: ids array, x binary."""
    schema = StructType().add("ids", ArrayType(factors.schema["id"].dataType)).add("x", "binary")

    def blocks(batches: Iterable[Any]) -> Iterator[Any]:
        batches = list(batches)
        if not batches:  # a partition without rows, on Sail
            return
        table = pa.Table.from_batches(batches)
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows).combine_chunks()
            ids = part["id"].combine_chunks()
            ends = pa.array([0, len(ids)], pa.int32())
            x = pa.array([_matrix(part["features"].combine_chunks()).tobytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(ends, ids), x], names=["ids", "x"])

    return factors.select("id", "features").mapInArrow(blocks, schema)


def _top(k: int) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Returns the best `k` of each block of others for the users of a block, which goes by its first id."""

    def best(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            columns = (batch.column(batch.schema.get_field_index(name)) for name in ("ids", "x", "others", "y"))
            for ids, x, others, y in zip(*columns, strict=True):
                ids, others = ids.values, others.values
                users = np.frombuffer(x.as_buffer(), np.float32).reshape(len(ids), -1)
                items = np.frombuffer(y.as_buffer(), np.float32).reshape(len(others), -1)
                n, at_once = min(k, len(others)), max(SCORES // len(others), 1)
                for start in range(0, len(ids), at_once):
                    top, scores = _best_of(users[start : start + at_once], items, n)
                    rows = pa.array(np.repeat(np.arange(start, start + len(top), dtype=np.int32), n))
                    first = ids.take(pa.array(np.zeros(len(rows), np.int32)))
                    found = [first, rows, ids.take(rows), others.take(pa.array(top.reshape(-1)))]
                    found.append(pa.array(scores.reshape(-1)))
                    yield pa.RecordBatch.from_arrays(found, names=["block", "row", "id", "other", "score"])

    return best


def _best_of(users: Any, items: Any, n: int) -> tuple[Any, Any]:
    """Returns the places of the best `n` items of each user, in any order, and their scores; nothing else is held on to."""
    scores = users @ items.T
    top = np.argpartition(scores, len(items) - n, axis=1)[:, len(items) - n :].copy()
    return top, np.take_along_axis(scores, top, 1)


def _merged(k: int, own: str, other: str) -> Callable[[Any], Any]:
    """Returns the best `k` of each user of a block as a list."""

    def lists(table: Any) -> Any:
        table = table.sort_by([("row", "ascending"), ("score", "descending"), ("other", "ascending")]).combine_chunks()
        rows = table["row"].to_numpy()
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
        table, firsts = table.filter(pa.array(place < k)), table["id"].take(pa.array(starts))
        counts = np.bincount(table["row"].to_numpy(), minlength=len(starts))
        ends = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        pairs = pa.StructArray.from_arrays(
            [table["other"].combine_chunks(), table["score"].combine_chunks()], names=[other, "rating"]
        )
        lists = pa.ListArray.from_arrays(ends, pairs)
        return pa.table([firsts, lists], names=[own, "recommendations"])

    return lists


class _Writer(MLWriter):
    """Writes metadata and both tables of factors, as Spark does, with the ids as they are."""

    def __init__(self, model: ALSModel) -> None:
        super().__init__()
        self.model = model

    def save(self, path: str) -> None:
        mode = "overwrite" if self.shouldOverwrite else "error"
        model, spark = self.model, self.model.userFactors.sparkSession
        metadata = {
            "class": f"{ALSModel.__module__}.{ALSModel.__name__}",
            "timestamp": time.time_ns() // 1_000_000,
            "sparkVersion": spark.version,
            "uid": model.uid,
            "paramMap": {param.name: value for param, value in model._paramMap.items()},
            "defaultParamMap": {param.name: value for param, value in model._defaultParamMap.items()},
        }
        line = spark.createDataFrame([(json.dumps(metadata),)], "value string")
        line.coalesce(1).write.mode(mode).text(f"{path}/metadata")
        model.userFactors.write.mode(mode).parquet(f"{path}/userFactors")
        model.itemFactors.write.mode(mode).parquet(f"{path}/itemFactors")


class _Reader(MLReader[ALSModel]):
    """Reads what :class:`_Writer` wrote."""

    def load(self, path: str) -> ALSModel:
        spark = self.sparkSession
        metadata = json.loads(spark.read.text(f"{path}/metadata").take(1)[0][0])
        expected = f"{ALSModel.__module__}.{ALSModel.__name__}"
        if metadata["class"] != expected:
            raise ValueError(f"{path}: found a saved {metadata['class']}, expected {expected}")
        frames = (spark.read.parquet(f"{path}/{side}Factors") for side in ("user", "item"))
        model = ALSModel(*frames)._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
