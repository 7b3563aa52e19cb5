"""What models with factors of users and items share: best items, likeness, errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec.implicit.recommender_base import ModelFitError, RecommenderBase, check_one, check_orientation
from burnrec.implicit.utils import id_or_array, is_csr, item_array, native_matrix

_NORM_OF_NOTHING = 1e-10


class MatrixFactorizationBase(RecommenderBase):
    """A model whose score is a dot product.

    Attributes
    ----------
    user_factors, item_factors : ndarray or None
        ``[rows, factors]``; None before `fit`.
    num_threads : int
        How many threads; 0 for all cores.
    """

    dtype: np.dtype[Any]
    random_state: Any

    def __init__(self, num_threads: int = 0) -> None:
        self.item_factors: npt.NDArray[Any] | None = None
        self.user_factors: npt.NDArray[Any] | None = None
        self._user_norms: npt.NDArray[Any] | None = None
        self._item_norms: npt.NDArray[Any] | None = None
        self.num_threads = num_threads
        # That of the matrix that it was fitted on; partial fits add rows to the factors alone.
        self._fitted_shape: tuple[int | None, int | None] = (None, None)

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
        users, factors = self._factors()
        userid, exclude = id_or_array(userid), None
        if filter_already_liked_items or recalculate_user:
            if not is_csr(user_items):
                raise ValueError("user_items needs to be a CSR sparse matrix")
            n_users = 1 if np.isscalar(userid) else len(userid)
            shape = (n_users, len(factors))
            check_orientation(user_items, "user_items", shape, len(users), self._fitted_shape[1])
        user = self._user_factor(userid, user_items, recalculate_user)
        check_one(items, filter_items, "items and filter_items", "recommend")
        if items is not None:
            N = min(N, len(np.unique(items)))
        if filter_already_liked_items:
            exclude = native_matrix(user_items, len(factors))
        return self._best(user, factors, N, np.isscalar(userid), exclude=exclude, only=items, without=filter_items)

    recommend.__doc__ = RecommenderBase.recommend.__doc__

    def recommend_all(
        self,
        user_items: Any,
        N: int = 10,
        recalculate_user: bool = False,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        users_items_offset: int = 0,
    ) -> npt.NDArray[Any]:
        """Return the best items for all users; deprecated, as `recommend` takes many users."""
        text = "recommend_all is deprecated. Use recommend with an array of userids instead"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        ids, _ = self.recommend(
            np.arange(user_items.shape[0]) + users_items_offset,
            user_items,
            N=N,
            filter_already_liked_items=filter_already_liked_items,
            filter_items=filter_items,
            recalculate_user=recalculate_user,
        )
        return ids

    def similar_users(
        self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        factors, _ = self._factors()
        userid = id_or_array(userid)
        check_one(users, filter_users, "users and filter_users", "similar_users")
        return self._alike(factors[userid], factors, self.user_norms, N, np.isscalar(userid), users, filter_users)

    similar_users.__doc__ = RecommenderBase.similar_users.__doc__

    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        _, factors = self._factors()
        itemid = id_or_array(itemid)
        check_one(items, filter_items, "items and filter_items", "similar_items")
        item = self.recalculate_item(itemid, item_users) if recalculate_item else factors[itemid]
        return self._alike(item, factors, self.item_norms, N, np.isscalar(itemid), items, filter_items)

    similar_items.__doc__ = RecommenderBase.similar_items.__doc__

    def recalculate_user(self, userid: Any, user_items: Any) -> npt.NDArray[Any]:
        """Return the factors of users by what they have; not every model can."""
        raise NotImplementedError("recalculate_user is not supported with this model")

    def recalculate_item(self, itemid: Any, item_users: Any) -> npt.NDArray[Any]:
        """Return the factors of items by who has them; not every model can."""
        raise NotImplementedError("recalculate_item is not supported with this model")

    @property
    def user_norms(self) -> npt.NDArray[Any]:
        """The lengths of the users' factors, ``[users]``."""
        if self._user_norms is None:
            self._user_norms = _norms(self._factors()[0])
        return self._user_norms

    @property
    def item_norms(self) -> npt.NDArray[Any]:
        """The lengths of the items' factors, ``[items]``."""
        if self._item_norms is None:
            self._item_norms = _norms(self._factors()[1])
        return self._item_norms

    def to_cpu(self) -> Any:
        """Return the model itself, which is on the CPU."""
        return self

    def to_gpu(self) -> Any:
        """Refuse: these models score on the CPU."""
        raise NotImplementedError("these models are on the CPU; burnrec.fit(..., device='gpu') trains on a card")

    def _save(self, fileobj_or_path: Any, names: list[str]) -> None:
        """Save attributes, the factors, the type and the shape of the matrix that the model was fitted on."""
        names = ["user_factors", "item_factors", "factors", "regularization", "iterations", "num_threads", *names]
        saved = {name: getattr(self, name) for name in names}
        saved["dtype"] = self.dtype.name
        if isinstance(self.random_state, (int, np.integer)):
            # The state of a generator is none of the arrays of a file.
            saved["random_state"] = self.random_state
        if None not in self._fitted_shape:
            saved["_fitted_shape"] = self._fitted_shape
        # Nothing is saved of what is None, the default of all that may be.
        np.savez(fileobj_or_path, **{name: value for name, value in saved.items() if value is not None})

    def _factors(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.user_factors is None or self.item_factors is None:
            raise ValueError(f"{type(self).__name__}: found no factors, expected a model that was fitted")
        return self.user_factors, self.item_factors

    def _user_factor(self, userid: Any, user_items: Any, recalculate_user: bool) -> npt.NDArray[Any]:
        return self.recalculate_user(userid, user_items) if recalculate_user else np.asarray(self._factors()[0][userid])

    def _best(
        self,
        rows: npt.NDArray[Any],
        factors: npt.NDArray[Any],
        n: int,
        is_one: bool,
        *,
        exclude: _native.Matrix | None = None,
        only: Any = None,
        without: Any = None,
        scale: npt.NDArray[Any] | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rows = np.ascontiguousarray(np.atleast_2d(rows), dtype=np.float32)
        ids = np.empty((len(rows), max(n, 0)), dtype=np.int32)
        scores = np.empty(ids.shape, dtype=np.float32)
        _native.top_k(
            rows,
            np.ascontiguousarray(factors, dtype=np.float32),
            ids,
            scores,
            exclude=exclude,
            only=item_array(only),
            without=item_array(without),
            factors=scale,
            threads=self.num_threads,
        )
        return (ids[0], scores[0]) if is_one else (ids, scores)

    def _alike(
        self,
        rows: npt.NDArray[Any],
        factors: npt.NDArray[Any],
        norms: npt.NDArray[Any],
        n: int,
        is_one: bool,
        only: Any,
        without: Any,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rows = np.atleast_2d(rows)
        rows = rows / _norms(rows)[:, None]
        n = n if only is None else min(n, len(np.unique(only)))
        scale = np.ascontiguousarray(1.0 / norms, dtype=np.float32)
        return self._best(rows, factors, n, is_one, only=only, without=without, scale=scale)

    def _check_fit_errors(self) -> None:
        for factors in self._factors():
            if np.isnan(factors).any():
                raise ModelFitError("NaN encountered in factors")


def _norms(factors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    norms: npt.NDArray[Any] = np.linalg.norm(factors, axis=-1)
    norms[norms == 0] = _NORM_OF_NOTHING
    return norms
