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

import atexit
import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark import StorageLevel
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["KEEPS", "Engine", "engine_of", "is_sail", "storage_level", "temporary_folder"]

KEEPS = ("auto", "persist", "localCheckpoint", "checkpoint", "parquet")


class Engine:
    """What keeps frames, and drops all of them in the end."""

    def __init__(self, spark: SparkSession, level: str) -> None:
        self.spark = spark
        self.level = level
        self.kept: dict[int, tuple[DataFrame, Callable[[], object]]] = {}

    def blocks(self, frame: DataFrame) -> DataFrame:
        """Keeps blocks, which every sweep reads, with their partitions."""
        kept = frame.persist(storage_level(self.level))
        return self._keep(kept, kept.unpersist)

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        """Keeps what a half sweep computed; with `checkpoint`, so that it outlives executors, if it can."""
        raise NotImplementedError

    def release(self, frame: DataFrame) -> None:
        """Drops a frame that was kept."""
        _, drop = self.kept.pop(id(frame))
        drop()

    def hand_over(self, frame: DataFrame) -> DataFrame:
        """Leaves a frame to the caller, who drops it."""
        self.kept.pop(id(frame), None)
        return frame

    def close(self) -> None:
        """Drops all frames that are kept."""
        for frame, _ in list(self.kept.values()):
            self.release(frame)

    def _keep(self, frame: DataFrame, drop: Callable[[], object]) -> DataFrame:
        self.kept[id(frame)] = frame, drop
        return frame


def engine_of(spark: SparkSession, keep: str, work_dir: str | None, level: str) -> Engine:
    """Returns what keeps frames in this session.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
    keep : str
        one of :data:`KEEPS`
    work_dir : str or None
        a folder that all machines reach, for Parquet; None takes a :func:`temporary_folder`
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
        return Parquet(spark, level, work_dir)
    return Checkpointed(spark, level, reliable=keep == "checkpoint")


def is_sail(spark: SparkSession) -> bool:
    """Returns whether the session is one of Sail, which keeps nothing in its workers."""
    if hasattr(spark, "_jsparkSession"):
        return False
    # Every Spark has a master.
    return spark.conf.get("spark.master", "") == ""


def temporary_folder() -> str:
    """Makes a folder of this machine, which is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="burnrec-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Persisted(Engine):
    """Keeps rows in the executors of classic Spark, with their lineage.

    ``DataFrame.persist`` would keep the rows, but leave the whole history in the plan of everything that is made of them;
    ``localCheckpoint`` would cut the plan, but the lineage with it, so that a lost executor ends the fit. Rows persisted as an
    RDD have a plan without history and a lineage with one.
    """

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        from pyspark.sql import DataFrame as ClassicFrame

        context = self.spark.sparkContext
        jvm: Any = context._jvm
        rows = frame._jdf.javaRDD()
        rows.persist(jvm.org.apache.spark.storage.StorageLevel.fromString(self.level))
        if checkpoint and context._jsc.sc().getCheckpointDir().isDefined():
            rows.checkpoint()
        kept = ClassicFrame(self.spark._jsparkSession.createDataFrame(rows, frame._jdf.schema()), self.spark)
        return self._keep(kept, lambda: rows.unpersist(False))


class Checkpointed(Engine):
    """Keeps frames by checkpoints, under Spark Connect."""

    def __init__(self, spark: SparkSession, level: str, reliable: bool) -> None:
        super().__init__(spark, level)
        self.reliable = reliable

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        # The server drops a checkpoint with the last reference to it.
        return frame.checkpoint() if self.reliable else frame.localCheckpoint()

    def release(self, frame: DataFrame) -> None:
        if id(frame) in self.kept:
            super().release(frame)


class Parquet(Engine):
    """Keeps frames as Parquet."""

    def __init__(self, spark: SparkSession, level: str, work_dir: str | None) -> None:
        super().__init__(spark, level)
        self.own = not work_dir
        self.folder = work_dir or temporary_folder()

    def blocks(self, frame: DataFrame) -> DataFrame:
        return self.state(frame, False)

    def state(self, frame: DataFrame, checkpoint: bool) -> DataFrame:
        path = f"{self.folder}/als-{uuid.uuid4().hex}"
        frame.write.parquet(path)
        # A folder of another file system than this machine's is left to its owner.
        return self._keep(self.spark.read.schema(frame.schema).parquet(path), lambda: shutil.rmtree(path, True))

    def close(self) -> None:
        super().close()
        if self.own:
            # One that frames were left in by `hand_over` stays, as they are read from there.
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)


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
