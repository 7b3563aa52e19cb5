"""``burnrec.spark.ALS``: Spark's estimator with burnrec's solver."""

from __future__ import annotations

import json
import time
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from pyspark import StorageLevel
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.recommendation import ALS as SparkALS
from pyspark.ml.recommendation import ALSModel as SparkALSModel
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, JavaMLWritable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType, StringType

from burnrec.spark.blocks import count_blocks
from burnrec.spark.engine import Engine, Persisted, engine_of, is_sail, storage_level, temporary_folder
from burnrec.spark.ids import dense_ids
from burnrec.spark.model import ALSModel
from burnrec.spark.sweeps import Problem, train

__all__ = ["ALS"]

INT = (-(1 << 31), (1 << 31) - 1)

# About how long the vectors of users are at first, for ratings and for implicit feedback. Spark begins with unit vectors; for
# implicit feedback the loss is lower from shorter ones, after each number of sweeps from the second on.
FIRST_LENGTH = {False: 1.0, True: 0.5}


def _param(name: str, doc: str, converter: Callable[[Any], Any] = TypeConverters.toString) -> Param[Any]:
    return Param(Params._dummy(), name, doc, typeConverter=converter)


class _WrittenInPython(ABCMeta):
    """The type of a class of Spark's that is no ``JavaMLWritable``.

    ``Pipeline.write`` takes Spark's Java writer where all stages are such, and that would write Spark's own estimator.
    """

    def mro(cls) -> list[type]:
        return [of for of in super().mro() if of is not JavaMLWritable]


class ALS(SparkALS, metaclass=_WrittenInPython):
    """Alternating least squares, trained by the engine in blocks of rows that burnrec solves.

    A subclass of ``pyspark.ml.recommendation.ALS`` with its params, its defaults and its objective; ``fit`` returns Spark's own
    ``ALSModel``, so that pipelines, cross validation, saving and loading work as before. The params below are burnrec's own.
    The seed is 42 where none is set: Spark's is another in each Python process.

    Where ids are strings, or integers of more than 32 bits, which Spark's model cannot hold, ``fit`` returns a
    :class:`burnrec.spark.ALSModel`; so it does on Sail, which has no models of Spark.

    Parameters
    ----------
    unobservedWeight : float, default 1.0
        For implicit feedback: the weight of a cell without a rating.
    convention : {"spark", "implicit", "rendle"}
        For implicit feedback: what a rating weighs, see burnrec's documentation of ALS.
    regScaling : {"count", "none", "frequency"}
        How ``regParam`` is scaled in each row: by the number of its ratings, as in Spark, by 1, or by their share.
    solver : {"cholesky", "cg", "subspace"}
        How each row is solved: exactly, as in Spark, or by improving it.
    keep : {"auto", "persist", "localCheckpoint", "checkpoint", "parquet"}
        How frames are kept between sweeps, see :mod:`burnrec.spark.engine`.
    workDir : str, optional
        A folder that all machines reach: for ``keep="parquet"``, and under Spark Connect for the model. None takes a temporary
        folder of this machine, which only an engine on this machine reaches, and which is removed when the process ends; a
        model that was not saved ends with it.
    **spark
        Those of ``pyspark.ml.recommendation.ALS``: rank, maxIter, regParam, numUserBlocks, numItemBlocks, implicitPrefs, alpha,
        userCol, itemCol, ratingCol, seed, nonnegative, checkpointInterval, intermediateStorageLevel, finalStorageLevel,
        coldStartStrategy, blockSize.

    Examples
    --------
    >>> from burnrec.spark import ALS  # in place of pyspark.ml.recommendation
    >>> model = ALS(rank=64, implicitPrefs=True, ratingCol="rating").fit(ratings)  # doctest: +SKIP
    """

    unobservedWeight = _param("unobservedWeight", "weight of a cell without a rating", TypeConverters.toFloat)
    convention = _param("convention", "what a rating weighs: spark, implicit or rendle")
    regScaling = _param("regScaling", "how regParam is scaled in each row: count, none or frequency")
    solver = _param("solver", "how each row is solved: cholesky, cg or subspace")
    keep = _param("keep", "how frames are kept between sweeps: auto, persist, localCheckpoint, checkpoint or parquet")
    workDir = _param("workDir", "a folder that all machines reach")

    OWN = ("unobservedWeight", "convention", "regScaling", "solver", "keep", "workDir")

    def __init__(self, **params: Any) -> None:
        own = {name: params.pop(name) for name in self.OWN if name in params}
        super().__init__(**params)
        self._setDefault(
            seed=42, unobservedWeight=1.0, convention="spark", regScaling="count", solver="cholesky", keep="auto"
        )
        self.setParams(**own)

    def setParams(self, **params: Any) -> ALS:
        """Sets params by name."""
        return self._set(**params)

    def _fit(self, dataset: DataFrame) -> Any:
        from burnrec._native import spark as native

        spark, of = dataset.sparkSession, self.getOrDefault
        config = self._config()
        improves = native.als_config(config)
        level = storage_level(of(self.finalStorageLevel))
        work_dir = of(self.workDir) if self.isSet(self.workDir) else None
        engine = engine_of(spark, of(self.keep), work_dir, of(self.intermediateStorageLevel))
        n_rows, ids, wide = self._check(dataset)
        asked = of(self.numUserBlocks), of(self.numItemBlocks)
        problem = Problem(
            config=config,
            dim=of(self.rank),
            seed=of(self.seed) % (1 << 64),
            sweeps=of(self.maxIter),
            blocks=(
                count_blocks(asked[0], n_rows, ids[1], of(self.rank)),
                count_blocks(asked[1], n_rows, ids[0], of(self.rank)),
            ),
            improves=improves,
        )
        try:
            ratings, tables = _with_dense_ids(self._ratings(dataset), wide, engine)
            users, items = train(ratings, problem, engine, of(self.checkpointInterval))
            factors = [
                self._kept(_with_ids(frame, tables.get(side)), engine, level)
                for frame, side in ((users, "user"), (items, "item"))
            ]
        finally:
            engine.close()
        return self._model(spark, factors, bool(wide), work_dir)

    def _config(self) -> str:
        """Returns the settings as burnrec's configs have them, in JSON."""
        of = self.getOrDefault
        return json.dumps(
            {
                "feedback": "implicit" if of(self.implicitPrefs) else "explicit",
                "convention": of(self.convention),
                "dim": of(self.rank),
                "reg": of(self.regParam),
                "reg_scaling": of(self.regScaling),
                "alpha": of(self.alpha),
                "unobserved_weight": of(self.unobservedWeight),
                "nonnegative": of(self.nonnegative),
                "solver": of(self.solver),
                "init_std": FIRST_LENGTH[bool(of(self.implicitPrefs))],
            }
        )

    def _check(self, dataset: DataFrame) -> tuple[int, tuple[int, ...], set[str]]:
        """Returns the number of rows, upper bounds of those of users and items, and which sides 32 bits do not hold.

        Raises
        ------
        ValueError
            When a column is missing or of another type, or a value is missing or not finite.
        """
        of = self.getOrDefault
        columns = {"user": of(self.userCol), "item": of(self.itemCol)}
        if of(self.ratingCol):
            columns["rating"] = of(self.ratingCol)
        asked, texts = [F.count(F.lit(1)).alias("rows")], set()
        for side, name in columns.items():
            if name not in dataset.columns:
                raise ValueError(f"{side}Col: found no column {name!r}, expected one of {', '.join(dataset.columns)}")
            kind, column = dataset.schema[name].dataType, F.col(f"`{name}`")
            if isinstance(kind, StringType) and side != "rating":
                texts.add(side)
            elif not isinstance(kind, NumericType):
                expected = "numbers" if side == "rating" else "integers or strings"
                raise ValueError(f"{side}Col: found {name!r} of type {kind.simpleString()}, expected {expected}")
            else:
                number = column.cast("double")
                whole = ~F.isnan(number) & (F.abs(number) != float("inf"))
                if side != "rating":
                    whole = whole & (F.floor(number) == number)
                    asked += [F.min(column).alias(f"{side}_least"), F.max(column).alias(f"{side}_most")]
                asked.append(F.sum(F.when(whole, 0).otherwise(1)).alias(f"{side}_bad"))
            asked.append(F.sum(F.when(column.isNull(), 1).otherwise(0)).alias(f"{side}_nulls"))
        found = dataset.agg(*asked).take(1)[0].asDict()
        if not found["rows"]:
            raise ValueError("dataset: found no rows, expected ratings")
        for side, name in columns.items():
            if found[f"{side}_nulls"]:
                raise ValueError(f"{side}Col: found {found[f'{side}_nulls']} rows without {name!r}, expected none")
            if found.get(f"{side}_bad"):
                expected = "finite numbers" if side == "rating" else "whole numbers"
                raise ValueError(
                    f"{side}Col: found {found[f'{side}_bad']} other values in {name!r}, expected {expected}"
                )
        n_rows, wide, ids = found["rows"], set(texts), []
        for side in ("user", "item"):
            ids.append(n_rows)
            if side not in texts:
                least, most = found[f"{side}_least"], found[f"{side}_most"]
                if least < INT[0] or most > INT[1]:
                    wide.add(side)
                else:
                    ids[-1] = min(n_rows, int(most - least) + 1)
        return n_rows, tuple(ids), wide

    def _ratings(self, dataset: DataFrame) -> DataFrame:
        """Returns user, item and value float; without a column of ratings, each is 1."""
        of = self.getOrDefault
        value = F.col(f"`{of(self.ratingCol)}`") if of(self.ratingCol) else F.lit(1.0)
        ids = (
            F.col(f"`{of(column)}`").alias(side) for side, column in (("user", self.userCol), ("item", self.itemCol))
        )
        return dataset.select(*ids, value.cast("float").alias("value"))

    def _kept(self, frame: DataFrame, engine: Engine, level: StorageLevel) -> DataFrame:
        """Keeps the factors of a side for the model, and computes them."""
        if not isinstance(engine, Persisted):
            return engine.hand_over(engine.state(frame, True))
        frame = frame.persist(level)
        frame.count()
        return frame

    def _model(self, spark: SparkSession, factors: list[DataFrame], wide: bool, work_dir: str | None) -> Any:
        """Makes the model of factors."""
        if wide or is_sail(spark):
            return self._copyValues(ALSModel(*factors)._resetUid(self.uid))
        if hasattr(spark, "_jsparkSession"):
            jvm: Any = spark.sparkContext._jvm
            scala = jvm.org.apache.spark.ml.recommendation.ALSModel
            java = scala(self.uid, self.getOrDefault(self.rank), *(frame._jdf for frame in factors))
            model = self._copyValues(SparkALSModel(java))
            model._transfer_params_to_java()
            return model
        path = f"{work_dir or temporary_folder()}/{self.uid}-{time.time_ns()}"
        write_model(spark, path, self._copyValues(ALSModel(*factors)._resetUid(self.uid)), self.getOrDefault(self.rank))
        return SparkALSModel.load(path)

    def _transfer_params_to_java(self) -> None:
        # Spark's Java object has none of burnrec's own params.
        self._params = [param for param in self.params if param.name not in self.OWN]
        try:
            super()._transfer_params_to_java()
        finally:
            self._params = None

    @property
    def _to_java(self) -> Any:
        # `CrossValidator.write` and `TrainValidationSplit.write` take Spark's Java writer where an estimator has this.
        raise AttributeError("_to_java: found burnrec's ALS, expected an estimator of Spark's")

    # Not Spark's Java writer and reader, which the annotations of its estimators promise.
    def write(self) -> DefaultParamsWriter:  # type: ignore[override]
        """Returns a writer of the params, burnrec's own among them."""
        return DefaultParamsWriter(self)

    @classmethod
    def read(cls) -> DefaultParamsReader[ALS]:  # type: ignore[override]
        """Returns a reader of what :meth:`write` wrote."""
        # It takes any class with params; the annotation names one that has this very method from Spark.
        return DefaultParamsReader(cls)  # type: ignore[arg-type]


def _with_dense_ids(ratings: DataFrame, wide: set[str], engine: Engine) -> tuple[DataFrame, dict[str, DataFrame]]:
    """Returns ratings with 32-bit ids, and for each of `wide` the table of its ids, which is kept."""
    tables = {}
    for side in sorted(wide):
        tables[side] = table = engine.blocks(dense_ids(ratings, side))
        of = table.withColumnsRenamed({"id": side, "index": f"{side}_index"})
        ratings = ratings.join(of, side).drop(side).withColumnRenamed(f"{side}_index", side)
    ids = (F.col(side).cast("int").alias(side) for side in ("user", "item"))
    return ratings.select(*ids, "value"), tables


def _with_ids(factors: DataFrame, table: DataFrame | None) -> DataFrame:
    """Returns factors with the ids of the caller."""
    if table is None:
        return factors
    return factors.withColumnRenamed("id", "index").join(table, "index").select("id", "features")


def write_model(spark: SparkSession, path: str, model: ALSModel, rank: int) -> None:
    """Writes the directory that ``pyspark.ml.recommendation.ALSModel`` loads, by the engine's own writers."""
    metadata = {
        "class": "org.apache.spark.ml.recommendation.ALSModel",
        "timestamp": time.time_ns() // 1_000_000,
        "sparkVersion": spark.version,
        "uid": model.uid,
        "paramMap": {param.name: value for param, value in model._paramMap.items()},
        "defaultParamMap": {param.name: value for param, value in model._defaultParamMap.items()},
        "rank": rank,
    }
    line = spark.createDataFrame([(json.dumps(metadata),)], "value string")
    line.coalesce(1).write.text(f"{path}/metadata")
    model.userFactors.write.parquet(f"{path}/userFactors")
    model.itemFactors.write.parquet(f"{path}/itemFactors")
