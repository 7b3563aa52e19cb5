"""Makes models/tests/fixtures/transition.json: drawn histories and their scores by SLIT (Choi et al. 2021, arXiv 2103.16104).

Plain numpy in float64: S and T are written out, a row for each row of a user that has another before it, and the normal
equations are solved as they stand. Each case holds its settings and the scores of all users, [users, items]. With the folder
of movietweetings-10k some scores of its users follow, [user id, item id, score]; equal times stand in the order of the item
ids there, and of a repeated pair the newest row counts. Numbers are rounded to 9 digits after the point.

    python make_transition_fixture.py ../../models/tests/fixtures/transition.json MOVIETWEETINGS-DIR
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

USERS, ITEMS, SEED = 30, 12, 7
CASES = [
    {"window": 20, "decay": 8.0, "reg": 1000.0},
    {"window": 3, "decay": 2.0, "reg": 1.5},
    {"window": 1, "decay": 1.0, "reg": 0.1},
]
CHECKS = 60


def source(items, place, n_items, window, decay):
    """The decayed rows before a place of a history."""
    row = np.zeros(n_items)
    for k in range(1, min(window, place) + 1):
        row[items[place - k]] += np.exp(-(k - 1) / decay)
    return row


def scores(histories, n_items, window, decay, reg):
    """The scores of all users: [users, items]."""
    sources, targets = [], []
    for items in histories:
        for place in range(1, len(items)):
            sources.append(source(items, place, n_items, window, decay))
            targets.append(items[place])
    s, t = np.array(sources), np.zeros((len(targets), n_items))
    t[np.arange(len(targets)), targets] = 1.0
    b = np.linalg.solve(s.T @ s + reg * np.eye(n_items), s.T @ t)
    last = np.array([source(items, len(items), n_items, window, decay) for items in histories])
    return last @ b


def drawn():
    """Histories of 1 to ITEMS different items, the oldest first."""
    rng = np.random.default_rng(SEED)
    return [rng.permutation(ITEMS)[: rng.integers(1, ITEMS + 1)].tolist() for _ in range(USERS)]


def movietweetings(folder):
    """Users' ids, items' ids, both ascending, and histories of item rows."""
    newest = {}
    for line in (folder / "ratings.dat").read_text().splitlines():
        user, item, _, time = line.split("::")
        pair = (int(user), item)
        newest[pair] = max(newest.get(pair, 0), int(time))
    users, items = sorted({user for user, _ in newest}), sorted({item for _, item in newest})
    row = {item: at for at, item in enumerate(items)}
    rows = {user: [] for user in users}
    for (user, item), time in newest.items():
        rows[user].append((time, item))
    return users, items, [[row[item] for _, item in sorted(rows[user])] for user in users]


def checks(folder, settings):
    """Some scores, most of them of users with several rows and items with a score."""
    users, items, histories = movietweetings(folder)
    all_scores = scores(histories, len(items), **settings)
    rng = np.random.default_rng(SEED)
    long = [at for at, history in enumerate(histories) if len(history) > 3]
    picked = []
    for at in rng.choice(long, CHECKS, replace=False):
        best = np.argsort(-all_scores[at])[:20]
        item = int(rng.choice(best)) if rng.random() < 0.8 else int(rng.integers(len(items)))
        picked.append([users[at], items[item], round(float(all_scores[at, item]), 9)])
    return picked


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("movietweetings", type=Path)
    args = parser.parse_args()
    histories = drawn()
    cases = []
    for settings in CASES:
        found = scores(histories, ITEMS, **settings)
        cases.append({"settings": settings, "scores": np.round(found, 9).tolist()})
    settings = {"window": 20, "decay": 8.0, "reg": 5.0}
    real = {"settings": settings, "checks": checks(args.movietweetings, settings)}
    fixture = {"n_items": ITEMS, "histories": histories, "cases": cases, "movietweetings-10k": real}
    args.out.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
