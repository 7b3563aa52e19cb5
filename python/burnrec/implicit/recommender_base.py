"""What all models share."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np


class ModelFitError(Exception):
    """A model that was fitted has factors that are no numbers, or was fitted on such."""


class RecommenderBase(metaclass=ABCMeta):
    """The interface of all recommenders."""

    @abstractmethod
    def fit(self, user_items: Any, show_progress: bool = True, callback: Callable[..., object] | None = None) -> None:
        """Train on a sparse matrix.

        Parameters
        ----------
        user_items : csr_matrix
            ``[users, items]``: what each user has, with how sure that is.
        show_progress : bool
            Whether to show a bar on stderr.
        callback : callable, optional
            Called after each epoch with the epoch, its seconds and what the model reports of it.
        """

    @abstractmethod
    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> tuple[Any, Any]:
        """Return the best items for a user, or for each of several.

        Parameters
        ----------
        userid : int or array_like
            The user, or the users.
        user_items : csr_matrix
            ``[users asked for, items]``: what each of them has, in the order of `userid`.
        N : int
            How many items.
        filter_already_liked_items : bool
            Whether what a user has is left out.
        filter_items : array_like, optional
            Items to leave out.
        recalculate_user : bool
            Whether users are represented by `user_items` in place of what was learned.
        items : array_like, optional
            The only items to rank; not together with `filter_items`.

        Returns
        -------
        tuple
            Arrays of items and of scores: ``[N]`` for one user, ``[users, N]`` for several. Where there are fewer items to
            recommend, the rest is item -1 with the least score of float32.
        """

    @abstractmethod
    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> tuple[Any, Any]:
        """Return the users most like a user, or each of several, with their cosines.

        Parameters
        ----------
        userid : int or array_like
            The user, or the users.
        N : int
            How many.
        filter_users : array_like, optional
            Users to leave out.
        users : array_like, optional
            The only users to rank; not together with `filter_users`.
        """

    @abstractmethod
    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> tuple[Any, Any]:
        """Return the items most like an item, or each of several, with how alike they are.

        Parameters
        ----------
        itemid : int or array_like
            The item, or the items.
        N : int
            How many.
        recalculate_item : bool
            Whether items are represented by `item_users` in place of what was learned.
        item_users : csr_matrix, optional
            ``[items asked for, users]``, for `recalculate_item`.
        filter_items : array_like, optional
            Items to leave out.
        items : array_like, optional
            The only items to rank; not together with `filter_items`.
        """

    @abstractmethod
    def save(self, fileobj_or_path: Any) -> None:
        """Save the model as an ``.npz`` of numpy, which ``implicit`` loads too, without a `random_state` that is no seed.

        Parameters
        ----------
        fileobj_or_path : str or file
            Where to.
        """

    @classmethod
    def load(cls, fileobj_or_path: Any) -> Any:
        """Load a model that `save`, here or of ``implicit``, wrote.

        Parameters
        ----------
        fileobj_or_path : str or file
            Where from; ``.npz`` may be left out.
        """
        if isinstance(fileobj_or_path, str) and not fileobj_or_path.endswith(".npz"):
            fileobj_or_path = fileobj_or_path + ".npz"
        with np.load(fileobj_or_path, allow_pickle=False) as saved:
            model = cls()
            for name, value in saved.items():
                if name == "dtype":
                    value = np.dtype(str(value))
                elif name == "_fitted_shape":
                    value = tuple(value.tolist())
                elif value.shape == ():
                    value = value.item()
                setattr(model, name, value)
            return model

    def rank_items(self, userid: Any, user_items: Any, selected_items: Any, recalculate_user: bool = False) -> Any:
        """Rank some items; deprecated, as `recommend` has `items`."""
        text = "rank_items is deprecated. Use recommend with the 'items' parameter instead"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.recommend(
            userid,
            user_items,
            recalculate_user=recalculate_user,
            items=selected_items,
            filter_already_liked_items=False,
        )


def check_one(first: Any, second: Any, names: str, method: str) -> None:
    """Refuse two parameters that exclude each other."""
    if first is not None and second is not None and np.size(second):
        raise ValueError(f"Can't set both {names} in {method} call")


def check_orientation(
    matrix: Any, name: str, shape: tuple[int, int], n_rows: int | None = None, n_cols_before: int | None = None
) -> None:
    """Refuse a matrix that has not a row for each id asked for and a column for each row of the other side.

    Parameters
    ----------
    matrix : csr_matrix
        What was given.
    name : str
        ``user_items`` or ``item_users``.
    shape : tuple of int
        What is expected.
    n_rows : int, optional
        How many rows the model has on the side of the rows, to tell a mistake by.
    n_cols_before : int, optional
        How many columns the model was fitted on, where it has got more since.

    Raises
    ------
    ValueError
        When it has another shape; both shapes are in the message.
    """
    found = tuple(matrix.shape)
    if found == shape or found == (shape[0], n_cols_before):
        return
    rows, columns = name.split("_")
    text = f"{name} must contain 1 row for every {rows} in {rows}ids: found shape {found}, expected {shape}"
    if found[0] == shape[1] and found[1] in (shape[0], n_rows):
        text += f"; it is the transpose: {rows}s are rows and {columns} are columns"
    elif found == (n_rows, shape[1]):
        text += f"; take the rows of these {rows}s alone: {name}[{rows}ids]"
    raise ValueError(text)
