"""The same file on Spark Connect and on Sail, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from burnrec.spark import ALS
from spark import job, problem
from spark.cluster import environment

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("connect", "pyspark.ml.recommendation.ALSModel"), ("sail", "burnrec.spark.model.ALSModel")],
)
def test_another_engine_gives_the_same_bits(ratings, tmp_path, engine, kind):
    out = tmp_path / "factors.npz"
    # Without the settings of the cluster of the other tests.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    run = subprocess.run(
        [sys.executable, "-m", "spark.job", engine, out],
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
