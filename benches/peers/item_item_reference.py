"""The item-item matrices of EASE and RP3beta in numpy float64, of SLIM by scikit-learn, and those of the implicit package's nearest
neighbours.

* `ease` (Steck 2019): P = (X'X + reg I)^-1, B_ij = -P_ij / P_jj, B_jj = 0, with X 1 where a value is over 0.
* `rp3beta` (Paudel et al. 2017): W_ij = sum_u (1/n_i)^alpha (1/n_u)^alpha / n_j^beta, W_jj = 0, and in each row the k greatest.
* `slim` (Ning and Karypis 2011): of each item the elastic net of its column on those of the k items of the greatest cosine, by
  scikit-learn's `ElasticNet`, whose objective is that of the paper by the number of users.
* `neighbours`: `CosineRecommender`, `TFIDFRecommender`, `BM25Recommender` of implicit. In each row the k greatest, the item
  itself among them.

A user's scores are the user's row of X, of `neighbours` of the values, times the matrix.
"""

import os
import time

# numpy's BLAS as it chooses for this processor
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
import scipy.sparse as sp
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender


def matrix_of(problem, binary):
    """The rows as CSR [n_users, n_items], f32; with `binary` 1 for each value over 0."""
    values = (problem.values > 0).astype(np.float32) if binary else problem.values.astype(np.float32)
    matrix = sp.csr_matrix((values, (problem.users, problem.items)), shape=(problem.n_users, problem.n_items))
    matrix.eliminate_zeros()
    return matrix


def ease(X, reg):
    """B [n_items, n_items], as the code in the paper computes it."""
    G = (X.T @ X).toarray().astype(np.float64)
    diagonal = np.diag_indices(G.shape[0])
    G[diagonal] += reg
    P = np.linalg.inv(G)
    B = P / (-np.diag(P))
    B[diagonal] = 0
    return B


def greatest(W, k):
    """W with all but the k greatest values of each row set to 0."""
    if k < W.shape[1]:
        least = np.partition(W, -k, axis=1)[:, -k]
        W = np.where(W >= least[:, None], W, 0)
    return W


def rp3beta(X, alpha, beta, k):
    """W [n_items, n_items]; of values equal to the k-th greatest all are kept."""
    X = X.astype(np.float64).toarray()
    n_users, n_items = X.sum(axis=1), X.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_item = np.nan_to_num(X.T * (1 / n_items[:, None]) ** alpha, posinf=0)
        from_user = np.nan_to_num(X * (1 / n_users[:, None]) ** alpha, posinf=0)
        W = np.nan_to_num((from_item @ from_user) / n_items**beta, posinf=0)
    np.fill_diagonal(W, 0)
    return greatest(W, k)


def slim(X, reg, l1, k, nonnegative):
    """W [n_items, n_items], of equal cosines the first items."""
    from sklearn.linear_model import ElasticNet

    X = X.astype(np.float64).toarray()
    n_users, n_items = X.shape
    G = X.T @ X
    W = np.zeros((n_items, n_items))
    for item in range(n_items):
        with np.errstate(divide="ignore", invalid="ignore"):
            closeness = np.nan_to_num(G[item] ** 2 / np.diag(G), nan=0)
        closeness[item] = 0
        near = np.sort(np.argsort(-closeness, kind="stable")[: min(k, np.count_nonzero(closeness))])
        if len(near):
            net = ElasticNet(
                alpha=(reg + l1) / n_users, l1_ratio=l1 / (reg + l1), positive=nonnegative, fit_intercept=False,
                tol=1e-12, max_iter=100_000,
            )
            W[near, item] = net.fit(X[:, near], X[:, item]).coef_
    return W


def neighbours(X, similarity, k, k1=1.2, b=0.75, threads=0):
    """implicit's fitted recommender."""
    model = {
        "cosine": lambda: CosineRecommender(K=k, num_threads=threads),
        "tfidf": lambda: TFIDFRecommender(K=k, num_threads=threads),
        "bm25": lambda: BM25Recommender(K=k, K1=k1, B=b, num_threads=threads),
    }[similarity]()
    model.fit(X, show_progress=False)
    return model


def solve(problem, config, threads=0, repeats=1):
    """The matrix [n_items, n_items] of a config of burnrec's keys, and the seconds of each repeat."""
    family = config["model"]
    X = matrix_of(problem, binary=family != "knn")
    work = {
        "ease": lambda: ease(X, config.get("reg")),
        "slim": lambda: slim(X, config.get("reg"), config.get("l1"), config.get("k"), config.get("nonnegative", True)),
        "rp3beta": lambda: rp3beta(X, config.get("alpha"), config.get("beta"), config.get("k")),
        "knn": lambda: neighbours(
            X, config.get("similarity"), config.get("k"), config.get("k1", 1.2), config.get("b", 0.75), threads
        ),
    }[family]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return (found.similarity.toarray() if family == "knn" else found), seconds
