"""What engines do differently: how a frame is kept between the sweeps.

=================  ====================================================================================================
``persist``        classic Spark: the rows are kept in the executors, and what a lost executor kept is computed again
``localCheckpoint``  Connect: likewise, but what a lost executor kept is lost, and the fit fails
``checkpoint``     Connect: in the checkpoint directory of the cluster, which outlives executors
``parquet``        every engine, Sail too: in ``workDir``, which all machines must reach
=================  ====================================================================================================

In every case a kept frame has a plan without history: the plans of ten sweeps would otherwise be nested in each other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyspark import StorageLevel
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["KEEPS", "Engine", "engine_of", "is_sail", "storage_level"]

KEEPS = ("auto", "persist", "localCheckpoint", "checkpoint", "parquet")


class Engine(Protocol):
    """What keeps frames."""

    def blocks(self, frame: DataFrame) -> DataFrame:
        """Keeps blocks, which every sweep reads."""

    def release_blocks(self, frame: DataFrame) -> None:
        """Drops blocks."""

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        """Keeps what a half sweep computed; with `checkpoint`, so that it outlives executors, if it can."""

    def release_state(self, frame: DataFrame) -> None:
        """Drops what a half sweep computed."""


def engine_of(spark: SparkSession, keep: str, work_dir: str | None, level: str) -> Engine:
    """Returns what keeps frames in this session.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
    keep : str
        one of :data:`KEEPS`
    work_dir : str or None
        a folder that all machines reach, for Parquet; None takes a temporary one of this machine
    level : str
        the storage level of kept frames, as ``MEMORY_AND_DISK``
    """
    if keep not in KEEPS:
        raise ValueError(f"keep: found {keep!r}, expected one of {', '.join(KEEPS)}")
    classic = hasattr(spark, "_jsparkSession")
    if keep == "auto":
        keep = "persist" if classic else "parquet" if work_dir or is_sail(spark) else "localCheckpoint"
    if keep == "persist":
        if not classic:
            raise ValueError("keep: found 'persist', expected another under Spark Connect, whose plans would nest")
        return Persisted(spark, level)
    if keep == "parquet":
        return Parquet(spark, work_dir)
    return Checkpointed(level, reliable=keep == "checkpoint")


def is_sail(spark: SparkSession) -> bool:
    """Returns whether the session is one of Sail, which keeps nothing in its workers."""
    if hasattr(spark, "_jsparkSession"):
        return False
    try:
        spark.conf.get("spark.master")
    except Exception:  # the server's own kind of error: it has no such setting
        return True
    return False


class Persisted:
    """Keeps rows in the executors of classic Spark, with their lineage.

    ``DataFrame.persist`` would keep the rows, but leave the whole history in the plan of everything that is made of them;
    ``localCheckpoint`` would cut the plan, but the lineage with it, so that a lost executor ends the fit. Rows persisted as an
    RDD have a plan without history and a lineage with one.
    """

    def __init__(self, spark: SparkSession, level: str) -> None:
        self.spark = spark
        self.level = level
        self.kept: dict[int, Any] = {}
        self.jvm = spark.sparkContext._jvm
        self.checkpoints = spark.sparkContext._jsc.sc().getCheckpointDir().isDefined()

    def blocks(self, frame: DataFrame) -> DataFrame:
        # With its partitions by key, which the plan of an RDD would not have.
        return frame.persist(storage_level(self.level))

    def release_blocks(self, frame: DataFrame) -> None:
        frame.unpersist()

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        from pyspark.sql import DataFrame

        rows = frame._jdf.javaRDD()
        rows.persist(self.jvm.org.apache.spark.storage.StorageLevel.fromString(self.level))
        if checkpoint and self.checkpoints:
            rows.checkpoint()
        kept = DataFrame(self.spark._jsparkSession.createDataFrame(rows, frame._jdf.schema()), self.spark)
        self.kept[id(kept)] = rows
        return kept

    def release_state(self, frame: DataFrame) -> None:
        self.kept.pop(id(frame)).unpersist(False)


class Checkpointed:
    """Keeps frames by checkpoints, under Spark Connect."""

    def __init__(self, level: str, reliable: bool) -> None:
        self.level = level
        self.reliable = reliable

    def blocks(self, frame: DataFrame) -> DataFrame:
        return frame.persist(storage_level(self.level))

    def release_blocks(self, frame: DataFrame) -> None:
        frame.unpersist()

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        return frame.checkpoint() if self.reliable else frame.localCheckpoint()

    def release_state(self, frame: DataFrame) -> None:
        """The server drops a checkpoint with the last reference to it."""


class Parquet:
    """Keeps frames as Parquet."""

    def __init__(self, spark: SparkSession, work_dir: str | None) -> None:
        self.spark = spark
        own = tempfile.mkdtemp(prefix="burnrec-") if work_dir is None else f"{work_dir}/als-{uuid.uuid4().hex}"
        self.folder = own
        self.paths: dict[int, str] = {}

    def blocks(self, frame: DataFrame) -> DataFrame:
        return self.state(frame, False)

    def release_blocks(self, frame: DataFrame) -> None:
        self.release_state(frame)

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        path = f"{self.folder}/{uuid.uuid4().hex}"
        frame.write.parquet(path)
        kept = self.spark.read.schema(frame.schema).parquet(path)
        self.paths[id(kept)] = path
        return kept

    def release_state(self, frame: DataFrame) -> None:
        path = self.paths.pop(id(frame))
        # A folder of another file system than this machine's is left to its owner.
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)


def storage_level(name: str) -> StorageLevel:
    """Returns Spark's storage level of a name.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    from pyspark import StorageLevel

    level = getattr(StorageLevel, name, None)
    if not isinstance(level, StorageLevel):
        raise ValueError(f"storage level: found {name!r}, expected one as MEMORY_AND_DISK or DISK_ONLY")
    return level
