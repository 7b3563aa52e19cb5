"""Splits of matrices, and metrics of models on them.

The protocol is that of ``implicit``. `burnrec.fit` and `Recommender.evaluate` judge by splits that are drawn once, with
intervals, and choose nothing by test.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from burnrec.implicit.utils import ProgressBar, check_random_state

_BATCH = 1000


def train_test_split(ratings: Any, train_percentage: float = 0.8, random_state: Any = None) -> tuple[Any, Any]:
    """Deal the entries of a matrix out at random.

    Parameters
    ----------
    ratings : sparse matrix
        The entries.
    train_percentage : float
        The share of them for training, such as 0.8.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        Draws them.

    Returns
    -------
    (train, test) : csr_matrix, csr_matrix
    """
    ratings = ratings.tocoo()
    is_train = check_random_state(random_state).random(len(ratings.data)) < train_percentage
    train, test = _of(ratings, is_train), _of(ratings, ~is_train)
    test.data[test.data < 0] = 0
    test.eliminate_zeros()
    return train, test


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[Any, Any]:
    """Hold out `K` entries of each user who has more than ``K + 1``.

    Parameters
    ----------
    ratings : sparse matrix
        ``[users, items]``
    K : int
        How many.
    train_only_size : float
        The share of users whose entries are all for training.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        Draws them.

    Returns
    -------
    (train, test) : csr_matrix, csr_matrix
    """
    if K < 1:
        raise ValueError("The 'K' must be >= 1.")
    if not 0.0 <= train_only_size < 1.0:
        raise ValueError("The 'train_only_size' must be in the range (0.0 <= x < 1.0).")
    ratings = ratings.tocoo()
    random = check_random_state(random_state)
    users, counts = np.unique(ratings.row, return_counts=True)
    may = counts > K + 1
    if train_only_size > 0.0:
        only = random.choice(len(users), size=max(1, int(len(users) * train_only_size)), replace=False)
        may[only] = False
    # Users one after the other, the entries of each in an order that is drawn: its first K are held out.
    order = np.lexsort((random.random(len(ratings.row)), ratings.row))
    start = np.zeros(ratings.shape[0], dtype=np.int64)
    start[users] = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - start[ratings.row[order]]
    is_test = (place < K) & np.isin(ratings.row, users[may])
    return _of(ratings, ~is_test), _of(ratings, is_test)


def _of(ratings: Any, taken: Any) -> Any:
    from scipy.sparse import csr_matrix

    entries = (ratings.data[taken], (ratings.row[taken], ratings.col[taken]))
    return csr_matrix(entries, shape=ratings.shape, dtype=ratings.dtype)


def ranking_metrics_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> dict[str, float]:
    """Judge a model by the `K` best items of each user who has test items.

    Parameters
    ----------
    model : RecommenderBase
        A model that was fitted.
    train_user_items : csr_matrix
        ``[users, items]``: what it was fitted on, which is not recommended again.
    test_user_items : csr_matrix
        ``[users, items]``: what is held out.
    K : int
        The length of the lists.
    show_progress : bool
        Whether to show a bar on stderr.
    num_threads : int
        Has no effect: the model's own counts.

    Returns
    -------
    dict of str to float
        ``precision``: hits over the most there could be; ``map``, ``ndcg`` and ``auc``: means over users.
    """
    train, test = train_user_items.tocsr(), test_user_items.tocsr()
    if train.shape != test.shape:
        raise ValueError(f"test_user_items: found shape {test.shape}, expected {train.shape}, as train_user_items has")
    gains = 1.0 / np.log2(np.arange(2, K + 2))
    best = np.cumsum(gains)
    n_items = test.shape[1]
    users = np.flatnonzero(np.diff(test.indptr))
    hits, most, sums = 0.0, 0.0, np.zeros(3)
    batches = range(0, len(users), _BATCH)
    with ProgressBar(len(batches), show_progress) as bar:
        for at in batches:
            batch = users[at : at + _BATCH]
            ids, _ = model.recommend(batch, train[batch], N=K)
            for user, recommended in zip(batch, ids, strict=True):
                liked = test.indices[test.indptr[user] : test.indptr[user + 1]]
                hit = np.isin(recommended, liked)
                n, n_hit = len(liked), np.cumsum(hit)
                hits += hit.sum()
                most += min(K, n)
                precision = n_hit / np.arange(1, len(hit) + 1)
                # Each miss counts the hits above it, and what is not listed the mean of those and of all.
                n_others, n_misses = n_items - n, len(hit) - hit.sum()
                area = n_hit[~hit].sum() + (hit.sum() + n) / 2.0 * (n_others - n_misses)
                sums += [
                    (precision * hit).sum() / min(K, n),
                    (gains[: len(hit)] * hit).sum() / best[min(K, n) - 1],
                    area / (n * n_others) if n_others else 0.0,
                ]
            bar.update()
    mean_ap, ndcg, auc = sums / max(len(users), 1)
    return {
        "precision": float(hits / most) if most else 0.0,
        "map": float(mean_ap),
        "ndcg": float(ndcg),
        "auc": float(auc),
    }


def precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return the precision of `ranking_metrics_at_k`, whose parameters it has."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["precision"]


def mean_average_precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return the mean average precision of `ranking_metrics_at_k`, whose parameters it has."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["map"]


def ndcg_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return the NDCG of `ranking_metrics_at_k`, whose parameters it has."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["ndcg"]


def AUC_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return the AUC of `ranking_metrics_at_k`, whose parameters it has."""
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["auc"]
