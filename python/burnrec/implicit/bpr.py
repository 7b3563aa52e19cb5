"""Bayesian personalised ranking."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec.implicit.matrix_factorization_base import MatrixFactorizationBase
from burnrec.implicit.utils import ProgressBar, check_csr, check_not_negative, check_random_state, native_matrix


class BayesianPersonalizedRanking(MatrixFactorizationBase):
    """Factors for rankings (Rendle et al. 2009), with a bias of each item.

    Steps are those of Adam over batches, where ``implicit`` makes plain ones of a single sample, so that the same
    `learning_rate` is not the same pace.

    Parameters
    ----------
    factors : int
        The length of the factors, without the bias.
    learning_rate : float
        The learning rate.
    regularization : float
        The strength of the regulariser.
    dtype : data-type
        The type of the factors. They are computed in float32, whatever it is.
    iterations : int
        How many epochs.
    use_gpu : bool
        Has to be False: `burnrec.fit` trains on a card.
    num_threads : int
        How many threads; 0 for all cores.
    verify_negative_samples : bool
        Has no effect: an item that the user has is never drawn as a negative.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        Draws all that is drawn.

    Attributes
    ----------
    user_factors, item_factors : ndarray
        ``[rows, factors + 1]``: an item's last one is its bias, and a user's is 1.
    """

    def __init__(
        self,
        factors: int = 100,
        learning_rate: float = 0.01,
        regularization: float = 0.01,
        dtype: npt.DTypeLike = np.float32,
        iterations: int = 100,
        use_gpu: bool = False,
        num_threads: int = 0,
        verify_negative_samples: bool = True,
        random_state: Any = None,
    ) -> None:
        super().__init__(num_threads=num_threads)
        if use_gpu:
            self.to_gpu()
        self.factors = factors
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.dtype = np.dtype(dtype)
        self.iterations = iterations
        self.verify_negative_samples = verify_negative_samples
        self.random_state = random_state

    def fit(self, user_items: Any, show_progress: bool = True, callback: Callable[..., object] | None = None) -> None:
        """Factorise a matrix; values do not count, only that there is an entry.

        Parameters
        ----------
        user_items : csr_matrix
            ``[users, items]``: what each user likes.
        show_progress : bool
            Whether to show a bar on stderr.
        callback : callable, optional
            Called after each epoch with its number from 0, its seconds, and its loss. What it raises stops the training.

        Raises
        ------
        TypeError
            When `user_items` is no sparse matrix.
        ValueError
            When a setting is out of its range, or there is nothing to learn from.
        """
        check_not_negative(factors=self.factors, iterations=self.iterations, num_threads=self.num_threads)
        csr = check_csr(user_items)
        seed = int(check_random_state(self.random_state).integers(2**63))
        start = time.perf_counter()
        with ProgressBar(self.iterations, show_progress) as bar:

            def told(kind: str, payload: str) -> None:
                nonlocal start
                if kind != "epoch":
                    return
                epoch, now = json.loads(payload), time.perf_counter()
                bar.update(f"loss {epoch['loss']:.4f}")
                if callback:
                    callback(epoch["epoch"] - 1, now - start, epoch["loss"])
                start = now

            sides = _native.bpr(
                native_matrix(csr),
                factors=self.factors,
                learning_rate=self.learning_rate,
                reg=self.regularization,
                epochs=self.iterations,
                seed=seed,
                threads=self.num_threads,
                listener=told,
            )
        users, items = (np.frombuffer(side, np.float32).reshape(-1, self.factors + 1) for side in sides)
        # Those without an entry learned nothing.
        users[np.diff(csr.indptr) == 0, :-1] = 0
        items[np.bincount(csr.indices, minlength=csr.shape[1]) == 0] = 0
        self.user_factors, self.item_factors = (side.astype(self.dtype, copy=False) for side in (users, items))
        self._user_norms = self._item_norms = None
        self._fitted_shape = csr.shape
        self._check_fit_errors()

    def save(self, fileobj_or_path: Any) -> None:
        self._save(fileobj_or_path, ["learning_rate", "verify_negative_samples"])

    save.__doc__ = MatrixFactorizationBase.save.__doc__

    def __repr__(self) -> str:
        fitted = (
            "not fitted"
            if self.user_factors is None
            else f"{len(self.user_factors)} users, {len(self._factors()[1])} items"
        )
        return (
            f"BayesianPersonalizedRanking(factors={self.factors}, learning_rate={self.learning_rate}, "
            f"regularization={self.regularization}, iterations={self.iterations}) <{fitted}>"
        )
