"""Opens a run directory with an ``MLmodel``, as ``burnrec export --format mlflow`` writes it, for ``mlflow.pyfunc``."""

from __future__ import annotations

from typing import Any

import pandas as pd

import burnrec


def _load_pyfunc(path: str) -> _Model:
    """Called by ``mlflow.pyfunc.load_model`` with the directory of the model."""
    return _Model(burnrec.load(path))


class _Model:
    """A run that answers frames."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.Series | pd.DataFrame:
        """Score pairs, or recommend.

        Parameters
        ----------
        frame
            Columns ``user`` and ``item``: a score for each row. Column ``user`` alone: the best items of each row's user.
        params
            ``k``: how many items, 10 by default.

        Returns
        -------
        pandas.Series or pandas.DataFrame
            Scores, NaN where the user or the item is unknown; or lists in columns ``items`` and ``scores``, best first,
            without what the user has had. Both have the frame's index.

        Raises
        ------
        KeyError
            When items are asked for and a user is unknown.
        """
        users = frame["user"].tolist()
        if "item" in frame.columns:
            scores = self._run.score(users, frame["item"].tolist())
            return pd.Series(scores, index=frame.index, name="score", dtype="float32")
        best = self._run.recommend_many(dict.fromkeys(users), int((params or {}).get("k", 10)))
        lists: dict[str, tuple[list[Any], list[float]]] = {str(user): ([], []) for user in users}
        for user, item, score in zip(*(best[name].tolist() for name in ("user", "item", "score")), strict=True):
            lists[str(user)][0].append(item)
            lists[str(user)][1].append(score)
        of_rows = [lists[str(user)] for user in users]
        columns = {"items": [items for items, _ in of_rows], "scores": [scores for _, scores in of_rows]}
        return pd.DataFrame(columns, index=frame.index)
