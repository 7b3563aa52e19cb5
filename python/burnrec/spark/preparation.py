"""Filters and splits of ratings on the engine, by window functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

__all__ = ["prepare"]

SPLITS = ("leave-one-out", "temporal")
DUPLICATES = ("last", "first", "sum", "mean", "max")


def prepare(
    ratings: DataFrame,
    out: str | None = None,
    *,
    user_col: str = "user",
    item_col: str = "item",
    value_col: str | None = None,
    time_col: str | None = None,
    duplicates: str = "last",
    positive_from: float | None = None,
    min_user: int = 1,
    min_item: int = 1,
    split: str = "leave-one-out",
    valid_from: float = 0.8,
    test_from: float = 0.9,
    seed: int = 42,
) -> DataFrame:
    """Filters ratings and splits them into train, valid and test, as ``burnrec prepare`` does on one machine.

    Parameters
    ----------
    ratings : pyspark.sql.DataFrame
    out : str, optional
        A folder to write Parquet to, with a folder for each part of the split. ``burnrec prepare OUT`` takes its split as it
        stands.
    user_col, item_col : str
        Columns of ids, of any type.
    value_col : str, optional
        A column of values; without it each is 1.
    time_col : str, optional
        A column of times: a timestamp, a date, or a number of Unix seconds.
    duplicates : {"last", "first", "sum", "mean", "max"}
        What becomes of several rows of one user and item: the last or the first by time stays, or the last with the sum, the
        mean or the greatest of their values.
    positive_from : float, optional
        Rows of at least this value are kept, as 1.
    min_user, min_item : int
        Users and items with fewer rows are dropped, repeatedly, until none is below its minimum.
    split : {"leave-one-out", "temporal"}
        Test is the last row of each user by time and valid the one before, of users with at least 3; or rows from `test_from`
        on, and valid those from `valid_from` to there.
    valid_from, test_from : float or int
        For a temporal split: a share of the rows (float), or Unix seconds (int).
    seed : int
        Of the order in which rows of equal time stand.

    Returns
    -------
    pyspark.sql.DataFrame
        ``user, item, value float, time long`` (0 without times) and ``split``: train, valid or test

    Raises
    ------
    ValueError
        When a setting or a column is not what it must be, or a part of the split would be empty.
    """
    from pyspark.sql import functions as F

    if split not in SPLITS:
        raise ValueError(f"split: found {split!r}, expected one of {', '.join(SPLITS)}")
    if duplicates not in DUPLICATES:
        raise ValueError(f"duplicates: found {duplicates!r}, expected one of {', '.join(DUPLICATES)}")
    if split == "temporal" and time_col is None:
        raise ValueError("time_col: found none, expected a column of times for a temporal split")
    asked = {"user_col": user_col, "item_col": item_col, "value_col": value_col, "time_col": time_col}
    for setting, name in asked.items():
        if name is not None and name not in ratings.columns:
            raise ValueError(f"{setting}: found no column {name!r}, expected one of {', '.join(ratings.columns)}")
    value = F.col(f"`{value_col}`") if value_col else F.lit(1.0)
    rows = ratings.select(
        F.col(f"`{user_col}`").alias("user"),
        F.col(f"`{item_col}`").alias("item"),
        value.cast("float").alias("value"),
        _seconds(ratings, time_col).alias("time"),
    )
    bad = "user is null or item is null or value is null or isnan(value) or abs(value) = double('inf') or time is null"
    n_bad = rows.where(bad).count()
    if n_bad:
        raise ValueError(
            f"ratings: found {n_bad} rows with a missing field or a value that is not finite, expected none"
        )
    rows = _deduped(rows, duplicates)
    if positive_from is not None:
        rows = rows.where(F.col("value") >= positive_from).withColumn("value", F.lit(1.0).cast("float"))
    rows = _with_minima(rows, min_user, min_item)
    if split == "temporal":
        rows = rows.withColumn("split", _by_time(rows, valid_from, test_from))
    else:
        rows = _leave_one_out(rows, seed)
    if out is not None:
        rows.write.partitionBy("split").parquet(out)
        rows = rows.sparkSession.read.parquet(out).select("user", "item", "value", "time", "split")
    counts = {row["split"]: row["count"] for row in rows.groupBy("split").count().collect()}
    empty = [part for part in ("train", "valid", "test") if not counts.get(part)]
    if empty:
        raise ValueError(f"split: found no rows in {' and '.join(empty)}, expected some in train, valid and test")
    return rows


def _seconds(ratings: DataFrame, name: str | None) -> Column:
    """Returns a column of times as Unix seconds."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import DateType, NumericType, TimestampNTZType, TimestampType

    if name is None:
        return F.lit(0).cast("long")
    kind, column = ratings.schema[name].dataType, F.col(f"`{name}`")
    if isinstance(kind, NumericType):
        return F.floor(column).cast("long")
    if isinstance(kind, (DateType, TimestampType, TimestampNTZType)):
        return F.unix_timestamp(column.cast("timestamp"))
    raise ValueError(f"time_col: found {name!r} of type {kind.simpleString()}, expected times or Unix seconds")


def _deduped(rows: DataFrame, duplicates: str) -> DataFrame:
    """Returns one row for each pair of a user and an item."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    pair = Window.partitionBy("user", "item")
    earlier = duplicates == "first"
    order = (F.asc, F.asc) if earlier else (F.desc, F.desc)
    place = F.row_number().over(pair.orderBy(order[0]("time"), order[1]("value")))
    values = {"sum": F.sum, "mean": F.mean, "max": F.max}
    value = values[duplicates]("value").over(pair).cast("float") if duplicates in values else F.col("value")
    rows = rows.select("user", "item", value.alias("value"), "time", place.alias("place"))
    return rows.where("place = 1").drop("place")


def _with_minima(rows: DataFrame, min_user: int, min_item: int) -> DataFrame:
    """Drops users and items with fewer rows than that, until none is left."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if max(min_user, min_item) <= 1:
        return rows
    n, before = rows.count(), None
    while n != before:
        for column, least in (("user", min_user), ("item", min_item)):
            of_id = F.count(F.lit(1)).over(Window.partitionBy(column))
            rows = rows.withColumn("n", of_id).where(F.col("n") >= least).drop("n")
        n, before = rows.count(), n
    return rows


def _leave_one_out(rows: DataFrame, seed: int) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    of_user = Window.partitionBy("user")
    drawn = F.xxhash64(F.lit(seed), F.col("user"), F.col("item"))
    last = F.row_number().over(of_user.orderBy(F.desc("time"), drawn, "item"))
    n = F.count(F.lit(1)).over(of_user)
    part = F.when(n < 3, "train").when(last == 1, "test").when(last == 2, "valid").otherwise("train")
    return rows.select("*", part.alias("split"))


def _by_time(rows: DataFrame, valid_from: float, test_from: float) -> Column:
    from pyspark.sql import functions as F

    n, first, last = rows.agg(F.count(F.lit(1)), F.min("time"), F.max("time")).take(1)[0]
    if not n:
        raise ValueError("ratings: found no rows after the filters, expected some")
    moments = [_moment(rows, n, name, point) for name, point in (("valid_from", valid_from), ("test_from", test_from))]
    if not first < moments[0] < moments[1] <= last:
        found = f"valid from {moments[0]} and test from {moments[1]}, rows from {first} to {last}"
        raise ValueError(
            f"valid_from, test_from: found {found}, expected first row < valid_from < test_from <= last row"
        )
    return F.when(F.col("time") >= moments[1], "test").when(F.col("time") >= moments[0], "valid").otherwise("train")


def _moment(rows: DataFrame, n: int, name: str, point: float) -> int:
    """Returns Unix seconds, of a share of the rows the time of the row at that place."""
    if isinstance(point, int):
        return point
    if not 0 < point < 1:
        raise ValueError(f"{name}: found {point}, expected a share between 0 and 1, or Unix seconds as an integer")
    place = min(int(n * point), n - 1)
    share = (place + 0.5) / n
    return int(rows.selectExpr(f"percentile_disc({share!r}) within group (order by time)").take(1)[0][0])
