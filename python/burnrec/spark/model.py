"""``burnrec.spark.ALSModel``: factors with ids of any type, on any engine."""

import json
import time

import numpy as np
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.recommendation import _ALSModelParams
from pyspark.ml.util import DefaultParamsReader, MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

__all__ = ["ALSModel"]

#: Users and items of a block of scores.
USERS, ITEMS = 1 << 12, 1 << 16


class ALSModel(Model, _ALSModelParams, MLWritable, MLReadable):
    """What ``pyspark.ml.recommendation.ALSModel`` is, for ids that it cannot hold: strings and integers of 64 bits.

    Its methods are Spark's, and their results have the same columns. It needs no JVM.

    Parameters
    ----------
    user_factors, item_factors : pyspark.sql.DataFrame
        ``id`` of any type, ``features array<float>``
    """

    def __init__(self, user_factors=None, item_factors=None):
        super().__init__()
        self.userFactors = user_factors
        self.itemFactors = item_factors

    @property
    def rank(self):
        """Length of the factors."""
        return len(self.itemFactors.first()["features"])

    def setPredictionCol(self, value):
        """Sets the column of predictions."""
        return self._set(predictionCol=value)

    def setColdStartStrategy(self, value):
        """Sets what becomes of pairs with an unknown id: ``nan`` or ``drop``."""
        return self._set(coldStartStrategy=value)

    def _transform(self, dataset):
        of, name = self.getOrDefault, self.getOrDefault(self.predictionCol)
        for side, column in (("userCol", of(self.userCol)), ("itemCol", of(self.itemCol))):
            if column not in dataset.columns:
                raise ValueError(f"{side}: found no column {column!r}, expected one of {', '.join(dataset.columns)}")
        joined = dataset
        for frame, column, features in ((self.userFactors, self.userCol, "__u"), (self.itemFactors, self.itemCol, "__i")):
            side = frame.select(F.col("id").alias(f"{features}_id"), F.col("features").alias(features))
            joined = joined.join(side, F.col(f"`{of(column)}`") == F.col(f"{features}_id"), "left").drop(f"{features}_id")
        schema = StructType([*dataset.schema.fields, StructField(name, FloatType())])
        scored = joined.mapInArrow(_dots(name), schema)
        return scored.where(~F.isnan(name)) if of(self.coldStartStrategy) == "drop" else scored

    def recommendForAllUsers(self, numItems):
        """Returns the best items of all users: user, array of (item, rating)."""
        return self._best(self.userFactors, self.itemFactors, (self.userCol, self.itemCol), numItems)

    def recommendForAllItems(self, numUsers):
        """Returns the best users of all items: item, array of (user, rating)."""
        return self._best(self.itemFactors, self.userFactors, (self.itemCol, self.userCol), numUsers)

    def recommendForUserSubset(self, dataset, numItems):
        """Returns the best items of the users of a frame, those that the model knows."""
        users = self._subset(self.userFactors, dataset, self.userCol)
        return self._best(users, self.itemFactors, (self.userCol, self.itemCol), numItems)

    def recommendForItemSubset(self, dataset, numUsers):
        """Returns the best users of the items of a frame, those that the model knows."""
        items = self._subset(self.itemFactors, dataset, self.itemCol)
        return self._best(items, self.userFactors, (self.itemCol, self.userCol), numUsers)

    def _subset(self, factors, dataset, column):
        ids = dataset.select(F.col(f"`{self.getOrDefault(column)}`").alias("id")).distinct()
        return factors.join(ids, "id", "left_semi")

    def _best(self, of, among, columns, k):
        if k < 1:
            raise ValueError(f"number of recommendations: found {k}, expected at least 1")
        own, other = (self.getOrDefault(column) for column in columns)
        own_type, other_type = of.schema["id"].dataType, among.schema["id"].dataType
        pair = StructType([StructField("id", own_type), StructField("other", other_type), StructField("score", FloatType())])
        pairs = _cut(of, USERS).crossJoin(_cut(among, ITEMS).withColumnsRenamed({"ids": "others", "x": "y"}))
        best = pairs.mapInArrow(_top(k), pair)
        # Of a block of users with each block of items the best are kept; the best of these are the best of all.
        ranked = F.sort_array(F.collect_list(F.struct(-F.col("score"), F.col("other"))), asc=True)
        lists = best.groupBy("id").agg(F.slice(ranked, 1, k).alias("best"))
        named = F.transform("best", lambda row: F.struct(row["other"].alias(other), (-row["col1"]).alias("rating")))
        return lists.select(F.col("id").alias(own), named.alias("recommendations"))

    def write(self):
        """Returns a writer of the model."""
        return _Writer(self)

    @classmethod
    def read(cls):
        """Returns a reader of saved models."""
        return _Reader()


def _matrix(column):
    """Returns the rows of a column of lists, none of which is missing, as a matrix."""
    values = np.asarray(column.flatten(), np.float32)
    return values.reshape(len(column), -1) if len(column) else values.reshape(0, 0)


def _dots(name):
    def scored(batches):
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


def _cut(factors, rows):
    """Returns factors in blocks of at most so many rows: ids array, x binary."""
    ids = ArrayType(factors.schema["id"].dataType)
    schema = StructType([StructField("ids", ids)])
    schema.add("x", "binary")

    def blocks(batches):
        table = pa.Table.from_batches(list(batches))
        for start in range(0, table.num_rows, rows):
            part = table.slice(start, rows).combine_chunks()
            ids = part["id"].combine_chunks()
            ends = pa.array([0, len(ids)], pa.int32())
            x = pa.array([_matrix(part["features"].combine_chunks()).tobytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(ends, ids), x], names=["ids", "x"])

    return factors.select("id", "features").mapInArrow(blocks, schema)


def _top(k):
    def best(batches):
        for batch in batches:
            columns = (batch[name] for name in ("ids", "x", "others", "y"))
            for ids, x, others, y in zip(*columns):
                ids, others = ids.values, others.values
                users = np.frombuffer(x.as_py(), np.float32).reshape(len(ids), -1)
                items = np.frombuffer(y.as_py(), np.float32).reshape(len(others), -1)
                scores = users @ items.T
                n = min(k, len(others))
                top = np.argpartition(-scores, n - 1, axis=1)[:, :n]
                rows = np.repeat(np.arange(len(ids)), n)
                columns = [ids.take(pa.array(rows)), others.take(pa.array(top.reshape(-1)))]
                columns.append(pa.array(np.take_along_axis(scores, top, 1).reshape(-1)))
                yield pa.RecordBatch.from_arrays(columns, names=["id", "other", "score"])

    return best


class _Writer(MLWriter):
    """Writes metadata and both tables of factors, as Spark does, with the ids as they are."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def save(self, path):
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


class _Reader(MLReader):
    """Reads what :class:`_Writer` wrote."""

    def load(self, path):
        spark = self.sparkSession
        metadata = json.loads(spark.read.text(f"{path}/metadata").first()[0])
        expected = f"{ALSModel.__module__}.{ALSModel.__name__}"
        if metadata["class"] != expected:
            raise ValueError(f"{path}: found a saved {metadata['class']}, expected {expected}")
        frames = (spark.read.parquet(f"{path}/{side}Factors") for side in ("user", "item"))
        model = ALSModel(*frames)._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
