"""Batch scoring on Spark against the same run in this process."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import burnrec
from burnrec.spark import recommend, score
from spark import problem


def lists(frame):
    return {row["user"]: [(pair["item"], pair["score"]) for pair in row["recommendations"]] for row in frame.collect()}


@pytest.mark.parametrize("include_seen", [False, True])
def test_lists_are_those_of_the_run(spark, ratings, run, include_seen):
    users = ratings.select("user").distinct().repartition(3)
    found = lists(recommend(users, run, 5, include_seen=include_seen))
    columns = burnrec.load(run).recommend_many(sorted(found), 5, include_seen=include_seen)
    assert len(found) == problem.USERS
    for user, of_user in pd.DataFrame(columns).groupby("user"):
        assert [item for item, _ in found[user]] == list(of_user["item"])
        assert np.array_equal(np.float32([value for _, value in found[user]]), of_user["score"])


def test_an_unknown_user_has_no_list_and_an_unknown_pair_no_score(spark, run):
    rows = [(3, 5, "a"), (3, 10**6, "b"), (10**6, 5, "c"), (None, 5, "d")]
    pairs = spark.createDataFrame(rows, "user int, item int, tag string")
    assert set(lists(recommend(pairs, run, 2))) == {3}
    found = {row["tag"]: row["score"] for row in score(pairs, run).collect()}
    expected = burnrec.load(run).score([3], [5])
    assert found["a"] == pytest.approx(float(expected[0])) and [found[tag] for tag in "bcd"] == [None] * 3


def test_ids_may_be_texts(spark, tmp_path):
    user, item, value = problem.rows()
    rows = pd.DataFrame({"user": [f"u{x}" for x in user], "item": [f"i{x}" for x in item], "rating": value})
    burnrec.fit(rows, "als", user="user", item="item", value="rating", dim=4, epochs=1, seed=1, out=tmp_path / "run")
    frame = spark.createDataFrame(pa.Table.from_pandas(rows, preserve_index=False))
    found = lists(recommend(frame.select("user").limit(7).distinct(), tmp_path / "run", 3))
    columns = burnrec.load(tmp_path / "run").recommend_many(list(found), 3)
    assert [item for user in found for item, _ in found[user]] == list(columns["item"])
    alone = burnrec.load(tmp_path / "run").score(rows["user"], rows["item"])
    assert score(frame, tmp_path / "run").where("score is null").count() == np.isnan(alone).sum()
    pair = spark.createDataFrame([("u3", "i5")], "user string, item string")
    expected = burnrec.load(tmp_path / "run").score(["u3"], ["i5"])[0]
    assert score(pair, tmp_path / "run").first()["score"] == pytest.approx(float(expected))
