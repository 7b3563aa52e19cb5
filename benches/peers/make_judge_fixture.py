"""Makes train/tests/fixtures/judge.json: drawn scores and what the peers' evaluators (`judge.py`) say of them.

A small taste model draws histories, held-out ratings and scores that know something of both: f32 without ties within a
user. The last users have no history and the last items are in none, so that their rated pairs are cold; some users have
nothing held out, and are not judged. Two questions are asked of the same scores: `seen_removed`, full ranking without
each user's history, and `whole_catalogue`, where nothing is seen, so that implicit's AUC is the whole AUC.

Needs Java for Spark. The figures are written in float64 with all their digits.

    python make_judge_fixture.py ../../train/tests/fixtures/judge.json
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from judge import of_implicit, of_sklearn, of_spark, question
from peer_io import note, versions

N_USERS, N_ITEMS, SEED = 60, 90, 7
KS = [1, 5, 10, 20]
NO_HISTORY, NO_USERS = 2, 2  # users without history, items without users
NOTHING_HELD_OUT = [11, 40]


def draw(rng):
    """(scores, history, relevant): f32 [users, items], and matrices of ones and of ratings in half stars."""
    taste = rng.normal(size=(N_USERS, 3)) @ rng.normal(size=(3, N_ITEMS))
    liked = np.argsort(-(taste + rng.normal(scale=1.5, size=taste.shape)), axis=1)
    history, relevant = np.zeros(taste.shape), np.zeros(taste.shape)
    for user in range(N_USERS):
        n_relevant = 0 if user in NOTHING_HELD_OUT else rng.integers(1, 13)
        relevant[user, liked[user, :n_relevant]] = 1
        history[user, liked[user, n_relevant : n_relevant + rng.integers(3, 25)]] = 1
    history[N_USERS - NO_HISTORY :] = 0
    history[:, N_ITEMS - NO_USERS :] = 0
    ratings = np.clip(np.round(2 * (3.5 + 0.6 * taste + rng.normal(scale=0.5, size=taste.shape))) / 2, 0.5, 5)
    scores = np.round(3.2 + 0.5 * taste + rng.normal(scale=0.6, size=taste.shape), 4).astype(np.float32)
    while tied := [user for user in range(N_USERS) if len(np.unique(scores[user])) < N_ITEMS]:
        again = rng.normal(scale=0.01, size=(len(tied), N_ITEMS))
        scores[tied] = np.round(scores[tied] + again, 4).astype(np.float32)
    return scores, sp.csr_matrix(history), sp.csr_matrix(relevant * ratings)


def lists(matrix):
    return [matrix[row].indices.tolist() for row in range(matrix.shape[0])]


def main():
    parser = argparse.ArgumentParser(description="Write the fixture that the judge is held against.")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    import spark_als

    scores, history, relevant = draw(np.random.default_rng(SEED))
    assert (history[:, N_ITEMS - NO_USERS :].nnz, relevant[:, N_ITEMS - NO_USERS :].nnz > 0) == (0, True)
    warm = history.getnnz(axis=1) > 0, history.getnnz(axis=0) > 0
    spark = spark_als.session("local[1]", memory="1g")
    cases = []
    for name, seen in (("seen_removed", history), ("whole_catalogue", sp.csr_matrix(history.shape))):
        asked = question(scores, seen, relevant, *warm)
        assert asked.tied_users() == 0
        figures = of_implicit(asked, [*KS, N_ITEMS], per_user=True)
        figures += of_sklearn(asked, KS) + of_spark(spark, asked, KS)
        cases.append({"name": name, "figures": figures})
        for found in figures:
            note(f"{name}: {found['peer']} {found['function']}: {found['metric']} {found['value']:.6f}")
    _, predictions, _ = asked.rated_pairs()
    spark.stop()
    fixture = {
        "about": "Made by benches/peers/make_judge_fixture.py; what the figures mean is in judge.py beside it",
        "versions": versions("implicit", "scikit-learn", "pyspark", "numpy", "scipy"),
        "seed": SEED,
        "n_users": N_USERS,
        "n_items": N_ITEMS,
        "ks": [*KS, N_ITEMS],
        "scores": [[round(float(score), 4) for score in row] for row in scores],
        "history": lists(history),
        "relevant": lists(relevant),
        "ratings": [relevant[row].data.tolist() for row in range(N_USERS)],
        "cold_pairs": relevant.nnz - len(predictions),
        "cases": cases,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(fixture, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    part.replace(out)


if __name__ == "__main__":
    main()
