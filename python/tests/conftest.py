"""What the tests share: ratings with outside ids, matrices, and real data where it is at hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C is what it is in a terminal: a job in the background ignores it, and Spark leaves a handler of its own behind."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def movietweetings() -> Path:
    """The folder of movietweetings-10k, from BURNREC_DATA or beside the repository."""
    data = Path(os.environ.get("BURNREC_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = data / "movietweetings-10k"
    if not folder.is_dir():
        pytest.skip(f"data: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def ratings() -> dict[str, np.ndarray]:
    """Columns of synthetic ratings: users are integers, items are texts, and tastes are of two kinds."""
    random = np.random.default_rng(7)
    n_users, n_items, n = 60, 40, 1500
    user = random.integers(n_users, size=n)
    # Users like items of their own parity.
    item = 2 * random.integers(n_items // 2, size=n) + (user + (random.random(n) < 0.1)) % 2
    return {
        "user": user.astype(np.int64) * 10 + 1000,
        "item": np.array([f"tt{at:03}" for at in item], dtype=object),
        "rating": random.integers(1, 6, size=n).astype(np.float64),
        "timestamp": 1_600_000_000 + np.arange(n, dtype=np.int64) * 60,
    }


def checkerboard(n: int, dtype: type = np.float64):
    """Return a matrix in which even users have the even items and odd ones the odd, but not that of their own number."""
    from scipy.sparse import csr_matrix

    same = (np.arange(n)[:, None] - np.arange(n)) % 2 == 0
    return csr_matrix((same & ~np.eye(n, dtype=bool)).astype(dtype))


def as_csr(user: np.ndarray, item: np.ndarray, value: np.ndarray | None = None, dtype: type = np.float32):
    """Return ratings as a matrix, with one row for each user and one column for each item."""
    from scipy.sparse import coo_matrix

    rows, cols = np.unique(user, return_inverse=True)[1], np.unique(item, return_inverse=True)[1]
    values = np.ones(len(rows)) if value is None else value
    matrix = coo_matrix((values, (rows, cols)), dtype=dtype).tocsr()
    matrix.sum_duplicates()
    return matrix
