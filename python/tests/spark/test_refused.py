"""Bad input: exceptions of Python's own kinds that name what was found and what was expected."""

import pytest
from pyspark.sql import functions as F

from burnrec.spark import ALS, prepare, recommend, score


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("item"), "itemCol: found no column 'item', expected one of user, rating"),
        (lambda f: f.withColumn("rating", F.lit("good")), "ratingCol: found 'rating' of type string, expected numbers"),
        (lambda f: f.withColumn("user", F.array("user")), "userCol: found 'user' of type array<int>"),
        (lambda f: f.withColumn("rating", F.expr("if(user = 3, double('NaN'), 1.0)")), "expected finite numbers"),
        (lambda f: f.withColumn("rating", F.expr("if(user = 3, null, 1.0)")), "rows without 'rating', expected none"),
        (lambda f: f.withColumn("user", F.expr("if(user = 3, null, user)")), "rows without 'user', expected none"),
        (lambda f: f.withColumn("user", F.col("user") + 0.5), "expected whole numbers"),
        (lambda f: f.where("false"), "found no rows, expected ratings"),
    ],
)
def test_ratings(ratings, change, message):
    with pytest.raises(ValueError) as error:
        ALS(maxIter=1).fit(change(ratings))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rank": 0}, "dim: found 0, expected at least 1"),
        ({"regParam": -1.0}, "reg: found -1, expected a finite number"),
        ({"solver": "qr"}, "qr"),
        ({"keep": "memory"}, "keep: found 'memory', expected one of auto"),
        ({"intermediateStorageLevel": "TAPE"}, "storage level: found 'TAPE'"),
    ],
)
def test_settings(ratings, params, message):
    with pytest.raises(ValueError) as error:
        ALS(**params).fit(ratings)
    assert message in str(error.value)


def test_a_param_that_is_none(spark):
    with pytest.raises(TypeError, match="ranks"):
        ALS(ranks=3)


def test_runs_and_columns(ratings, tmp_path):
    with pytest.raises(FileNotFoundError, match="manifest.json"):
        recommend(ratings, tmp_path / "none", 10)
    with pytest.raises(ValueError, match="k: found 0"):
        recommend(ratings, tmp_path, 0)
    with pytest.raises(ValueError, match="score_col: found 'rating'"):
        score(ratings, tmp_path, score_col="rating")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "random"}, "split: found 'random', expected one of leave-one-out, temporal"),
        ({"split": "temporal"}, "time_col: found none"),
        ({"duplicates": "all"}, "duplicates: found 'all'"),
        ({"user_col": "usr"}, "user_col: found no column 'usr'"),
        ({"min_user": 10_000}, "found no rows in train and valid and test"),
    ],
)
def test_preparation(ratings, settings, message):
    with pytest.raises(ValueError) as error:
        prepare(ratings, **settings)
    assert message in str(error.value)
