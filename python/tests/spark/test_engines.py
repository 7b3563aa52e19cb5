"""The same file on Spark Connect and on Sail, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import burnrec
from burnrec.spark import ALS
from burnrec.spark.engine import engine_of, is_sail
from spark import job, problem
from spark.cluster import environment

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("connect", "pyspark.ml.recommendation.ALSModel"), ("sail", "burnrec.spark.model.ALSModel")],
)
def test_another_engine_gives_the_same_bits(ratings, tmp_path, engine, kind):
    out, ease = tmp_path / "factors.npz", tmp_path / "ease"
    rows = pd.DataFrame(dict(zip(("user", "item", "rating"), problem.rows(), strict=True)))
    burnrec.fit(rows, "ease", user="user", item="item", value="rating", reg=50, out=ease)
    # Without the settings of the cluster of the other tests.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    run = subprocess.run(
        [sys.executable, "-m", "spark.job", engine, out, ease],
        cwd=TESTS,
        env=inherited | environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    found = np.load(out)
    expected = problem.factors(ALS(**job.SETTINGS, implicitPrefs=True).fit(ratings))
    assert (found["users"] == expected[0]).all() and (found["items"] == expected[1]).all()
    assert str(found["kind"]) == kind
    assert (int(found["predicted"]), int(found["best"])) == (100, problem.USERS)
    alone = burnrec.load(ease)
    lists = {user: items for user, *items in found["lists"].tolist()}
    assert len(lists) == problem.USERS
    for user, of_user in pd.DataFrame(alone.recommend_many(sorted(lists), 5)).groupby("user"):
        assert lists[user] == list(of_user["item"])
    assert np.array_equal(found["scores"], alone.score(*found["pairs"].T))


class Answers:
    """A session of Connect whose settings are answered by a function."""

    def __init__(self, get):
        self.conf = SimpleNamespace(get=get)


def test_an_engine_that_does_not_answer_is_not_taken_for_sail():
    def down(*_):
        raise ConnectionError("the server is down")

    with pytest.raises(ConnectionError, match="is down"):
        is_sail(Answers(down))
    assert not is_sail(Answers(lambda name, default: {"spark.master": "yarn"}.get(name, default)))
    assert is_sail(Answers(lambda name, default: default))


def test_the_temporary_folder_of_a_fit_is_removed(ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spark = ratings.sparkSession
    engine = engine_of(spark, "parquet", None, "MEMORY_AND_DISK")
    assert engine.state(ratings, False).count() == ratings.count()
    engine.close()
    assert not list(tmp_path.iterdir())
    engine = engine_of(spark, "parquet", None, "MEMORY_AND_DISK")
    kept = engine.hand_over(engine.state(ratings, True))
    engine.state(ratings, False)
    engine.close()
    assert kept.count() == ratings.count() and len(list(Path(engine.folder).iterdir())) == 1


def test_what_a_fit_leaves_is_removed_when_the_process_ends(tmp_path):
    code = "from burnrec.spark.engine import temporary_folder as make\nimport os\nopen(os.path.join(make(), 'x'), 'w')"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert not list(tmp_path.iterdir())
