"""Drawn ratings with long tails, as those of MovieLens have them, and what they give on one machine."""

import json

import numpy as np
import pyarrow as pa

USERS, ITEMS, SEED = 400, 150, 11


def rows(users=USERS, items=ITEMS, n=9000, seed=3):
    """(user, item, value) arrays: ids from 0 which all occur, no pair twice, values 1 to 5 with a taste to be found."""
    rng = np.random.default_rng(seed)
    user = np.concatenate([np.arange(users), (users * rng.random(n) ** 2).astype(int)])
    item = np.concatenate([np.arange(users) % items, (items * rng.random(n) ** 2).astype(int)])
    user, item = np.concatenate([user, np.arange(items) % users]), np.concatenate([item, np.arange(items)])
    user, item = np.unique(np.stack([user, item]), axis=1)
    taste = rng.standard_normal((users, 4)), rng.standard_normal((items, 4))
    liking = (taste[0][user] * taste[1][item]).sum(1)
    value = np.clip(np.round(3 + liking + 0.3 * rng.standard_normal(len(user))), 1, 5)
    return user.astype(np.int32), item.astype(np.int32), value.astype(np.float32)


def frame(spark, columns):
    """The rows as a data frame of Spark."""
    return spark.createDataFrame(pa.table(dict(zip(("user", "item", "rating"), columns, strict=True))))


def factors(model):
    """(users, items) of a model: the factors in the order of their ids."""
    return tuple(_matrix(frame) for frame in (model.userFactors, model.itemFactors))


def _matrix(frame):
    table = frame.toArrow()
    table = table.take(np.argsort(table["id"].to_numpy()))
    return np.stack(table["features"].to_numpy()).astype(np.float32)


def on_one_machine(columns, config, sweeps, seed=SEED):
    """(users, items): the factors of burnrec's own learner."""
    from burnrec._native import spark as native

    user, item, value = columns
    found = native.als_alone(json.dumps(config), seed, user, item, value, sweeps, 1)
    return tuple(np.frombuffer(side, np.float32).reshape(-1, config["dim"]) for side in found)


def loss(columns, users, items, reg, *, implicit, alpha=1.0):
    """Spark's objective, in float64."""
    user, item, value = columns
    users, items = users.astype(float), items.astype(float)
    scores = (users[user] * items[item]).sum(1)
    counts = np.bincount(user, minlength=len(users)), np.bincount(item, minlength=len(items))
    regulariser = sum(reg * (n * (side**2).sum(1)).sum() for n, side in zip(counts, (users, items), strict=True))
    if not implicit:
        return ((value - scores) ** 2).sum() + regulariser
    unobserved = ((users.T @ users) * (items.T @ items)).sum() - (scores**2).sum()
    return ((1 + alpha * value) * (1 - scores) ** 2).sum() + unobserved + regulariser
