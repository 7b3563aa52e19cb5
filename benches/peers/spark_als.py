"""Fits Spark ML's ALS on a fixed train/test pair and prints one JSON object: RMSE, seconds, versions.

What Spark does, read in `ml/recommendation/ALS.scala` of 4.0:

* Explicit, `als_reference.spark_explicit` (ALS-WR):
      L = sum_obs (r - s)^2 + reg (sum_u n_u |x_u|^2 + sum_i n_i |y_i|^2)
* Implicit, `als_reference.spark_implicit`; each cell's confidence is 1 + alpha |r|:
      L = sum_obs (1 + alpha r) (1 - s)^2 + sum_unobserved s^2 + the same regulariser
  Here n_u and n_i count the ratings above 0 (`numExplicits`); a rating of 0 or less has target 0.
* Sweep. Items first for the initial users, then users. The solver is Cholesky in f64 (with `nonnegative`
  its own NNLS), the factors are kept in f32.
* Start. Each row a random unit vector (normal entries, normalised), drawn per block: `--blocks` changes it.
  With 0 iterations the model's factors are that start.
* A user or item without ratings has no factors; `coldStartStrategy="drop"` leaves its pairs out of the RMSE, and its
  scores are -inf.
* A pair that occurs twice counts twice.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from als_reference import objective, spark_explicit, spark_implicit
from peer_io import (
    add_scoring,
    check_scoring,
    emit,
    fail,
    least_seconds,
    machine,
    note,
    peak_memory_bytes,
    read_columns,
    read_problem,
    read_users,
    save_factors,
    save_tensors,
    sniff,
    versions,
)

COLUMNS = "user int, item int, value float"
PAIRS, USERS = 200_000, 500  # to time inference by


def session(master, memory="4g"):
    """A local Spark session without web page and with errors as its only log."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = (
        SparkSession.builder.master(master)
        .appName("burnrec-peer-als")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        # joins of the evaluation only; the fit works on RDDs of `blocks` partitions
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.driver.memory", memory)
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(spark, path):
    """A cached data frame user, item, value; materialised, so that a fit does not read the file."""
    separator, header = sniff(path)
    # ml-100k and ml-1m carry a fourth column, the time: fields beyond the schema are dropped
    frame = spark.read.csv(str(path), sep=separator, header=header, schema=COLUMNS, mode="PERMISSIVE")
    frame = frame.select("user", "item", "value").cache()
    frame.count()
    bad = frame.filter("user is null or item is null or value is null").count()
    if bad:
        fail(f"{path}: {bad} lines are not numbers user{separator}item{separator}value")
    return frame


def fit(train, rank, reg, iterations, seed, *, implicit=False, alpha=1.0, nonnegative=False, blocks=10):
    """One fit; returns the model and its seconds. The training data must be cached already."""
    from pyspark.ml.recommendation import ALS

    als = ALS(
        rank=rank, maxIter=iterations, regParam=reg, seed=seed, implicitPrefs=implicit, alpha=alpha,
        nonnegative=nonnegative, numUserBlocks=blocks, numItemBlocks=blocks, coldStartStrategy="drop",
        userCol="user", itemCol="item", ratingCol="value",
    )
    start = time.perf_counter()
    model = als.fit(train)
    return model, time.perf_counter() - start


def factors(model, n_users, n_items):
    """(user_factors, item_factors), f32, row = id; rows without ratings are zeros."""
    pair = []
    for frame, rows in ((model.userFactors, n_users), (model.itemFactors, n_items)):
        matrix = np.zeros((rows, model.rank), dtype=np.float32)
        for row in frame.collect():
            matrix[row["id"]] = row["features"]
        pair.append(matrix)
    return tuple(pair)


def test_rmse(model, test):
    """(RMSE, pairs predicted); pairs of users or items that training never saw are dropped."""
    from pyspark.ml.evaluation import RegressionEvaluator

    predictions = model.transform(test).cache()
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="value", predictionCol="prediction")
    return evaluator.evaluate(predictions), predictions.count()


def scores(problem, user_factors, item_factors, users):
    """[users, items], f32; -inf where the user or the item has no ratings and so no factors: Spark never recommends it."""
    table = user_factors[users] @ item_factors.T
    table[problem.user_counts()[users] == 0] = -np.inf
    table[:, problem.item_counts() == 0] = -np.inf
    return table


def inference(spark, model, train, problem, users):
    """Pairs a second by `transform`; users a second by `recommendForUserSubset`, on at most 500 of these users.

    Spark does not leave out seen items: it is asked for so many more that ten remain, and the seen are taken off.
    """
    from pyspark.sql import functions as F

    drawn = [(F.rand(seed) * rows).cast("int").alias(name)
             for seed, name, rows in ((1, "user", problem.n_users), (2, "item", problem.n_items))]
    pairs = spark.range(PAIRS).select(*drawn).cache()
    pairs.count()
    scored = least_seconds(lambda: model.transform(pairs).agg(F.sum("prediction")).collect(), rounds=2)

    counts = problem.user_counts()
    asked = [int(user) for user in users if counts[user]][:USERS]
    subset = spark.createDataFrame([(user,) for user in asked], schema="user int").cache()
    seen = train.join(subset, "user").groupBy("user").agg(F.collect_set("item").alias("seen")).cache()
    seen.count()
    k = 10 + max(int(counts[user]) for user in asked)
    ten = F.expr("slice(array_except(transform(recommendations, r -> r.item), seen), 1, 10)")
    recommended = least_seconds(
        lambda: model.recommendForUserSubset(subset, k).join(seen, "user").select("user", ten).collect(), rounds=2
    )
    return {"pairs_per_second": PAIRS / scored, "recommend_users_per_second": len(asked) / recommended}


def draw_holdout(path, share, seed, folder):
    """Splits one ratings file by a seeded draw into train.csv and test.csv in `folder`."""
    users, items, values = read_columns(path)
    held = np.random.default_rng(seed).random(len(users)) < share
    for name, rows in (("train.csv", ~held), ("test.csv", held)):
        columns = zip(users[rows], items[rows], values[rows])
        lines = [f"{user},{item},{value:g}\n" for user, item, value in columns]
        Path(folder, name).write_text("user,item,value\n" + "".join(lines), encoding="utf-8")
    return Path(folder, "train.csv"), Path(folder, "test.csv")


def arguments():
    parser = argparse.ArgumentParser(description="Spark ML's ALS on ratings files (`::`, tab or comma).")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", help="needed unless --holdout or --scores")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--holdout", type=float, help="draw this share of --train as the test")
    parser.add_argument("--split-seed", type=int, default=0, help="of --holdout")
    parser.add_argument("--split-dir", help="keep the drawn train.csv and test.csv in this folder")
    parser.add_argument("--rank", type=int, default=10)
    parser.add_argument("--reg", type=float, default=0.1)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--nonnegative", action="store_true")
    parser.add_argument("--blocks", type=int, default=10, help="user and item blocks; Spark's default is 10")
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--repeats", type=int, default=1, help="fits; the median time is reported")
    parser.add_argument("--out", help="safetensors for the final factors; row = id in the file")
    add_scoring(parser)
    args = parser.parse_args()
    if args.test and args.holdout or not (args.test or args.holdout or args.scores):
        parser.error("give --test FILE or --holdout SHARE, and not both, or --scores FILE")
    check_scoring(args)
    return args


def main():
    args = arguments()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        train_path, test_path = args.train, args.test
        if args.holdout is not None:
            if args.split_dir:
                Path(args.split_dir).mkdir(parents=True, exist_ok=True)
            folder = args.split_dir or scratch
            train_path, test_path = draw_holdout(args.train, args.holdout, args.split_seed, folder)
        problem = read_problem(train_path, args.n_users, args.n_items)
        users = read_users(args.score_users, problem.n_users)
        spark = session(args.master)
        train = read(spark, train_path)
        test = read(spark, test_path) if test_path else None
        note(f"{train.count()} train and {test.count() if test else 0} test ratings")
        fits = []
        for _ in range(args.repeats):
            model, seconds = fit(
                train, args.rank, args.reg, args.iterations, args.seed, implicit=args.implicit,
                alpha=args.alpha, nonnegative=args.nonnegative, blocks=args.blocks,
            )
            fits.append(seconds)
            note(f"fit: {seconds:.2f} s")
        # of this process and of the JVM, which it has started
        peak = peak_memory_bytes() + peak_memory_bytes(spark.sparkContext._gateway.proc.pid)
        rmse, predicted = test_rmse(model, test) if test and not args.implicit else (None, None)
        pair = factors(model, problem.n_users, problem.n_items)
        convention = spark_implicit(args.alpha, args.reg) if args.implicit else spark_explicit(args.reg)
        record = {
            "peer": "spark",
            "config": {**vars(args), "n_users": problem.n_users, "n_items": problem.n_items},
            "train_ratings": len(problem.users),
            "test_ratings": test.count() if test else None,
            "fit_seconds": statistics.median(fits),
            "fit_seconds_all": fits,
            "epochs": args.iterations,
            "samples_per_second": args.iterations * len(problem.users) / statistics.median(fits),
            "parameters": args.rank * (model.userFactors.count() + model.itemFactors.count()),
            "peak_memory_bytes": peak,
            "device": "cpu",
            "threads": spark.sparkContext.defaultParallelism,
            "rmse": rmse,
            "pairs_predicted": predicted,
            "loss": objective(convention, problem, *pair),
            "versions": {**versions("pyspark", "numpy"), "spark": spark.version},
            "machine": machine(),
        }
        if args.scores:
            record["inference"] = inference(spark, model, train, problem, users)
        spark.stop()
    if args.scores:
        save_tensors(args.scores, {"scores": scores(problem, *pair, users)})
    if args.out:
        save_factors(args.out, *pair)
    emit({**record, "total_seconds": time.perf_counter() - began})


if __name__ == "__main__":
    main()
