"""Recommenders trained, judged side by side, and served.

Examples
--------
>>> import burnrec
>>> recommender = burnrec.fit(ratings, model="als", user="user", item="item")  # doctest: +SKIP
>>> recommender.recommend(7, 10)  # doctest: +SKIP

`fit` takes any frame with ``__arrow_c_stream__`` (polars, pandas, pyarrow, DuckDB), a ratings file, or what `prepare` made of
one. `load` opens a run directory, be it written here or by the program ``burnrec``. `bench` judges many models side by side.
`burnrec.implicit` has the names of the library ``implicit``.
"""

from burnrec._bench import BenchReport, bench
from burnrec._data import Prepared, open_prepared, prepare
from burnrec._fit import fit, load, models, settings
from burnrec._native import __version__
from burnrec._recommender import FoldedUser, Recommendation, Recommender
from burnrec._scores import Scores

__all__ = [
    "BenchReport",
    "FoldedUser",
    "Prepared",
    "Recommendation",
    "Recommender",
    "Scores",
    "__version__",
    "bench",
    "fit",
    "load",
    "models",
    "open_prepared",
    "prepare",
    "settings",
]
