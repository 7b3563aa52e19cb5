"""Ids of any type as 32-bit integers, by window functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["dense_ids"]

#: The ids are numbered in so many parts, each in one task.
PARTS = 64


def dense_ids(frame: DataFrame, column: str) -> DataFrame:
    """Numbers the different values of a column.

    Ids are numbered part by part, a part being those whose text has the same remainder of its CRC-32, and in a part in their
    order: the numbers are a function of the ids alone, and no task sorts all of them.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
    column : str

    Returns
    -------
    pyspark.sql.DataFrame
        ``id``, of the type of the column, and ``index int``: 0, 1, 2, ... A null has no row.

    Raises
    ------
    ValueError
        When the frame has no such column, or more than 2^31 - 1 different values.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if column not in frame.columns:
        raise ValueError(f"column: found {column!r}, expected one of {', '.join(frame.columns)}")
    part = F.pmod(F.crc32(F.col("id").cast("string").cast("binary")), F.lit(PARTS)).cast("int")
    ids = frame.select(F.col(column).alias("id")).where("id is not null").distinct().withColumn("part", part)
    counts = dict.fromkeys(range(PARTS), 0)
    counts.update((row["part"], row["count"]) for row in ids.groupBy("part").count().collect())
    if sum(counts.values()) >= 1 << 31:
        raise ValueError(f"{column}: found {sum(counts.values())} different ids, expected less than 2^31")
    starts, at = [], 0
    for count in counts.values():
        starts.append(F.lit(at))
        at += count
    start = F.element_at(F.array(*starts), F.col("part") + 1)
    within = F.row_number().over(Window.partitionBy("part").orderBy("id")) - 1
    return ids.select("id", (start + within).cast("int").alias("index"))
