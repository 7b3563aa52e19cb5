"""A trained model that answers in the ids of the ratings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec._data import Prepared, id_list
from burnrec._progress import ProgressOption, finish, listener
from burnrec._scores import Scores

Id: TypeAlias = int | str
"""The id of a user or an item: an integer or a string, as in the ratings."""


class Recommendation(NamedTuple):
    """An item with its score.

    Attributes
    ----------
    item : int or str
        The item's id, of the type that it has in the ratings.
    score : float
        What `Recommender.score_is` says, or for a similar item how alike it is.
    title : str or None
        The item's title, where there is one.
    """

    item: Id
    score: float
    title: str | None = None


class Recommender:
    """A trained model with the ids, titles and histories around it.

    `burnrec.fit` trains one, and `burnrec.load` opens a run directory. A user or an item without training rows counts as
    unknown.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Recommender) -> None:
        self._native = native

    @property
    def model(self) -> str:
        """The name of the model, such as ``als``."""
        return self._native.model

    @property
    def score_is(self) -> str:
        """What a score means: ``probability``, ``rating`` or ``score``."""
        return self._native.score_is

    @property
    def record(self) -> dict[str, Any]:
        """How it was trained and what it scored: settings, data, metrics, times, versions."""
        return json.loads(self._native.record) or {}

    @property
    def metrics(self) -> dict[str, Scores]:
        """The scores of the run: ``valid``, of the chosen epoch, and ``test``, of this model."""
        return {part: Scores(scores) for part, scores in self.record.get("metrics", {}).items()}

    def recommend(
        self,
        user: Id,
        k: int = 10,
        *,
        include_seen: bool = False,
        only: Iterable[Id] | None = None,
        without: Iterable[Id] = (),
    ) -> list[Recommendation]:
        """Return the best items for a user, best first.

        Parameters
        ----------
        user : int or str
            The user's id.
        k : int
            How many items, at most.
        include_seen : bool
            Whether items of the user's own history may be recommended.
        only : iterable of ids, optional
            The only items that may be recommended.
        without : iterable of ids
            Items that may not.

        Returns
        -------
        list of Recommendation

        Raises
        ------
        KeyError
            When the user, or an item of `only`, is unknown.
        """
        restricted, left_out = _restrictions(only, without)
        items = self._native.recommend(user, k, include_seen=include_seen, only=restricted, without=left_out)
        return _recommendations(items)

    def recommend_many(
        self,
        users: Iterable[Id] | None = None,
        k: int = 10,
        *,
        include_seen: bool = False,
        only: Iterable[Id] | None = None,
        without: Iterable[Id] = (),
        threads: int = 0,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the best items for many users, as the columns of a frame: ``polars.DataFrame(recommender.recommend_many())``.

        Parameters
        ----------
        users : iterable of ids, optional
            The users; all that have training rows by default.
        k : int
            How many items for each, at most.
        include_seen, only, without
            As in `recommend`.
        threads : int
            How many threads; 0 for all cores.

        Returns
        -------
        dict of ndarray
            ``user``, ``rank`` (from 1), ``item`` and ``score``, a row for each recommendation.

        Raises
        ------
        KeyError
            When a user, or an item of `only`, is unknown.
        """
        restricted, left_out = _restrictions(only, without)
        asked = None if users is None else id_list(users)
        user, rank, item, score = self._native.recommend_many(
            asked, k, include_seen=include_seen, only=restricted, without=left_out, threads=threads
        )
        return {
            "user": _ids(user),
            "rank": np.frombuffer(rank, np.int32),
            "item": _ids(item),
            "score": np.frombuffer(score, np.float32),
        }

    def score(self, users: Any, items: Any) -> Any:
        """Return the score of a user and an item, or of many pairs of them.

        Parameters
        ----------
        users : id or iterable of ids
            The users.
        items : id or iterable of ids
            The items: one for each user, or all for the one user.

        Returns
        -------
        float or ndarray of float32
            One score; or an array, with NaN where the user or the item is unknown.

        Raises
        ------
        KeyError
            When one score is asked for, and the user or the item is unknown.
        ValueError
            When there are not as many items as users.
        """
        one_user, one_item = _is_id(users), _is_id(items)
        if one_user and one_item:
            self._native.check_known(users, items)
            return float(np.frombuffer(self._native.score([users], [items]), np.float32)[0])
        items_of = [items] if one_item else id_list(items)
        users_of = [users] * len(items_of) if one_user else id_list(users)
        items_of = items_of * len(users_of) if one_item else items_of
        return np.frombuffer(self._native.score(users_of, items_of), np.float32)

    def similar(self, item: Id, k: int = 10) -> list[Recommendation]:
        """Return the items that are most like an item, best first.

        Parameters
        ----------
        item : int or str
            The item's id.
        k : int
            How many items.

        Returns
        -------
        list of Recommendation
            The score is the cosine of the items' vectors, or the weight of an item-item model.

        Raises
        ------
        KeyError
            When the item is unknown.
        NotImplementedError
            When the model cannot compare items.
        """
        return _recommendations(self._native.similar(item, k))

    def fold_in(self, items: Iterable[Id], values: Iterable[float] | None = None) -> FoldedUser:
        """Return a user who is not in the model, by the items that the user has.

        Parameters
        ----------
        items : iterable of ids
            The items, the oldest first.
        values : iterable of float, optional
            Their values, such as ratings; 1 by default.

        Returns
        -------
        FoldedUser

        Raises
        ------
        KeyError
            When an item is unknown.
        ValueError
            When there is no item, there are not as many values, or a value is not within those of training.
        NotImplementedError
            When the model cannot fold users in.
        """
        ids = id_list(items)
        weights = [1.0] * len(ids) if values is None else [float(value) for value in id_list(values)]
        if len(weights) != len(ids):
            raise ValueError(f"values: found {len(weights)} of them, expected {len(ids)}, one for each item")
        history = list(zip(ids, weights, strict=True))
        self._native.check_history(history)
        return FoldedUser(self._native, history)

    def evaluate(
        self, data: Prepared, on: str = "test", *, threads: int = 0, progress: ProgressOption = False
    ) -> Scores:
        """Judge the model again on the split that it was trained on.

        Parameters
        ----------
        data : Prepared
            The split.
        on : {"test", "valid"}
            What to judge it on; valid only where the run was not fitted again on it.
        threads : int
            How many threads; 0 for all cores.
        progress : bool or callable
            As in `burnrec.fit`.

        Returns
        -------
        Scores

        Raises
        ------
        ValueError
            When `data` is another split.
        """
        listening = listener(progress)
        try:
            scores = self._native.evaluate(data._native, on, threads=threads, listener=listening)
        finally:
            finish(listening)
        return Scores(json.loads(scores))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a run directory, as the program does: all that recommending and serving need.

        Parameters
        ----------
        path : path
            The directory. A run that is there already is replaced.

        Raises
        ------
        OSError
            When a file cannot be written.
        ValueError
            When the directory holds something that is no run.
        """
        self._native.save(os.fspath(path))

    def __repr__(self) -> str:
        users, items = self._native.n_known
        metrics: Mapping[str, float] = self.metrics.get("test", {})
        shown = [f"{name} {metrics[name]:.4f} on test" for name in ("ndcg@10", "rmse") if name in metrics][:1]
        told = [f"{users:,} users", f"{items:,} items", *shown]
        return f"<Recommender {self.model} of {self._native.data[0]!r}: {', '.join(told)}>"


class FoldedUser:
    """A user without a row in the model, known by a history. `Recommender.fold_in` makes one."""

    __slots__ = ("_history", "_native")

    def __init__(self, native: _native.Recommender, history: list[tuple[Id, float]]) -> None:
        self._native = native
        self._history = history

    def recommend(
        self,
        k: int = 10,
        *,
        include_seen: bool = False,
        only: Iterable[Id] | None = None,
        without: Iterable[Id] = (),
    ) -> list[Recommendation]:
        """Return the best items for the user, as `Recommender.recommend` does."""
        restricted, left_out = _restrictions(only, without)
        items = self._native.recommend_folded(
            self._history, k, include_seen=include_seen, only=restricted, without=left_out
        )
        return _recommendations(items)

    def score(self, items: Any) -> Any:
        """Return the score of an item or, as an array of float32, of many; NaN where one is unknown."""
        if _is_id(items):
            self._native.check_known(None, items)
            return float(np.frombuffer(self._native.score_folded(self._history, [items]), np.float32)[0])
        return np.frombuffer(self._native.score_folded(self._history, id_list(items)), np.float32)

    def __repr__(self) -> str:
        return f"<FoldedUser with {len(self._history)} items>"


def _recommendations(items: Sequence[tuple[Id, float, str | None]]) -> list[Recommendation]:
    return [Recommendation(*item) for item in items]


def _restrictions(only: Iterable[Id] | None, without: Iterable[Id]) -> tuple[list[Id] | None, list[Id]]:
    return None if only is None else id_list(only), id_list(without)


def _is_id(ids: Any) -> bool:
    return isinstance(ids, (int, str, np.integer))


def _ids(ids: Any) -> npt.NDArray[Any]:
    if isinstance(ids, list):
        return np.array(ids, dtype=object) if ids else np.empty(0, dtype=object)
    return np.frombuffer(ids, np.int64)
