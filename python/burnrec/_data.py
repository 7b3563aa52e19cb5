"""Ratings of a frame or a file, filtered and split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from burnrec import _native


@runtime_checkable
class Frame(Protocol):
    """What has the Arrow C stream interface: frames of polars, pandas and pyarrow, relations of DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule with an ``ArrowArrayStream``."""


class Prepared:
    """Ratings that are filtered and split once, so that every model is trained and judged on the same rows.

    `prepare` makes one, and `open_prepared` opens a directory that `save` or ``burnrec prepare`` wrote.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Prepared) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """The name of the data."""
        return self._native.name

    @property
    def hash(self) -> str:
        """The hash of the split, which runs that were trained on it name."""
        return self._native.hash

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return self._native.n_users

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return self._native.n_items

    @property
    def n_rows(self) -> dict[str, int]:
        """How many rows train, valid and test have."""
        return dict(zip(("train", "valid", "test"), self._native.n_rows, strict=True))

    @property
    def summary(self) -> str:
        """What was read, dropped and held out, line by line."""
        return self._native.summary

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a directory that ``burnrec train --data`` and `open_prepared` read.

        Parameters
        ----------
        path : path
            The directory.

        Raises
        ------
        OSError
            When a file cannot be written.
        """
        self._native.save(os.fspath(path))

    def __repr__(self) -> str:
        rows = ", ".join(f"{n:,} {part}" for part, n in self.n_rows.items())
        return f"<Prepared {self.name!r}: {self.n_users:,} users, {self.n_items:,} items; rows: {rows}>"


def stream_of(frame: Any) -> object:
    """Return the Arrow stream of a frame.

    Raises
    ------
    TypeError
        When it has none.
    """
    stream = getattr(frame, "__arrow_c_stream__", None)
    if stream is None:
        expected = "a frame with __arrow_c_stream__ (polars, pandas, pyarrow, DuckDB), or the path of a ratings file"
        raise TypeError(f"frame: found a {type(frame).__name__}, expected {expected}")
    return stream()


def prepare(
    frame: Frame | str | os.PathLike[str],
    *,
    user: str | None = None,
    item: str | None = None,
    value: str | None = None,
    time: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    duplicates: str | None = None,
    positive_from: float | None = None,
    min_user: int = 0,
    min_item: int = 0,
    seed: int = 42,
    name: str | None = None,
) -> Prepared:
    """Read ratings, filter them, and split them into train, valid and test.

    Parameters
    ----------
    frame : frame or path
        Anything with ``__arrow_c_stream__``, or a ratings file, or a folder with one. Ids are integers or strings, and stay
        what they are.
    user, item, value, time : str, optional
        The names of the columns. Those that are not named are found by their usual names (``user``, ``userId``, ``rating``,
        ``timestamp`` ...); value and time may be missing.
    split : str or dict, optional
        The protocol, such as ``"leave-one-out"`` (the default), or with its settings:
        ``{"protocol": "random", "valid": 0.1, "test": 0.1}``.
    duplicates : str, optional
        What becomes of several rows of a user and an item: ``"last"`` (the default) and others of the program's help.
    positive_from : float, optional
        Make ratings implicit: rows of at least this value are positives, the others are dropped.
    min_user, min_item : int
        The fewest rows that each user, and each item, must have.
    seed : int
        Draws the split.
    name : str, optional
        What to call the data.

    Returns
    -------
    Prepared

    Raises
    ------
    TypeError
        When `frame` is neither a frame nor a path.
    ValueError
        When a column is missing or of a type that it cannot have, a row has no id or no finite value, a setting is out of its
        range, or nothing is left.
    OSError
        When a file cannot be read.
    """
    protocol = {"protocol": split} if isinstance(split, str) else split
    filters: dict[str, Any] = {"min_user": min_user, "min_item": min_item}
    if duplicates is not None:
        filters["duplicates"] = duplicates
    if positive_from is not None:
        filters["positive_from"] = positive_from
    settings: dict[str, Any] = {
        "user": user,
        "item": item,
        "value": value,
        "time": time,
        "split": None if protocol is None else json.dumps(dict(protocol)),
        "filters": json.dumps(filters),
        "seed": seed,
    }
    if isinstance(frame, (str, os.PathLike)):
        return Prepared(_native.Prepared.of_file(os.fspath(frame), name=name, **settings))
    return Prepared(_native.Prepared.of_stream(stream_of(frame), name=name or "frame", **settings))


def open_prepared(path: str | os.PathLike[str]) -> Prepared:
    """Open a directory that `Prepared.save`, or ``burnrec prepare``, wrote.

    Parameters
    ----------
    path : path
        The directory.

    Returns
    -------
    Prepared

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it holds no prepared data, or a file of it is damaged.
    """
    return Prepared(_native.Prepared.open(os.fspath(path)))


def id_list(ids: Iterable[Any]) -> list[Any]:
    """Return ids as a list; those of an array or a column as Python's own numbers and texts."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"ids: found the text {ids!r}, expected a list of ids")
    to_list = getattr(ids, "tolist", None) or getattr(ids, "to_list", None)
    return list(ids if to_list is None else to_list())
