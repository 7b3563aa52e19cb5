"""Matrices and random states, as all models take them."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from burnrec import _native
from burnrec._progress import shows_bar


class ParameterWarning(Warning):
    """A matrix had to be converted."""


def check_random_state(random_state: Any) -> np.random.Generator:
    """Return a numpy generator: the one that is given, or one of a seed.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        The seed, or where to draw one from.
    """
    if isinstance(random_state, (int, np.integer)):
        check_not_negative(random_state=random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def check_not_negative(**settings: Any) -> None:
    """Refuse negative numbers, by their names.

    Raises
    ------
    ValueError
        When one is negative.
    """
    for name, value in settings.items():
        if value < 0:
            raise ValueError(f"{name}: found {value}, expected no negative number")


def check_csr(user_items: Any) -> Any:
    """Return a matrix in sparse rows; any other sparse matrix is converted, with a warning.

    Raises
    ------
    TypeError
        When it is no sparse matrix.
    """
    if getattr(user_items, "format", None) == "csr":
        return user_items
    name = type(user_items).__name__
    if not hasattr(user_items, "tocsr"):
        raise TypeError(f"user_items: found a {name}, expected a sparse matrix, such as scipy.sparse.csr_matrix")
    start = time.perf_counter()
    csr = user_items.tocsr()
    seconds = time.perf_counter() - start
    text = f"Method expects CSR input, and was passed {name} instead. Converting to CSR took {seconds:.3f} seconds"
    warnings.warn(text, ParameterWarning, stacklevel=3)
    return csr


def is_csr(user_items: Any) -> bool:
    """Return whether a matrix is one of sparse rows."""
    return getattr(user_items, "format", None) == "csr"


def native_matrix(csr: Any, n_cols: int | None = None) -> _native.Matrix:
    """Return the native view of a matrix in sparse rows, with `n_cols` columns if it has fewer.

    Of float32 values nothing is copied; those of other types are converted. A matrix with repeated or unsorted columns is
    copied, and its repeats are added up.

    Raises
    ------
    ValueError
        When an index is not within the matrix, or a value is not finite.
    """
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    data = np.ascontiguousarray(csr.data, dtype=np.float32)
    indptr, indices = (_indices(array) for array in (csr.indptr, csr.indices))
    matrix = _native.Matrix(indptr, indices, data, [csr.shape[0], csr.shape[1] if n_cols is None else n_cols])
    matrix.check_finite()
    return matrix


def _indices(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(array)
    return array if array.dtype in (np.int32, np.int64) else array.astype(np.int64)


def id_or_array(ids: Any) -> Any:
    """Return one id as a number, and several, be they a list, a tuple or a column, as an array."""
    array = np.asarray(ids)
    # Nothing has no type; of 0 dimensions the element is taken, else the array itself.
    return array.astype(np.int64) if array.size == 0 else array[()]


def item_array(items: Any) -> npt.NDArray[np.int64] | None:
    """Return item ids as the native code takes them."""
    return None if items is None else np.ascontiguousarray(np.asarray(items).ravel(), dtype=np.int64)


class ProgressBar:
    """A bar on stderr, where one can be drawn; elsewhere nothing is written."""

    def __init__(self, total: int, show: bool) -> None:
        self.total, self.done, self.note = total, 0, ""
        self.shows = show and shows_bar()
        self._draw()

    def update(self, note: str = "") -> None:
        """Count one more step."""
        self.done += 1
        self.note = note or self.note
        self._draw()

    def _draw(self) -> None:
        if self.shows and self.total:
            filled = "#" * (30 * self.done // self.total)
            sys.stderr.write(f"\r{self.done}/{self.total} [{filled:30}] {self.note}")
            sys.stderr.flush()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.shows:
            sys.stderr.write("\n")
