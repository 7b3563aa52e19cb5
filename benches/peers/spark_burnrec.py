"""burnrec.spark beside Spark's own ALS and its batch scoring, on the same cluster and rows; prints one JSON object.

    fit    the same params on drawn ratings: seconds of the whole fit and of a sweep (from fits of two lengths), loss
    score  the best k items of all users: `ALSModel.recommendForAllUsers` and `burnrec.spark.recommend`, same factors in kind

Spark's ALS multiplies by BLAS where it finds a native one: `--blas` names the library's folder (Debian's libopenblas0), and the
record says which class Spark chose. Runs alternate, and medians are reported.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path


def session(master, memory, blas):
    import pyspark
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    os.environ.setdefault("SPARK_SCALA_VERSION", "2.13")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    java = f"-Djava.library.path={blas} -Ddev.ludovic.netlib.blas.nativeLibPath={blas}/libopenblas.so.0" if blas else ""
    builder = (
        SparkSession.builder.master(master)
        .appName("burnrec-beside-spark")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", memory)
        .config("spark.executor.memory", memory)
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
    )
    if java:
        # The JVM of the driver reads its options before the session is built.
        os.environ["PYSPARK_SUBMIT_ARGS"] = f'--driver-memory {memory} --driver-java-options "{java}" pyspark-shell'
        builder = builder.config("spark.executor.extraJavaOptions", java)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def blas_of(spark):
    """The class that Spark multiplies with: `JNIBLAS` where it found a native library. As Spark chooses it."""
    from py4j.protocol import Py4JJavaError

    netlib = spark.sparkContext._jvm.dev.ludovic.netlib.blas
    try:
        found = netlib.NativeBLAS.getInstance()
    except Py4JJavaError:
        found = netlib.JavaBLAS.getInstance()
    return found.getClass().getName()


def draw(spark, n_rows, n_users, n_items, folder):
    """Writes drawn ratings with long tails as Parquet and returns them cached."""
    power = "pow(rand({seed}), {by})"
    columns = [
        f"int({n_users} * {power.format(seed=1, by=1.5)}) as user",
        f"int({n_items} * {power.format(seed=2, by=2.5)}) as item",
        "float(1 + floor(5 * rand(3))) as rating",
    ]
    spark.range(n_rows, numPartitions=8).selectExpr(*columns).write.mode("overwrite").parquet(folder)
    frame = spark.read.parquet(folder).cache()
    frame.count()
    return frame


def loss(frame, model, reg, implicit, alpha):
    """Spark's objective, by numpy on the driver."""
    import numpy as np

    def matrix(factors):
        table = factors.toArrow()
        out = np.zeros((table["id"].to_numpy().max() + 1, model.rank))
        out[table["id"].to_numpy()] = np.stack(table["features"].to_numpy())
        return out

    users, items = matrix(model.userFactors), matrix(model.itemFactors)
    table = frame.toArrow()
    user, item, value = (table[name].to_numpy() for name in ("user", "item", "rating"))
    scores = np.concatenate(
        [(users[user[at : at + 10**6]] * items[item[at : at + 10**6]]).sum(1) for at in range(0, len(user), 10**6)]
    )
    counts = np.bincount(user, minlength=len(users)), np.bincount(item, minlength=len(items))
    regulariser = sum(reg * (n * (side**2).sum(1)).sum() for n, side in zip(counts, (users, items)))
    if not implicit:
        return float(((value - scores) ** 2).sum() + regulariser)
    unobserved = ((users.T @ users) * (items.T @ items)).sum() - (scores**2).sum()
    return float(((1 + alpha * value) * (1 - scores) ** 2).sum() + unobserved + regulariser)


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def release(model):
    for factors in (model.userFactors, model.itemFactors):
        factors.unpersist(True)


def fits(frame, args):
    from burnrec.spark import ALS
    from pyspark.ml.recommendation import ALS as SparkALS

    common = {
        "rank": args.rank,
        "regParam": args.reg,
        "implicitPrefs": args.implicit,
        "alpha": args.alpha,
        "seed": args.seed,
        "numUserBlocks": args.blocks,
        "numItemBlocks": args.blocks,
    }
    kinds = {
        "spark": lambda sweeps: SparkALS(maxIter=sweeps, **common),
        "burnrec": lambda sweeps: ALS(maxIter=sweeps, solver=args.solver, **common),
    }
    seconds = {name: {1: [], args.sweeps: []} for name in kinds}
    losses = {}
    for round_ in range(args.rounds + 1):
        for name, kind in kinds.items():
            for sweeps in (1, args.sweeps):
                model, took = timed(lambda: kind(sweeps).fit(frame))  # noqa: B023
                print(f"{name}: {sweeps} sweeps in {took:.2f} s", file=sys.stderr, flush=True)
                if round_:  # the first round warms the JVM and starts the Python workers
                    seconds[name][sweeps].append(took)
                if round_ == args.rounds and sweeps == args.sweeps:
                    losses[name] = loss(frame, model, args.reg, args.implicit, args.alpha)
                release(model)
    record = {}
    for name, of in seconds.items():
        one, all_ = statistics.median(of[1]), statistics.median(of[args.sweeps])
        record[name] = {
            "fit_seconds": all_,
            "fit_seconds_all": of[args.sweeps],
            "seconds_a_sweep": (all_ - one) / (args.sweeps - 1),
            "loss": losses[name],
        }
    record["ratio"] = record["burnrec"]["fit_seconds"] / record["spark"]["fit_seconds"]
    return record


def scores(spark, args, folder):
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from burnrec.spark import recommend
    from pyspark.ml.recommendation import ALS as SparkALS

    import burnrec

    # Few rows a user: what is timed is the scoring.
    rng = np.random.default_rng(args.seed)
    user = np.repeat(np.arange(args.score_users), 3)
    item = rng.integers(0, args.score_items, len(user))
    rows = pd.DataFrame({"user": user, "item": item, "rating": np.ones(len(user), np.float32)})
    run = f"{folder}/run"
    burnrec.fit(rows, "als", user="user", item="item", value="rating", dim=args.rank, epochs=1, seed=args.seed, out=run)
    frame = spark.createDataFrame(pa.Table.from_pandas(rows, preserve_index=False)).cache()
    model = SparkALS(rank=args.rank, maxIter=1, implicitPrefs=True, seed=args.seed).fit(frame)
    users = frame.select("user").distinct().repartition(args.blocks).cache()
    users.count()
    kinds = {
        "spark": lambda: model.recommendForAllUsers(args.k),
        "burnrec": lambda: recommend(users, run, args.k, include_seen=True),
    }
    seconds = {name: [] for name in kinds}
    for round_ in range(args.rounds + 1):
        for name, kind in kinds.items():
            _, took = timed(lambda: kind().write.format("noop").mode("overwrite").save())  # noqa: B023
            print(f"{name}: {args.score_users} users in {took:.2f} s", file=sys.stderr, flush=True)
            if round_:
                seconds[name].append(took)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    return {"seconds": medians, "seconds_all": seconds, "times_faster": medians["spark"] / medians["burnrec"]}


def arguments():
    parser = argparse.ArgumentParser(description="burnrec.spark beside Spark's own ALS and batch scoring.")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--reg", type=float, default=0.1)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--solver", default="cholesky")
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--score-users", type=int, default=1_000_000)
    parser.add_argument("--score-items", type=int, default=10_000)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--only", choices=["fit", "score"])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--memory", default="6g")
    parser.add_argument("--blas", help="folder of libopenblas.so.0")
    args = parser.parse_args()
    if args.sweeps < 2:
        parser.error("--sweeps: expected at least 2")
    return args


def main():
    args = arguments()
    record = {"config": vars(args)}
    with tempfile.TemporaryDirectory() as folder:
        spark = session(args.master, args.memory, args.blas)
        record["spark"], record["blas"] = spark.version, blas_of(spark)
        if args.only != "score":
            record["fit"] = fits(draw(spark, args.rows, args.users, args.items, f"{folder}/ratings"), args)
        if args.only != "fit":
            record["score"] = scores(spark, args, folder)
        spark.stop()
    print(json.dumps(record))


if __name__ == "__main__":
    main()
