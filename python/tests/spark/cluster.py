"""How PySpark from PyPI starts executors of its own."""

import sys
from pathlib import Path


def environment():
    """What executors need: the folder of the package, its version of Scala, and this Python."""
    import pyspark

    return {
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_SCALA_VERSION": "2.13",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
