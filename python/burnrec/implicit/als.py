"""Alternating least squares."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec.implicit.matrix_factorization_base import MatrixFactorizationBase
from burnrec.implicit.recommender_base import ModelFitError, check_orientation
from burnrec.implicit.utils import (
    ProgressBar,
    check_csr,
    check_not_negative,
    check_random_state,
    id_or_array,
    native_matrix,
)

log = logging.getLogger("burnrec.implicit")

# implicit's steps of conjugate gradients in a row.
STEPS = 3

# How far above its minimum a row's part of the loss may be left, as a share of what it is for a row of zeros. On ml-1m ten times
# as much ends above implicit's loss with some settings, and a third of it takes a third longer.
SHARE = 1e-5


class AlternatingLeastSquares(MatrixFactorizationBase):
    """Factors for implicit feedback (Hu, Koren and Volinsky 2008).

    Rows are solved by conjugate gradients (Takács, Pilászy and Tikk 2011) or exactly.

    Parameters
    ----------
    factors : int
        The length of the factors.
    regularization : float
        The strength of the regulariser.
    alpha : float
        What the values are multiplied by.
    dtype : data-type
        The type of the factors. They are computed in float32, whatever it is.
    use_native : bool
        Has no effect: all that is long is native.
    use_cg : bool
        Whether rows are solved by conjugate gradients, which is faster, or exactly.
    iterations : int
        How often both sides are solved.
    calculate_training_loss : bool
        Whether each iteration computes its loss.
    num_threads : int
        How many threads; 0 for all cores.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        Draws the first factors.
    use_gpu : bool
        Has to be False: `burnrec.fit` trains on a card.

    Attributes
    ----------
    user_factors, item_factors : ndarray
        ``[rows, factors]``
    cg_steps : int
        The most steps of conjugate gradients in a row. They are preconditioned, and end where a row's part of the loss is less
        than a hundred-thousandth of what it is for a row of zeros above its minimum; with more than the 3 of the default only
        at its rounding.
    fit_callback : callable or None
        Called as the callback of `fit` is, where that has none.
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: npt.DTypeLike = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        use_gpu: bool = False,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        if use_gpu:
            self.to_gpu()
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.dtype = np.dtype(dtype)
        self.use_native = use_native
        self.use_cg = use_cg
        self.iterations = iterations
        self.calculate_training_loss = calculate_training_loss
        self.fit_callback: Callable[..., object] | None = None
        self.cg_steps = STEPS
        self.random_state = random_state
        self._YtY: npt.NDArray[Any] | None = None
        self._XtX: npt.NDArray[Any] | None = None

    def fit(self, user_items: Any, show_progress: bool = True, callback: Callable[..., object] | None = None) -> None:
        """Factorise a matrix. Factors that are there already are where it starts.

        Parameters
        ----------
        user_items : csr_matrix
            ``[users, items]``: how sure it is that the user likes the item; a negative value says that the user does not.
        show_progress : bool
            Whether to show a bar on stderr.
        callback : callable, optional
            Called after each iteration with its number from 0, its seconds, and its loss or None.

        Raises
        ------
        TypeError
            When `user_items` is no sparse matrix.
        ValueError
            When a setting is out of its range, or there are factors of another number of users or items.
        ModelFitError
            When a value, or a factor, is no finite number.
        """
        check_not_negative(factors=self.factors, iterations=self.iterations, num_threads=self.num_threads)
        random = check_random_state(self.random_state)
        csr = check_csr(user_items)
        try:
            users_of = native_matrix(csr)
        except ValueError as error:
            raise ModelFitError(str(error)) if "finite" in str(error) else error from None
        items_of = users_of.transpose()
        sides = []
        for side, n in zip(("user_factors", "item_factors"), csr.shape, strict=True):
            if getattr(self, side) is None:
                # Drawn as implicit draws them, so that a seed starts both libraries from the same factors.
                drawn: Any = random.random
                setattr(self, side, drawn((n, self.factors), dtype=self.dtype) * 0.01)
            elif getattr(self, side).shape != (n, self.factors):
                found, expected = getattr(self, side).shape, (n, self.factors)
                text = f"{side}: found shape {found} of before, expected {expected} for user_items of shape {csr.shape}"
                raise ValueError(text + "; set both factors to None to start anew")
            sides.append(np.array(getattr(self, side), dtype=np.float32, order="C"))
        users, items = sides
        self._user_norms = self._item_norms = self._YtY = self._XtX = None
        loss = None
        callback = callback or self.fit_callback
        with ProgressBar(self.iterations, show_progress) as bar:
            for iteration in range(self.iterations):
                start = time.perf_counter()
                self._solve(users_of, items, users, self._steps)
                self._solve(items_of, users, items, self._steps)
                if self.calculate_training_loss:
                    reg, alpha = self.regularization, self.alpha
                    loss = _native.als_loss(users_of, users, items, reg=reg, alpha=alpha, threads=self.num_threads)
                    log.info("loss %.4f", loss)
                bar.update("" if loss is None else f"loss {loss:.4f}")
                if callback:
                    self._keep(users, items)
                    callback(iteration, time.perf_counter() - start, loss)
        self._keep(users, items)
        self._fitted_shape = csr.shape
        self._check_fit_errors()

    def recalculate_user(self, userid: Any, user_items: Any) -> npt.NDArray[Any]:
        """Return the factors of users by what they have, and store nothing.

        Parameters
        ----------
        userid : int or array_like
            The user, or the users.
        user_items : csr_matrix
            ``[users asked for, items]``

        Returns
        -------
        ndarray
            ``[factors]`` for one user, ``[users, factors]`` for several.
        """
        users, items = self._factors()
        userid = id_or_array(userid)
        n = 1 if np.isscalar(userid) else len(userid)
        csr = check_csr(user_items)
        check_orientation(csr, "user_items", (n, len(items)), len(users), self._fitted_shape[1])
        solved = self._solved(csr, items)
        return solved[0] if np.isscalar(userid) else solved

    def recalculate_item(self, itemid: Any, item_users: Any) -> npt.NDArray[Any]:
        """Return the factors of items by who has them, and store nothing.

        Parameters
        ----------
        itemid : int or array_like
            The item, or the items.
        item_users : csr_matrix
            ``[items asked for, users]``

        Returns
        -------
        ndarray
            ``[factors]`` for one item, ``[items, factors]`` for several.
        """
        users, items = self._factors()
        itemid = id_or_array(itemid)
        n = 1 if np.isscalar(itemid) else len(itemid)
        csr = check_csr(item_users)
        check_orientation(csr, "item_users", (n, len(users)), len(items), self._fitted_shape[0])
        solved = self._solved(csr, users)
        return solved[0] if np.isscalar(itemid) else solved

    def partial_fit_users(self, userids: Any, user_items: Any) -> None:
        """Store new factors of users, who may be new, by what they have.

        Parameters
        ----------
        userids : array_like
            The users.
        user_items : csr_matrix
            ``[users asked for, items]``
        """
        solved = self.recalculate_user(userids, user_items)
        self.user_factors = _stored(self._factors()[0], userids, solved)
        self._user_norms = self._XtX = None

    def partial_fit_items(self, itemids: Any, item_users: Any) -> None:
        """Store new factors of items, which may be new, by who has them.

        Parameters
        ----------
        itemids : array_like
            The items.
        item_users : csr_matrix
            ``[items asked for, users]``
        """
        solved = self.recalculate_item(itemids, item_users)
        self.item_factors = _stored(self._factors()[1], itemids, solved)
        self._item_norms = self._YtY = None

    def explain(
        self, userid: int, user_items: Any, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], npt.NDArray[Any]]:
        """Say which of a user's items an item is recommended for (Hu, Koren and Volinsky 2008, section 5).

        Parameters
        ----------
        userid : int
            The user, a row of `user_items`.
        user_items : csr_matrix
            ``[users, items]``
        itemid : int
            The item.
        user_weights : ndarray, optional
            What an earlier call for the user returned, which saves most of the work.
        N : int
            How many of the user's items to list.

        Returns
        -------
        total_score : float
            The score of the user and the item.
        top_contributions : list of (item, score)
            The items with the largest parts in it.
        user_weights : ndarray
            For later calls.
        """
        _, items = self._factors()
        csr = check_csr(user_items)
        row = slice(csr.indptr[userid], csr.indptr[userid + 1])
        liked, values = csr.indices[row], self.alpha * csr.data[row].astype(np.float64)
        factors = items.astype(np.float64, copy=False)
        of_liked = factors[liked]
        if user_weights is None:
            equations = self.YtY + self.regularization * np.eye(self.factors)
            equations = equations + (of_liked.T * (np.abs(values) - 1)) @ of_liked
            user_weights = np.linalg.inv(equations)
        taken = values > 0
        parts = of_liked[taken] @ (user_weights @ factors[itemid]) * values[taken]
        best = np.argsort(-parts, kind="stable")[:N]
        contributions = [(int(liked[taken][at]), float(parts[at])) for at in best]
        return float(parts.sum()), contributions, user_weights

    @property
    def YtY(self) -> npt.NDArray[Any]:
        """The Gram matrix of the items' factors, ``[factors, factors]``."""
        if self._YtY is None:
            items = self._factors()[1]
            self._YtY = items.T.dot(items)
        return self._YtY

    @property
    def XtX(self) -> npt.NDArray[Any]:
        """The Gram matrix of the users' factors, ``[factors, factors]``."""
        if self._XtX is None:
            users = self._factors()[0]
            self._XtX = users.T.dot(users)
        return self._XtX

    def save(self, fileobj_or_path: Any) -> None:
        self._save(fileobj_or_path, ["use_native", "use_cg", "cg_steps", "calculate_training_loss", "alpha"])

    save.__doc__ = MatrixFactorizationBase.save.__doc__

    @property
    def _steps(self) -> int | None:
        return self.cg_steps if self.use_cg else None

    def _keep(self, users: npt.NDArray[Any], items: npt.NDArray[Any]) -> None:
        """Make factors those of the model, in its type; of float32 they are the same arrays."""
        self.user_factors = users.astype(self.dtype, copy=False)
        self.item_factors = items.astype(self.dtype, copy=False)

    def _solve(self, matrix: _native.Matrix, fixed: Any, out: npt.NDArray[Any], steps: int | None) -> None:
        reg, alpha, threads = self.regularization, self.alpha, self.num_threads
        share = SHARE if steps is not None and steps <= STEPS else 0.0
        _native.als_solve(matrix, fixed, out, reg=reg, alpha=alpha, cg_steps=steps, share=share, threads=threads)

    def _solved(self, csr: Any, fixed: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Solve rows exactly."""
        solved = np.zeros((csr.shape[0], fixed.shape[1]), dtype=np.float32)
        self._solve(native_matrix(csr, len(fixed)), np.ascontiguousarray(fixed, dtype=np.float32), solved, None)
        return solved.astype(self.dtype, copy=False)

    def __repr__(self) -> str:
        fitted = (
            "not fitted"
            if self.user_factors is None
            else f"{len(self.user_factors)} users, {len(self._factors()[1])} items"
        )
        return (
            f"AlternatingLeastSquares(factors={self.factors}, regularization={self.regularization}, "
            f"alpha={self.alpha}, iterations={self.iterations}) <{fitted}>"
        )


def _stored(factors: npt.NDArray[Any], ids: Any, solved: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return factors with rows replaced, and as many more as the ids need."""
    ids = id_or_array(ids)
    more = int(np.max(ids)) + 1 - len(factors)
    if more > 0:
        factors = np.concatenate([factors, np.zeros((more, factors.shape[1]), dtype=factors.dtype)])
    factors[ids] = solved
    return factors
