"""A Spark cluster of two executors for all tests, and what they have in common."""

import os

import pytest


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """A session on `local-cluster`: executors are processes of their own, with one core and 1 GiB each."""
    from pyspark.sql import SparkSession

    from spark.cluster import environment

    os.environ.update(environment())
    work = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.driver.host": "127.0.0.1",
        # Arrow has its buffers outside the heap.
        "spark.executor.extraJavaOptions": "-XX:MaxDirectMemorySize=4g",
        "spark.local.dir": work / "local",
        "spark.sql.shuffle.partitions": 4,
        "spark.sql.warehouse.dir": work / "warehouse",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("burnrec-tests")
    for name, value in settings.items():
        builder = builder.config(name, str(value))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ratings(spark):
    """The rows of `problem.rows()` as a frame."""
    from spark import problem

    frame = problem.frame(spark, problem.rows()).cache()
    frame.count()
    return frame


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of ALS on the rows of `problem.rows()`, which knows all their users and items."""
    import pandas as pd

    import burnrec
    from spark import problem

    rows = pd.DataFrame(dict(zip(("user", "item", "rating"), problem.rows(), strict=True)))
    folder = tmp_path_factory.mktemp("run") / "als"
    burnrec.fit(rows, "als", user="user", item="item", value="rating", dim=8, epochs=2, seed=1, out=folder)
    return folder
