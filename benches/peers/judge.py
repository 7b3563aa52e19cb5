"""The peers' own evaluators on given scores: what burnrec's judge is held against. Prints one JSON object.

The question is that of full ranking: for each user with relevant items, all items are ranked by score, without those
of the user's history. The figures carry burnrec's names where both sides mean the same:

* implicit, `ranking_metrics_at_k`: its own model with the scores as user factors and the identity as item factors,
  which multiplies to the scores exactly, so that its top k and its filter of seen items take part.
  `ndcg` and `map` are ours: gains of 0 and 1, an ideal list of min(R, k) items, average precision by min(R, k).
  `precision` is no mean over users but all hits by the sum of min(R, k): `pooled_precision` here. `auc` takes history
  items for negatives that stand last, and guesses what lies behind the first k: it is ours where nobody has a history
  and k is the number of items, and only then given.
* scikit-learn, user by user: `roc_auc_score` (ties count half), `ndcg_score` of relevance 0 and 1 (with ratings as
  gains it is another metric), `average_precision_score`, which is MAP without a cut; `root_mean_squared_error` and
  `mean_absolute_error` over all rated pairs.
* Spark: `RegressionEvaluator` (rmse, mae), and `RankingEvaluator` on lists of the items in order (NDCG, MAP, precision
  and recall at k).

Rated pairs whose user or item has no training row are left out, as `coldStartStrategy="drop"` does. NaN counts
against the model. A tie does at burnrec, but falls as the sorting has it at the peers: `tied_users` counts the users
with a relevant item whose score another unseen item has too; where it is not 0 the figures may differ.

    python judge.py --scores scores.safetensors --score-users users.csv --train train.csv --test test.csv \\
        --n-users 943 --n-items 1682 --against ours.json

`--against` reads burnrec's scores of the same question (what `evaluate --json` prints, or a case record of a bench) and
fails where a figure is more than 1e-6 away.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from peer_io import emit, fail, load_scores, machine, note, read_problem, read_users, versions

TOLERANCE = 1e-6
HUGE = np.float32(3e38)  # below implicit's mark of a filtered item


@dataclass(frozen=True)
class Question:
    """Scores [users, items] in f32, and for the same rows the items seen and the held-out ratings, as CSR; which users
    [users] and items [items] have training rows."""

    scores: np.ndarray
    history: sp.csr_matrix
    relevant: sp.csr_matrix
    warm_users: np.ndarray
    warm_items: np.ndarray

    def judged(self):
        """Rows that have relevant items."""
        return np.flatnonzero(np.diff(self.relevant.indptr))

    def row(self, at):
        """(scores, labels) of one user's unseen items, and where they stand in the catalogue."""
        unseen = np.ones(self.scores.shape[1], dtype=bool)
        unseen[self.history[at].indices] = False
        labels = np.zeros(self.scores.shape[1])
        labels[self.relevant[at].indices] = 1.0
        items = np.flatnonzero(unseen)
        return self.scores[at, items], labels[items], items

    def rated_pairs(self):
        """(rows, predictions, ratings) of the warm held-out pairs, in f64."""
        pairs = self.relevant.tocoo()
        warm = self.warm_users[pairs.row] & self.warm_items[pairs.col]
        rows, items, ratings = pairs.row[warm], pairs.col[warm], pairs.data[warm]
        return rows, self.scores[rows, items].astype(np.float64), ratings.astype(np.float64)

    def tied_users(self):
        """Users whose figures hang on how ties are broken."""
        tied = 0
        for at in self.judged():
            scores, labels, _ = self.row(at)
            tied += bool(np.isin(scores[labels == 1], scores[labels == 0]).any())
        return tied


def ones(matrix):
    """The same entries, each with the value 1."""
    return sp.csr_matrix((np.ones(matrix.nnz, dtype=np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def question(scores, history, relevant, warm_users, warm_items):
    """Checks that the parts fit, and sets NaN against the model: candidates lead the list, relevant items end it."""
    if history.multiply(ones(relevant)).nnz:
        fail("found relevant items that are in their user's history, expected none")
    scores = np.where(np.isnan(scores), np.where(ones(relevant).toarray() == 1, -HUGE, HUGE), scores)
    return Question(np.ascontiguousarray(scores, dtype=np.float32), history, relevant, warm_users, warm_items)


def figure(peer, function, metric, value, per_user=None):
    """One number of a peer's, under burnrec's name for it."""
    return {
        "peer": peer, "function": function, "metric": metric, "value": float(value),
        "per_user": None if per_user is None else [float(x) for x in per_user],
    }


def of_implicit(asked, ks, per_user=False):
    """The figures of implicit, per user by giving it one user's relevant items at a time."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    n_items = asked.scores.shape[1]
    model = AlternatingLeastSquares(factors=n_items, num_threads=1)
    model.user_factors, model.item_factors = asked.scores, np.eye(n_items, dtype=np.float32)
    relevant = ones(asked.relevant)

    def measured(matrix, k):
        return ranking_metrics_at_k(model, asked.history, matrix, K=k, show_progress=False, num_threads=1)

    def alone(at):
        mask = sp.csr_matrix(([1.0], ([at], [at])), shape=(relevant.shape[0],) * 2)
        matrix = (mask @ relevant).tocsr()
        matrix.sort_indices()
        return matrix

    figures = []
    for k in ks:
        overall = measured(relevant, k)
        users = [measured(alone(at), k) for at in asked.judged()] if per_user else None
        names = {"ndcg": f"ndcg@{k}", "map": f"map@{k}", "precision": f"pooled_precision@{k}"}
        if k == n_items and asked.history.nnz == 0:
            names["auc"] = "auc"
        for theirs, ours in names.items():
            values = [user[theirs] for user in users] if users and theirs != "precision" else None
            figures.append(figure("implicit", "ranking_metrics_at_k", ours, overall[theirs], values))
    return figures


def of_sklearn(asked, ks):
    """The figures of scikit-learn."""
    from sklearn import metrics

    rows = [asked.row(at)[:2] for at in asked.judged()]
    means = {
        ("roc_auc_score", "auc"): [metrics.roc_auc_score(labels, scores) for scores, labels in rows],
        ("average_precision_score", f"map@{asked.scores.shape[1]}"): [
            metrics.average_precision_score(labels, scores) for scores, labels in rows
        ],
    }
    for k in ks:
        means["ndcg_score", f"ndcg@{k}"] = [
            metrics.ndcg_score(labels[None], scores[None], k=k, ignore_ties=True) for scores, labels in rows
        ]
    figures = [
        figure("scikit-learn", function, metric, np.mean(values), values)
        for (function, metric), values in means.items()
    ]
    users, predictions, ratings = asked.rated_pairs()
    if not len(users):
        return figures
    for function, metric in (("root_mean_squared_error", "rmse"), ("mean_absolute_error", "mae")):
        measure = getattr(metrics, function)
        mine = [users == at for at in asked.judged()]
        values = [measure(ratings[at], predictions[at]) if at.any() else 0.0 for at in mine]
        figures.append(figure("scikit-learn", function, metric, measure(ratings, predictions), values))
    return figures


def of_spark(spark, asked, ks):
    """The figures of Spark, which gives none per user."""
    from pyspark.ml.evaluation import RankingEvaluator, RegressionEvaluator

    def ordered(at):
        scores, labels, items = asked.row(at)
        best = np.argsort(-scores, kind="stable")[: max(ks)]
        return items[best].astype(float).tolist(), items[labels == 1].astype(float).tolist()

    lists = [ordered(at) for at in asked.judged()]
    frame = spark.createDataFrame(lists, schema="prediction array<double>, label array<double>").cache()
    names = {"ndcg": "ndcgAtK", "map": "meanAveragePrecisionAtK", "precision": "precisionAtK", "recall": "recallAtK"}
    figures = [
        figure("spark", f"RankingEvaluator({theirs})", f"{ours}@{k}",
               RankingEvaluator(metricName=theirs, k=k).evaluate(frame))
        for ours, theirs in names.items()
        for k in ks
    ]
    _, predictions, ratings = asked.rated_pairs()
    if not len(ratings):
        return figures
    pairs = spark.createDataFrame(
        list(zip(predictions.tolist(), ratings.tolist())), schema="prediction double, label double"
    ).cache()
    for metric in ("rmse", "mae"):
        value = RegressionEvaluator(metricName=metric).evaluate(pairs)
        figures.append(figure("spark", "RegressionEvaluator", metric, value))
    return figures


def differences(figures, path):
    """(figures that burnrec's scores have too, the largest distance); says each that is too far."""
    ours = json.loads(Path(path).read_text(encoding="utf-8"))
    ours = ours.get("test", ours)
    compared, largest = 0, 0.0
    for found in figures:
        if found["metric"] not in ours:
            continue
        distance = abs(found["value"] - ours[found["metric"]]["value"])
        compared, largest = compared + 1, max(largest, distance)
        if distance > TOLERANCE:
            note(f"{found['peer']} {found['function']}: {found['metric']} {found['value']:.9f}, {distance:.1e} away")
    return compared, largest


def arguments():
    parser = argparse.ArgumentParser(description="The peers' evaluators on scores in a file.")
    parser.add_argument("--scores", required=True, help="safetensors with f32 scores [users, items]")
    parser.add_argument("--score-users", help="the users of its rows, a row number a line; default: all, ascending")
    parser.add_argument("--train", required=True, help="user,item,value: what is seen, and what is warm")
    parser.add_argument("--test", required=True, help="user,item,value: the relevant items and their ratings")
    parser.add_argument("--n-users", type=int, required=True)
    parser.add_argument("--n-items", type=int, required=True)
    parser.add_argument("--ks", default="5,10,20", help="the cuts")
    parser.add_argument("--spark", action="store_true", help="also ask Spark (needs Java 17)")
    parser.add_argument("--against", help="burnrec's scores as JSON; ends with status 1 where a figure is elsewhere")
    return parser.parse_args()


def main():
    args = arguments()
    ks = [int(k) for k in args.ks.split(",")]
    train = read_problem(args.train, args.n_users, args.n_items)
    test = read_problem(args.test, args.n_users, args.n_items)
    users = read_users(args.score_users, args.n_users)
    scores = load_scores(args.scores, len(users), args.n_items)

    def rows(problem, values):
        matrix = sp.csr_matrix((values, (problem.users, problem.items)), shape=(args.n_users, args.n_items))
        return matrix[users]

    seen = rows(train, np.ones(len(train.users), dtype=np.float32))
    warm = train.user_counts()[users] > 0, train.item_counts() > 0
    asked = question(scores, seen, rows(test, test.values), *warm)
    figures = of_implicit(asked, ks) + of_sklearn(asked, ks)
    packages = ["implicit", "scikit-learn", "numpy", "scipy"]
    if args.spark:
        import spark_als

        spark = spark_als.session("local[2]")
        figures += of_spark(spark, asked, ks)
        spark.stop()
        packages.append("pyspark")
    record = {
        "config": vars(args), "users": len(asked.judged()), "tied_users": asked.tied_users(), "figures": figures,
        "versions": versions(*packages), "machine": machine(),
    }
    if args.against:
        record["compared"], record["largest_difference"] = differences(figures, args.against)
    emit(record)
    if args.against and (not record["compared"] or record["largest_difference"] > TOLERANCE):
        fail(f"{args.against}: {record['compared']} figures compared, the largest difference is "
             f"{record['largest_difference']:.1e}, expected at most {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
