"""An executor that is killed in mid-run."""

import os
import signal
from pathlib import Path

from pyspark.sql import functions as F

from burnrec.spark import ALS, sweeps
from spark import problem

SETTINGS = {"rank": 8, "maxIter": 4, "seed": problem.SEED, "numUserBlocks": 4, "numItemBlocks": 4, "solver": "cg"}


def executors(app):
    """The process ids of the executors of an application."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if app.encode() in words and any(word.endswith(b"CoarseGrainedExecutorBackend") for word in words):
                found.append(int(folder.name))
    return found


def bits(model):
    return [side.tobytes() for side in problem.factors(model)]


def test_a_killed_executor_changes_no_bit(spark, ratings, monkeypatch):
    expected = bits(ALS(**SETTINGS).fit(ratings))
    gram_of, calls, killed = sweeps.gram_of, [], []

    def killing(*args):
        calls.append(args)
        if len(calls) == 6:  # in the third sweep
            killed.append(min(executors(spark.sparkContext.applicationId)))
            os.kill(killed[0], signal.SIGKILL)
        return gram_of(*args)

    monkeypatch.setattr(sweeps, "gram_of", killing)
    found = bits(ALS(**SETTINGS).fit(ratings))
    assert len(killed) == 1 and len(calls) > 6
    assert found == expected


def test_a_checkpoint_directory_is_used_as_often_as_asked(spark, ratings, tmp_path):
    expected = bits(ALS(**SETTINGS).fit(ratings))
    spark.sparkContext.setCheckpointDir(str(tmp_path))
    found = bits(ALS(**SETTINGS, checkpointInterval=2).fit(ratings))
    written = list(tmp_path.rglob("part-*"))
    assert written and found == expected


def test_what_a_fit_kept_is_released(spark, ratings):
    def kept():
        return set(spark.sparkContext._jsc.getPersistentRDDs().keySet())

    before = kept()
    model = ALS(**SETTINGS).fit(ratings)
    assert len(kept() - before) == 2, "the factors of users and of items"
    for frame in (model.userFactors, model.itemFactors):
        assert frame.select(F.count("*")).first()[0]
        frame.unpersist(True)
