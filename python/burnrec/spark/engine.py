"""What engines do differently: how a frame is kept between the sweeps.

=================  ====================================================================================================
``persist``        classic Spark: the rows are kept in the executors, and what a lost executor kept is computed again
``localCheckpoint``  Connect: likewise, but what a lost executor kept is lost, and the fit fails
``checkpoint``     Connect: in the checkpoint directory of the cluster, which outlives executors
``parquet``        every engine, Sail too: in ``workDir``, which all machines must reach
=================  ====================================================================================================

In every case a kept frame has a plan without history: the plans of ten sweeps would otherwise be nested in each other.
"""

import os
import shutil
import tempfile
import uuid

__all__ = ["KEEPS", "engine_of", "is_sail"]

KEEPS = ("auto", "persist", "localCheckpoint", "checkpoint", "parquet")


def engine_of(spark, keep, work_dir, level):
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
    return Checkpointed(spark, level, reliable=keep == "checkpoint")


def is_sail(spark):
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

    def __init__(self, spark, level):
        self.spark = spark
        self.level = level
        self.kept = {}
        self.jvm = spark.sparkContext._jvm
        self.checkpoints = spark.sparkContext._jsc.sc().getCheckpointDir().isDefined()

    def blocks(self, frame):
        """Keeps blocks, partitioned by their key."""
        return frame.persist(storage_level(self.level))

    def release_blocks(self, frame):
        frame.unpersist()

    def state(self, frame, checkpoint):
        """Keeps what a sweep computed; with `checkpoint`, in the checkpoint directory where there is one."""
        from pyspark.sql import DataFrame

        rows = frame._jdf.javaRDD()
        rows.persist(self.jvm.org.apache.spark.storage.StorageLevel.fromString(self.level))
        if checkpoint and self.checkpoints:
            rows.checkpoint()
        kept = DataFrame(self.spark._jsparkSession.createDataFrame(rows, frame._jdf.schema()), self.spark)
        self.kept[id(kept)] = rows
        return kept

    def release_state(self, frame):
        self.kept.pop(id(frame)).unpersist(False)


class Checkpointed:
    """Keeps frames by checkpoints, under Spark Connect."""

    def __init__(self, spark, level, reliable):
        self.level = level
        self.reliable = reliable

    def blocks(self, frame):
        return frame.persist(storage_level(self.level))

    def release_blocks(self, frame):
        frame.unpersist()

    def state(self, frame, checkpoint):
        return frame.checkpoint() if self.reliable else frame.localCheckpoint()

    def release_state(self, frame):
        """The server drops a checkpoint with the last reference to it."""


class Parquet:
    """Keeps frames as Parquet."""

    def __init__(self, spark, work_dir):
        self.spark = spark
        self.own = work_dir is None
        self.folder = tempfile.mkdtemp(prefix="burnrec-") if self.own else f"{work_dir}/als-{uuid.uuid4().hex}"
        self.paths = {}

    def blocks(self, frame):
        return self.state(frame, False)

    def release_blocks(self, frame):
        self.release_state(frame)

    def state(self, frame, checkpoint):
        path = f"{self.folder}/{uuid.uuid4().hex}"
        frame.write.parquet(path)
        kept = self.spark.read.schema(frame.schema).parquet(path)
        self.paths[id(kept)] = path
        return kept

    def release_state(self, frame):
        path = self.paths.pop(id(frame))
        # A folder of another file system than this machine's is left to its owner.
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)


def storage_level(name):
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
