"""A Spark cluster of two executors for all tests, and what they have in common."""

import os
import sys
from pathlib import Path

import pytest

pyspark = pytest.importorskip("pyspark", minversion="4.0")


def environment():
    """What PySpark from PyPI needs to start executors of its own, which run this Python."""
    return {
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_SCALA_VERSION": "2.13",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """A session on `local-cluster`: executors are processes of their own, with one core and 1 GiB each."""
    from pyspark.sql import SparkSession

    os.environ.update(environment())
    work = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.driver.host": "127.0.0.1",
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
    import problem

    frame = problem.frame(spark, problem.rows()).cache()
    frame.count()
    return frame
