"""Writes `models/tests/fixtures/item_item.json`: drawn rows, and for some settings of EASE, SLIM, RP3beta and the nearest neighbours
the item-item matrix and the scores of all users, by numpy, scikit-learn and the implicit package.

No values are equal, so that the k greatest are the same everywhere. Item 5 and user 7 have no rows.
"""

import argparse
import json
from pathlib import Path

# first, as it sets what numpy's BLAS is
from item_item_reference import matrix_of, neighbours, solve

import numpy as np
from peer_io import Problem, note

N_USERS, N_ITEMS, SEED = 30, 18, 20261127

CONFIGS = [
    {"model": "ease", "reg": 0.5},
    {"model": "ease", "reg": 20.0},
    {"model": "rp3beta", "alpha": 1.0, "beta": 0.5, "k": 18},
    {"model": "rp3beta", "alpha": 0.7, "beta": 0.9, "k": 18},
    {"model": "slim", "reg": 2.0, "l1": 0.3, "k": 18},
    {"model": "slim", "reg": 0.5, "l1": 0.1, "k": 5},
    {"model": "slim", "reg": 1.0, "l1": 0.5, "k": 18, "nonnegative": False},
    {"model": "knn", "similarity": "cosine", "k": 6},
    {"model": "knn", "similarity": "tfidf", "k": 6},
    {"model": "knn", "similarity": "bm25", "k": 6, "k1": 1.2, "b": 0.75},
    {"model": "knn", "similarity": "bm25", "k": 18, "k1": 100.0, "b": 0.2},
]


def drawn():
    """Rows of users whose taste is near that of their neighbours in number, with values of 0.5 to 5."""
    rng = np.random.default_rng(SEED)
    near = np.abs(np.arange(N_USERS)[:, None] / N_USERS - np.arange(N_ITEMS)[None, :] / N_ITEMS)
    has = rng.random((N_USERS, N_ITEMS)) < 0.75 * np.exp(-3 * near)
    has[7], has[:, 5] = False, False
    users, items = np.nonzero(has)
    values = np.round(rng.uniform(0.5, 5, len(users)), 4)
    return Problem(users, items, values, N_USERS, N_ITEMS)


def scores(problem, config, matrix):
    """The scores of all users; of the neighbours by implicit's own `recommend`, what it does not list being 0."""
    if config["model"] != "knn":
        return matrix_of(problem, binary=True).toarray().astype(np.float64) @ matrix
    X = matrix_of(problem, binary=False)
    model = neighbours(X, config["similarity"], config["k"], config.get("k1", 1.2), config.get("b", 0.75), 1)
    out = np.zeros((N_USERS, N_ITEMS))
    for user in range(N_USERS):
        items, values = model.recommend(user, X[user], N=N_ITEMS, filter_already_liked_items=False)
        out[user, items] = values
    return out


def rounded(matrix):
    return [float(f"{value:.7g}") for value in np.asarray(matrix, dtype=np.float64).ravel()]


def main():
    parser = argparse.ArgumentParser(description="Write the fixture of the item-item families.")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    problem = drawn()
    note(f"{len(problem.users)} rows")
    cases = []
    for config in CONFIGS:
        matrix, _ = solve(problem, config, threads=1)
        cases.append({"config": config, "matrix": rounded(matrix), "scores": rounded(scores(problem, config, matrix))})
    fixture = {
        "made_by": "benches/peers/make_item_item_fixture.py",
        "n_users": N_USERS,
        "n_items": N_ITEMS,
        "users": problem.users.tolist(),
        "items": problem.items.tolist(),
        "values": problem.values.tolist(),
        "cases": cases,
    }
    out.write_text(json.dumps(fixture, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
