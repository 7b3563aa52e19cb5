"""Filters and splits on Spark against the same in plain Python."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import burnrec
from burnrec.spark import dense_ids, prepare
from spark import problem


@pytest.fixture(scope="module")
def timed(spark):
    """Rows with times that differ within a user, some pairs twice, ids as texts."""
    user, item, value = problem.rows(80, 40, 1500)
    rng = np.random.default_rng(5)
    again = rng.choice(len(user), 100, replace=False)
    frame = pd.DataFrame({"user": user, "item": item, "rating": value})
    frame = pd.concat([frame, frame.iloc[again].assign(rating=5.0)], ignore_index=True)
    frame["at"] = rng.permutation(len(frame)) + 1_000_000_000
    frame["user"] = "u" + frame["user"].astype(str)
    return frame


def frame_of(spark, pandas):
    return spark.createDataFrame(pa.Table.from_pandas(pandas, preserve_index=False))


def rows(frame):
    return frame.toArrow().to_pandas().sort_values(["user", "item"]).reset_index(drop=True)


def test_leave_one_out_holds_out_the_last_two_rows_of_each_user(spark, timed):
    found = rows(prepare(frame_of(spark, timed), value_col="rating", time_col="at"))
    kept = timed.sort_values("at").drop_duplicates(["user", "item"], keep="last")
    place = kept.groupby("user")["at"].rank(ascending=False)
    enough = kept.groupby("user")["at"].transform("size") >= 3
    part = np.select([enough & (place == 1), enough & (place == 2)], ["test", "valid"], "train")
    expected = kept.assign(split=part).sort_values(["user", "item"]).reset_index(drop=True)
    assert (found["split"] == expected["split"]).all() and (found["value"] == expected["rating"]).all()
    assert (found["time"] == expected["at"]).all()


def test_equal_times_stand_in_a_drawn_order(spark, timed):
    one_time = frame_of(spark, timed.assign(at=7))
    found = [rows(prepare(one_time, time_col="at", seed=seed))["split"] for seed in (1, 1, 2)]
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_a_temporal_split_cuts_at_shares_of_the_rows_or_at_times(spark, timed):
    frame = frame_of(spark, timed)
    found = rows(prepare(frame, time_col="at", split="temporal", valid_from=0.7, test_from=0.9))
    times = np.sort(found["time"])
    valid, test = times[int(len(times) * 0.7)], times[int(len(times) * 0.9)]
    assert set(found[found["time"] >= test]["split"]) == {"test"}
    assert set(found[(found["time"] >= valid) & (found["time"] < test)]["split"]) == {"valid"}
    assert set(found[found["time"] < valid]["split"]) == {"train"}
    by_time = rows(prepare(frame, time_col="at", split="temporal", valid_from=int(valid), test_from=int(test)))
    assert (by_time["split"] == found["split"]).all()


def test_what_is_written_is_read_on_one_machine_with_its_split(spark, timed, tmp_path):
    out = tmp_path / "ratings"
    # Not the split that burnrec would draw itself.
    settings = {"split": "temporal", "valid_from": 0.6, "test_from": 0.7}
    frame = prepare(frame_of(spark, timed), str(out), value_col="rating", time_col="at", **settings)
    counts = {row["split"]: row["count"] for row in frame.groupBy("split").count().collect()}
    data = burnrec.prepare(out)
    assert data.n_rows == {part: counts[part] for part in ("train", "valid", "test")}
    assert (data.n_users, data.n_items) == (timed["user"].nunique(), timed["item"].nunique())
    words = [sys.executable, "-m", "burnrec", "prepare", out, "--out", tmp_path / "prepared"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    assert burnrec.open_prepared(tmp_path / "prepared").hash == data.hash
    trained = burnrec.fit(out, "popularity")
    assert trained.record["data"]["hash"] == data.hash
    # Popularity is trained on train and valid alone.
    rows = frame.toArrow().to_pandas()
    known = rows[rows["split"] != "test"].groupby("item").size()
    best = trained.recommend(rows["user"][0], 1, include_seen=True)[0]
    assert known[best.item] == known.max()


@pytest.mark.parametrize("duplicates", ["last", "first", "sum", "mean", "max"])
def test_repeated_pairs(spark, timed, duplicates):
    found = rows(prepare(frame_of(spark, timed), value_col="rating", time_col="at", duplicates=duplicates))
    pairs = timed.sort_values("at").groupby(["user", "item"])["rating"].agg(duplicates).reset_index()
    assert np.allclose(found["value"], pairs.sort_values(["user", "item"])["rating"])


def test_minima_hold_for_users_and_items_at_once(spark, timed):
    found = rows(
        prepare(frame_of(spark, timed), value_col="rating", time_col="at", positive_from=3, min_user=4, min_item=6)
    )
    assert found.groupby("user").size().min() >= 4 and found.groupby("item").size().min() >= 6
    assert set(found["value"]) == {1.0}


def test_dense_ids_are_a_function_of_the_ids(spark, timed):
    frame = frame_of(spark, timed)
    found = dense_ids(frame, "user").toArrow().to_pandas().sort_values("index")
    assert list(found["index"]) == list(range(timed["user"].nunique()))
    again = dense_ids(frame.orderBy(F.rand(3)), "user").toArrow().to_pandas().sort_values("index")
    assert list(again["id"]) == list(found["id"])
