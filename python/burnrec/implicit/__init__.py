"""The names of the library ``implicit`` 0.7, so that a changed import is the whole port.

Examples
--------
>>> from burnrec.implicit.als import AlternatingLeastSquares
>>> model = AlternatingLeastSquares(factors=64, regularization=0.05)
>>> model.fit(user_items)  # doctest: +SKIP
>>> ids, scores = model.recommend(0, user_items[0], N=10)  # doctest: +SKIP

Matrices are those of scipy, users in rows and items in columns; values of float32 are read where they lie. What differs from
``implicit`` is said in docs/python.md.
"""

from burnrec.implicit import als, bpr, evaluation, nearest_neighbours, recommender_base, utils
from burnrec.implicit.als import AlternatingLeastSquares
from burnrec.implicit.bpr import BayesianPersonalizedRanking
from burnrec.implicit.nearest_neighbours import (
    BM25Recommender,
    CosineRecommender,
    ItemItemRecommender,
    TFIDFRecommender,
)
from burnrec.implicit.recommender_base import ModelFitError, RecommenderBase

__all__ = [
    "AlternatingLeastSquares",
    "BM25Recommender",
    "BayesianPersonalizedRanking",
    "CosineRecommender",
    "ItemItemRecommender",
    "ModelFitError",
    "RecommenderBase",
    "TFIDFRecommender",
    "als",
    "bpr",
    "evaluation",
    "nearest_neighbours",
    "recommender_base",
    "utils",
]
