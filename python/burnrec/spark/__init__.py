"""burnrec on Spark: training past one machine, and scoring of any saved model.

========================  ===============================================================================
:class:`ALS`              ``pyspark.ml.recommendation.ALS`` with the same params and the same objective
:class:`ALSModel`         what it returns where ids are not 32-bit integers, or the engine is not Spark
:func:`recommend`         the best items of users, by any saved run
:func:`score`             the scores of pairs, by any saved run
:func:`prepare`           filters, dense ids and a split by window functions, in place or as Parquet
:func:`dense_ids`         ids of any type as 0, 1, 2, ...
========================  ===============================================================================

Spark 4.0 or later, classic or Connect, and Sail. The executors need this wheel and pyarrow. Importing this package starts
no thread and no JVM, and the workers of an engine import only what they run.
"""

import importlib
from typing import Any

_PLACES = {
    "ALS": "als",
    "ALSModel": "model",
    "dense_ids": "ids",
    "prepare": "preparation",
    "recommend": "scoring",
    "score": "scoring",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
