"""Directories of ALSModel: Spark loads what the program writes, and the program reads what Spark writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from spark.cluster import environment

from interchange.running import alike, burnrec, recommended

CONFIGS = [
    ("als", "dim=8", "epochs=3"),
    ("mf", "dim=8", "epochs=2"),
    ("als", "dim=8", "epochs=3", "feedback=explicit", "biases=true", "clip=false"),
]


@pytest.fixture(scope="module")
def spark():
    os.environ.update(environment())
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    yield session
    session.stop()


def lists(model, k: int, names=lambda side, id: str(id)) -> dict:
    rows = model.recommendForAllUsers(k).collect()

    def item(row):
        return (names("item", row["item"]), row["rating"])

    return {names("user", row["user"]): [item(row) for row in row["recommendations"]] for row in rows}


def logit(run: Path, k: int, folder: Path) -> dict:
    """Returns the program's lists with logits, which are what Spark predicts: those of the run's factors."""
    imported = folder / "imported"
    burnrec("import", folder / "model", "--out", imported)
    return recommended(imported, k, folder)


@pytest.mark.parametrize("config", CONFIGS, ids="-".join)
def test_spark_recommends_as_the_program_does(spark, runs, tmp_path, config):
    from pyspark.ml.recommendation import ALSModel

    run = runs.train(*config)
    burnrec("export", run, "--format", "spark-als", "--out", tmp_path / "model")
    model = ALSModel.load(str(tmp_path / "model"))
    biases = config[0] == "mf" or "biases=true" in config
    assert model.rank == (10 if biases else 8)
    assert ("_rank8_plus_2_for_biases_" in model.uid) == biases
    spark_lists = lists(model, 10)
    alike(logit(run, 10, tmp_path), spark_lists)
    ours = recommended(run, 10, tmp_path, "--include-seen")
    if config[0] == "mf":
        # The program shows probabilities, which rank as the logits do.
        same = sum(a[0] == b[0] for user in ours for a, b in zip(ours[user], spark_lists[user], strict=True))
        assert same >= 0.999 * 10 * len(ours)
    else:
        alike(ours, spark_lists)
    user, item = int(next(iter(ours))), int(ours[next(iter(ours))][0][0])
    frame = spark.createDataFrame([(user, item), (-1, item)], ["user", "item"])
    predictions = sorted(row["prediction"] for row in model.transform(frame).collect())
    assert len(predictions) == 2 and predictions[1] != predictions[1], "an unknown user gets NaN"


def test_text_ids_are_numbered_and_said(spark, tmp_path):
    from pyspark.ml.recommendation import ALSModel

    raw = tmp_path / "raw"
    burnrec("synth", "--users", 60, "--items", 40, "--rows", 1200, "--out", raw)
    rows = (raw / "ratings.csv").read_text().splitlines()
    named = [rows[0], *("u" + row.split(",")[0] + ",i" + row.split(",", 1)[1] for row in rows[1:])]
    (tmp_path / "ratings.csv").write_text("\n".join(named) + "\n")
    burnrec("prepare", tmp_path / "ratings.csv", "--out", tmp_path / "data")
    config = Path(__file__).parents[3] / "configs" / "als.toml"
    words = ["--set", "dim=4", "--set", "epochs=2"]
    burnrec("train", config, "--data", tmp_path / "data", "--out", tmp_path / "run", *words)
    ran = burnrec("export", tmp_path / "run", "--format", "spark-als", "--out", tmp_path / "model")
    assert "warning: Spark gets numbers for users" in ran.stderr and "for items" in ran.stderr
    folders = {side: tmp_path / "model" / f"{side}Ids" for side in ("user", "item")}
    tables = {side: parquet.read_table(folder).to_pydict() for side, folder in folders.items()}
    ids = {side: dict(zip(table["id"], table[side], strict=True)) for side, table in tables.items()}
    found = lists(ALSModel.load(str(tmp_path / "model")), 10, lambda side, id: ids[side][id])
    alike(recommended(tmp_path / "run", 10, tmp_path, "--include-seen"), found)
    burnrec("import", tmp_path / "model", "--out", tmp_path / "again")
    alike(recommended(tmp_path / "again", 10, tmp_path), found)


@pytest.fixture(scope="module")
def trained_by_spark(spark, runs):
    from pyspark.ml.recommendation import ALS

    ratings = spark.read.csv(str(runs.folder / "raw" / "ratings.csv"), header=True, inferSchema=True)
    names = dict(zip(ratings.columns, ["user", "item", "rating"], strict=False))
    ratings = ratings.select([ratings[old].alias(new) for old, new in names.items()])
    als = ALS(rank=6, maxIter=3, userCol="user", itemCol="item", ratingCol="rating", seed=1, coldStartStrategy="drop")
    return als, ratings, als.fit(ratings)


def test_what_spark_saved_recommends_the_same(spark, runs, trained_by_spark, tmp_path):
    _, _, model = trained_by_spark
    model.save(str(tmp_path / "model"))
    burnrec("import", tmp_path / "model", "--out", tmp_path / "run")
    alike(lists(model, 10), recommended(tmp_path / "run", 10, tmp_path))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["record"]["imported"]["uid"] == model.uid
    assert manifest["record"]["imported"]["spark_version"] == spark.version

    # With the ratings: without what the users have had, with titles, and with new users folded in as Spark trains.
    burnrec("import", tmp_path / "model", "--out", tmp_path / "known", "--ratings", runs.folder / "raw")
    had = {}
    for row in (runs.folder / "raw" / "ratings.csv").read_text().splitlines()[1:]:
        had.setdefault(row.split(",")[0], set()).add(row.split(",")[1])
    for user, items in recommended(tmp_path / "known", 5, tmp_path).items():
        assert not had[user] & {item for item, _ in items}


def test_a_pipeline_and_what_is_written_again(spark, trained_by_spark, tmp_path):
    from pyspark.ml import Pipeline
    from pyspark.ml.recommendation import ALSModel

    als, ratings, model = trained_by_spark
    Pipeline(stages=[als]).fit(ratings).save(str(tmp_path / "pipeline"))
    burnrec("import", tmp_path / "pipeline", "--out", tmp_path / "run")
    alike(lists(model, 10), recommended(tmp_path / "run", 10, tmp_path))
    burnrec("export", tmp_path / "run", "--format", "spark-als", "--out", tmp_path / "again")
    alike(lists(model, 10), lists(ALSModel.load(str(tmp_path / "again")), 10))


def test_another_model_is_refused(trained_by_spark, tmp_path):
    als, _, _ = trained_by_spark
    als.save(str(tmp_path / "estimator"))
    ran = burnrec("import", tmp_path / "estimator", "--out", tmp_path / "run", ok=False)
    assert ran.returncode == 1 and 'class "org.apache.spark.ml.recommendation.ALS"' in ran.stderr
    assert not (tmp_path / "run" / "manifest.json").exists()
