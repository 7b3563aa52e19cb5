"""Item-item nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec.implicit.recommender_base import RecommenderBase, check_one, check_orientation
from burnrec.implicit.utils import check_csr, check_not_negative, id_or_array, is_csr, item_array, native_matrix

_LEAST = -np.finfo(np.float32).max


class ItemItemRecommender(RecommenderBase):
    """The `K` most similar items of each by the dot products of their columns as they are.

    Parameters
    ----------
    K : int
        How many items each keeps, itself among them.
    num_threads : int
        How many threads; 0 for all cores.

    Attributes
    ----------
    similarity : csr_matrix
        ``[items, items]``: in each row the items that are scored for having the row's item.
    """

    _weighting: Literal["cosine", "tfidf", "bm25"] | None = None

    def __init__(self, K: int = 20, num_threads: int = 0) -> None:
        self.K = K
        self.num_threads = num_threads
        self.similarity: Any = None
        self.scorer: _native.Neighbours | None = None

    def fit(self, weighted: Any, show_progress: bool = True, callback: Callable[..., object] | None = None) -> None:
        """Compute the similarities.

        Parameters
        ----------
        weighted : csr_matrix
            ``[users, items]``, whose values are taken as they are.
        show_progress : bool
            Has no effect.
        callback : callable, optional
            Has to be None: there are no epochs.
        """
        if callback:
            raise NotImplementedError("callback isn't supported on ItemItemRecommender.fit: there are no epochs")
        from scipy.sparse import csr_matrix

        check_not_negative(K=self.K, num_threads=self.num_threads)
        csr = check_csr(weighted)
        k1, b = self._parameters()
        nearest = _native.nearest(
            native_matrix(csr), self._weighting, int(self.K), k1=k1, b=b, threads=self.num_threads
        )
        indptr = np.empty((1, nearest.shape[0] + 1), dtype=np.int32)
        indices, data = np.empty((1, nearest.nnz), dtype=np.int32), np.empty((1, nearest.nnz), dtype=np.float32)
        nearest.write(indptr, indices, data)
        self.similarity = csr_matrix((data[0], indices[0], indptr[0]), shape=nearest.shape)
        self.scorer = _native.Neighbours(nearest)

    def _parameters(self) -> tuple[float, float]:
        """Return K1 and B of BM25, which the others do not read."""
        return 1.2, 0.75

    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if not is_csr(user_items):
            raise ValueError("user_items needs to be a CSR sparse matrix")
        scorer, n_items = self._fitted()
        userid = id_or_array(userid)
        is_one = np.isscalar(userid)
        check_orientation(user_items, "user_items", (1 if is_one else len(userid), n_items))
        check_one(items, filter_items, "items and filter_items", "recommend")
        ids = np.empty((user_items.shape[0], n_items if is_one and items is not None else max(N, 0)), dtype=np.int32)
        scores = np.empty(ids.shape, dtype=np.float32)
        scorer.recommend(
            native_matrix(user_items),
            ids,
            scores,
            unseen=filter_already_liked_items,
            only=item_array(items),
            without=item_array(filter_items),
            threads=self.num_threads,
        )
        if not is_one:
            return ids, scores.astype(np.float64)
        found = ids[0] >= 0
        of_one, score = ids[0][found], scores[0][found].astype(np.float64)
        if items is not None:
            # All the items that were asked for come back, those without a score last.
            missing = np.setdiff1d(np.asarray(items), of_one)
            of_one = np.append(of_one, missing)
            score = np.append(score, np.full(missing.size, -np.finfo(score.dtype).max))
        return of_one, score

    recommend.__doc__ = RecommenderBase.recommend.__doc__

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Any:
        """Refuse: an item-item model knows no users."""
        raise NotImplementedError("similar_users isn't implemented for item-item recommenders")

    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if recalculate_item:
            raise NotImplementedError("recalculate_item isn't implemented for item-item recommenders")
        self._fitted()
        itemid = id_or_array(itemid)
        check_one(items, filter_items, "items and filter_items", "similar_items")
        if np.isscalar(itemid):
            return self._similar(itemid, N, filter_items, items)
        ids = np.full((len(itemid), N), -1, dtype=np.int32)
        scores = np.full(ids.shape, _LEAST, dtype=np.float64)
        for row, item in enumerate(itemid):
            found, score = self._similar(item, N, filter_items, items)
            ids[row, : len(found[:N])], scores[row, : len(found[:N])] = found[:N], score[:N]
        return ids, scores

    similar_items.__doc__ = RecommenderBase.similar_items.__doc__

    def _similar(self, item: Any, n: int, without: Any, only: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if item >= self.similarity.shape[0]:
            return np.array([], dtype=np.int32), np.array([])
        row = slice(self.similarity.indptr[item], self.similarity.indptr[item + 1])
        ids, scores = self.similarity.indices[row], self.similarity.data[row].astype(np.float64)
        if without is not None:
            kept = ~np.isin(ids, without)
            ids, scores = ids[kept], scores[kept]
        elif only is not None:
            kept = np.isin(ids, only)
            ids, scores = ids[kept], scores[kept]
            missing = np.setdiff1d(np.asarray(only), ids)
            ids, scores = np.append(ids, missing), np.append(scores, np.full(missing.size, -np.finfo(scores.dtype).max))
        best = np.argsort(-scores, kind="stable")[:n]
        return ids[best], scores[best]

    def _fitted(self) -> tuple[_native.Neighbours, int]:
        if self.similarity is None:
            raise ValueError(f"{type(self).__name__}: found no similarities, expected a model that was fitted")
        if self.scorer is None:
            self.scorer = _native.Neighbours(native_matrix(self.similarity))
        return self.scorer, self.similarity.shape[0]

    def to_cpu(self) -> ItemItemRecommender:
        """Return the model itself, which is on the CPU."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "scorer": None}

    def save(self, fileobj_or_path: Any) -> None:
        saved: dict[str, Any] = {"K": self.K, **self._saved()}
        if self.similarity is not None:
            m = self.similarity
            saved.update(shape=m.shape, data=m.data, indptr=m.indptr, indices=m.indices)
        np.savez(fileobj_or_path, **saved)

    save.__doc__ = RecommenderBase.save.__doc__

    def _saved(self) -> dict[str, float]:
        return {}

    @classmethod
    def load(cls, fileobj_or_path: Any) -> ItemItemRecommender:
        """Load a model that `save`, here or of ``implicit``, wrote.

        Parameters
        ----------
        fileobj_or_path : str or file
            Where from; ``.npz`` may be left out.
        """
        from scipy.sparse import csr_matrix

        if isinstance(fileobj_or_path, str) and not fileobj_or_path.endswith(".npz"):
            fileobj_or_path = fileobj_or_path + ".npz"
        with np.load(fileobj_or_path, allow_pickle=False) as saved:
            model = cls()
            for name in ("K", *model._saved()):
                if name in saved:
                    setattr(model, name, saved[name].item())
            if "data" in saved:
                arrays = (saved["data"], saved["indices"], saved["indptr"])
                model.similarity = csr_matrix(arrays, shape=tuple(saved["shape"]))
            return model

    def __repr__(self) -> str:
        fitted = "not fitted" if self.similarity is None else f"{self.similarity.shape[0]} items"
        parameters = ", ".join(f"{name}={value}" for name, value in {"K": self.K, **self._saved()}.items())
        return f"{type(self).__name__}({parameters}) <{fitted}>"


class _WeightedRecommender(ItemItemRecommender):
    """What weights the values before it computes the similarities."""

    def fit(self, counts: Any, show_progress: bool = True, callback: Callable[..., object] | None = None) -> None:
        """Weight the values, and compute the similarities.

        Parameters
        ----------
        counts : csr_matrix
            ``[users, items]``
        show_progress : bool
            Has no effect.
        callback : callable, optional
            Has to be None: there are no epochs.
        """
        super().fit(counts, show_progress, callback)


class CosineRecommender(_WeightedRecommender):
    """The `K` most similar items of each by the cosines of their columns."""

    _weighting = "cosine"


class TFIDFRecommender(_WeightedRecommender):
    """The `K` most similar items of each by the cosines of their columns, weighted by tf-idf."""

    _weighting = "tfidf"


class BM25Recommender(_WeightedRecommender):
    """The `K` most similar items of each by the dot products of their columns, weighted by BM25.

    Parameters
    ----------
    K : int
        How many items each keeps, itself among them.
    K1 : float
        How slowly a value saturates.
    B : float
        How much the values of popular items are scaled down, from 0 to 1.
    num_threads : int
        How many threads; 0 for all cores.
    """

    _weighting = "bm25"

    def __init__(self, K: int = 20, K1: float = 1.2, B: float = 0.75, num_threads: int = 0) -> None:
        super().__init__(K, num_threads)
        self.K1 = K1
        self.B = B

    def _parameters(self) -> tuple[float, float]:
        return self.K1, self.B

    def _saved(self) -> dict[str, float]:
        return {"K1": self.K1, "B": self.B}


def tfidf_weight(X: Any) -> Any:
    """Return a matrix, items in rows, weighted by tf-idf: ``sqrt(x) * (ln(items) - ln(1 + items of the user))``.

    Parameters
    ----------
    X : sparse matrix
        ``[items, users]``
    """
    X = X.tocoo(copy=True)
    X.data = np.sqrt(X.data) * _inverse_frequency(X)[X.col]
    return X


def bm25_weight(X: Any, K1: float = 100, B: float = 0.8) -> Any:
    """Return a matrix, items in rows, weighted by BM25.

    Parameters
    ----------
    X : sparse matrix
        ``[items, users]``
    K1 : float
        How slowly a value saturates.
    B : float
        How much the values of popular items are scaled down.
    """
    X = X.tocoo(copy=True)
    sums = np.bincount(X.row, X.data, minlength=X.shape[0])
    norms = 1.0 - B + B * sums / sums.mean()
    X.data = X.data * (K1 + 1.0) / (K1 * norms[X.row] + X.data) * _inverse_frequency(X)[X.col]
    return X


def normalize(X: Any) -> Any:
    """Return a matrix with rows of length 1.

    Parameters
    ----------
    X : sparse matrix
    """
    X = X.tocoo(copy=True)
    X.data = X.data / np.sqrt(np.bincount(X.row, X.data**2, minlength=X.shape[0]))[X.row]
    return X


def _inverse_frequency(X: Any) -> npt.NDArray[Any]:
    """Return how much each column says, the less the more rows it has."""
    counts = np.bincount(X.col, minlength=X.shape[1])
    return np.asarray(np.log(X.shape[0]) - np.log1p(counts))
