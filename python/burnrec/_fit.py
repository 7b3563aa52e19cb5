"""Training, and opening what was trained."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from burnrec import _native
from burnrec._data import Frame, Prepared, prepare
from burnrec._progress import ProgressOption, finish, listener
from burnrec._recommender import Recommender


def fit(
    frame: Frame | Prepared | str | os.PathLike[str],
    model: str = "als",
    *,
    user: str | None = None,
    item: str | None = None,
    value: str | None = None,
    time: str | None = None,
    out: str | os.PathLike[str] | None = None,
    replace: bool = False,
    device: str = "auto",
    threads: int = 0,
    progress: ProgressOption = False,
    **settings: Any,
) -> Recommender:
    """Train a model: the epoch is chosen on valid, the model is fitted again on train and valid, and test is judged once.

    Parameters
    ----------
    frame : frame, path or Prepared
        The ratings: anything with ``__arrow_c_stream__``, a ratings file, or what `prepare` made of one. Frames and files are
        split by leave-one-out; `prepare` has other protocols, and filters.
    model : str
        The model; `models` lists them.
    user, item, value, time : str, optional
        The names of the columns, as in `prepare`.
    out : path, optional
        A run directory to train into, as ``burnrec train --out``: what `load` and the program open.
    replace : bool
        Whether a run that is there already is replaced.
    device : str
        Where to train: ``auto``, ``cpu``, ``gpu``, ``gpu:1`` ...
    threads : int
        How many threads; 0 for all cores.
    progress : bool or callable
        True to report progress on stderr, or a function that is called with a `burnrec._progress.Progress`. What it raises
        stops the training.
    **settings
        The settings of the model, its training and the run, by the names of the configs: ``dim=64, epochs=10, seed=7``.
        `settings` lists them.

    Returns
    -------
    Recommender

    Raises
    ------
    TypeError
        When `frame` is neither ratings nor a path, or a setting is of a type that none has.
    ValueError
        When a column is missing, a row has no id or no finite value, or a setting is unknown or out of its range.
    FloatingPointError
        When training diverges.
    RuntimeError
        When the device cannot be had.
    OSError
        When a file cannot be read or written.
    KeyboardInterrupt
        When Ctrl-C stops it.

    Examples
    --------
    >>> recommender = burnrec.fit(ratings, "als", user="user", item="item", dim=32)  # doctest: +SKIP
    """
    table = _table(model, settings)
    _native.check_settings(table)
    if isinstance(frame, Prepared):
        named = {"user": user, "item": item, "value": value, "time": time}
        if given := [name for name, column in named.items() if column is not None]:
            raise TypeError(
                f"{given[0]}: found a column for prepared data, expected none: its columns were chosen by prepare"
            )
        data = frame
    else:
        data = prepare(frame, user=user, item=item, value=value, time=time)
    listening = listener(progress)
    try:
        native = _native.train(
            data._native,
            table,
            out=None if out is None else os.fspath(out),
            replace=replace,
            device=device,
            threads=threads,
            listener=listening,
        )
    finally:
        finish(listening)
    return Recommender(native)


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Recommender:
    """Open a run directory, be it written by `fit`, by `Recommender.save` or by ``burnrec train``.

    Parameters
    ----------
    path : path
        The directory.
    device : str
        Where a network scores.

    Returns
    -------
    Recommender

    Raises
    ------
    FileNotFoundError, PermissionError
        When there is no such directory, or it may not be read.
    ValueError
        When it holds no finished run, or a file of it is damaged.
    """
    return Recommender(_native.Recommender.open(os.fspath(path), device=device))


def models() -> list[str]:
    """Return the names of all models."""
    return _native.model_names()


def settings(model: str, **given: Any) -> dict[str, Any]:
    """Return every setting of a model with its default, laid over with those that are given.

    Parameters
    ----------
    model : str
        The model.
    **given
        Settings to check.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        When a setting is unknown or out of its range.
    """
    checked: dict[str, Any] = json.loads(_native.check_settings(_table(model, given)))
    return checked


def _table(model: str, settings: dict[str, Any]) -> str:
    """Return settings as a flat table in JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        raise TypeError(f"settings: found a {type(value).__name__}, expected numbers, texts, lists and dicts of them")

    if not isinstance(model, str):
        raise TypeError(f"model: found a {type(model).__name__}, expected the name of one")
    # None stands for the default.
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        return json.dumps({"model": model, **given}, default=plain, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"settings: {error}") from None
