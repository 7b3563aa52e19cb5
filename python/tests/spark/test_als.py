"""`burnrec.spark.ALS` against burnrec on one machine and against Spark's own ALS."""

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS as SparkALS
from pyspark.ml.recommendation import ALSModel as SparkALSModel
from pyspark.sql import functions as F

from burnrec.spark import ALS, ALSModel
from spark import problem

SETTINGS = {"rank": 8, "maxIter": 4, "regParam": 0.1, "seed": problem.SEED, "numUserBlocks": 3, "numItemBlocks": 2}

EXPLICIT = {"feedback": "explicit", "init_std": 1.0, "dim": 8, "reg": 0.1, "reg_scaling": "count"}
IMPLICIT = {
    "feedback": "implicit",
    "init_std": 0.5,
    "convention": "spark",
    "dim": 8,
    "reg": 0.1,
    "reg_scaling": "count",
    "alpha": 2.0,
}
IALS = {
    "feedback": "implicit",
    "init_std": 0.5,
    "convention": "rendle",
    "dim": 8,
    "reg": 0.1,
    "reg_scaling": "frequency",
}


@pytest.mark.parametrize(
    ("params", "config"),
    [
        ({}, EXPLICIT | {"solver": "cholesky"}),
        ({"solver": "cg"}, EXPLICIT | {"solver": "cg"}),
        ({"nonnegative": True}, EXPLICIT | {"nonnegative": True}),
        ({"implicitPrefs": True, "alpha": 2.0}, IMPLICIT | {"solver": "cholesky", "unobserved_weight": 1.0}),
        (
            {"implicitPrefs": True, "alpha": 2.0, "solver": "cg", "unobservedWeight": 0.5, "regScaling": "none"},
            IMPLICIT | {"solver": "cg", "unobserved_weight": 0.5, "reg_scaling": "none"},
        ),
        (
            {"implicitPrefs": True, "convention": "rendle", "regScaling": "frequency", "unobservedWeight": 0.3},
            IALS | {"solver": "cholesky", "unobserved_weight": 0.3},
        ),
    ],
)
def test_factors_are_those_of_one_machine(ratings, params, config):
    found = problem.factors(ALS(**SETTINGS, **params).fit(ratings))
    expected = problem.on_one_machine(problem.rows(), config, SETTINGS["maxIter"])
    for found_side, expected_side in zip(found, expected, strict=True):
        assert found_side.shape == expected_side.shape
        assert np.abs(found_side - expected_side).max() < 1e-5


# For ratings both start alike, so that chance alone decides; of three seeds it is about 1 %.
@pytest.mark.parametrize(("implicit", "chance"), [(False, 0.02), (True, 0.0)])
def test_loss_is_not_above_that_of_spark_at_equal_sweeps(ratings, implicit, chance):
    common = {**SETTINGS, "maxIter": 4, "implicitPrefs": implicit}

    def loss(kind, seed):
        factors = problem.factors(kind(**{**common, "seed": seed}).fit(ratings))
        return problem.loss(problem.rows(), *factors, 0.1, implicit=implicit)

    ours, theirs = ([loss(kind, seed) for seed in (1, 2, 3)] for kind in (ALS, SparkALS))
    assert np.mean(ours) <= (1 + chance) * np.mean(theirs), (ours, theirs)


def test_the_number_of_blocks_and_the_order_of_rows_change_no_more_than_rounding(ratings):
    expected = problem.factors(ALS(**SETTINGS).fit(ratings))
    again = problem.factors(ALS(**SETTINGS).fit(ratings.orderBy(F.rand(1)).repartition(5)))
    assert all((a == b).all() for a, b in zip(again, expected, strict=True)), "the order of rows changes no bit"
    other = problem.factors(ALS(**{**SETTINGS, "numUserBlocks": 7, "numItemBlocks": 5}).fit(ratings))
    assert max(np.abs(a - b).max() for a, b in zip(other, expected, strict=True)) < 1e-5


def test_skewed_ratings(spark):
    # One user has rated everything, and one item has been rated by all.
    user, item, value = problem.rows()
    every = np.arange(problem.ITEMS), np.arange(problem.USERS)
    pairs = np.concatenate(
        [np.stack([user, item]), np.stack([every[0] * 0, every[0]]), np.stack([every[1], every[1] * 0])], axis=1
    )
    values = np.concatenate([value, every[0] % 5 + 1, every[1] % 5 + 1]).astype(np.float32)
    pairs, first = np.unique(pairs, axis=1, return_index=True)
    columns = pairs[0].astype(np.int32), pairs[1].astype(np.int32), values[first]
    found = problem.factors(ALS(**SETTINGS).fit(problem.frame(spark, columns)))
    expected = problem.on_one_machine(columns, EXPLICIT | {"solver": "cholesky"}, SETTINGS["maxIter"])
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) < 1e-5


def test_ids_may_have_gaps_and_be_negative(ratings):
    far = ratings.select((F.col("user") * 5000 - 900_000).alias("user"), (-7 * F.col("item")).alias("item"), "rating")
    model = ALS(**SETTINGS).fit(far)
    assert isinstance(model, SparkALSModel)
    assert model.userFactors.agg(F.min("id")).first()[0] == -900_000
    assert model.userFactors.count() == problem.USERS


def test_ratings_that_are_left_out_are_1(ratings):
    model = ALS(**{**SETTINGS, "ratingCol": ""}, implicitPrefs=True).fit(ratings)
    user, item, value = problem.rows()
    config = IMPLICIT | {"alpha": 1.0, "solver": "cholesky", "unobserved_weight": 1.0}
    expected = problem.on_one_machine((user, item, np.ones_like(value)), config, SETTINGS["maxIter"])
    assert max(np.abs(a - b).max() for a, b in zip(problem.factors(model), expected, strict=True)) < 1e-5


def test_no_sweep_leaves_the_first_factors(ratings):
    users, items = problem.factors(ALS(**{**SETTINGS, "maxIter": 0}).fit(ratings))
    expected, _ = problem.on_one_machine(problem.rows(), EXPLICIT | {"solver": "cholesky"}, 0)
    assert (users == expected).all() and not items.any()


@pytest.mark.parametrize("kind", ["strings", "longs"])
def test_ids_of_other_types_give_a_model_of_ours(ratings, kind, tmp_path):
    big = 1 << 40
    if kind == "strings":
        named = ratings.select(
            F.concat(F.lit("u"), "user").alias("user"), F.concat(F.lit("i"), "item").alias("item"), "rating"
        )
    else:
        named = ratings.select((F.col("user") + big).alias("user"), (F.col("item") + big).alias("item"), "rating")
    model = ALS(**SETTINGS).fit(named)
    assert isinstance(model, ALSModel) and model.rank == SETTINGS["rank"]
    predicted = model.transform(named).where("prediction is not null")
    rmse = predicted.select(F.sqrt(F.avg((F.col("rating") - F.col("prediction")) ** 2))).first()[0]
    assert predicted.count() == ratings.count() and rmse < 0.8
    unknown = model.transform(named.limit(1).withColumn("item", F.lit("x" if kind == "strings" else 7)))
    assert np.isnan(unknown.first()["prediction"])

    best = model.recommendForAllUsers(3)
    row = best.orderBy("user").first()
    scores = model.transform(named.select("item").distinct().withColumn("user", F.lit(row["user"])))
    expected = scores.orderBy(F.desc("prediction")).limit(3).collect()
    assert [pair["item"] for pair in row["recommendations"]] == [pair["item"] for pair in expected]
    assert np.allclose([pair["rating"] for pair in row["recommendations"]], [pair["prediction"] for pair in expected])
    assert best.count() == problem.USERS

    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = ALSModel.load(str(tmp_path / "model"))
    assert loaded.uid == model.uid and loaded.getUserCol() == "user"
    assert loaded.transform(named).agg(F.sum("prediction")).first()[0] == pytest.approx(
        model.transform(named).agg(F.sum("prediction")).first()[0]
    )
