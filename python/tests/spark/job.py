"""A fit, and scores by a saved run, on an engine that needs a process of its own: `python -m spark.job ENGINE OUT RUN`, with
ENGINE connect or sail.

Writes the factors, their predictions' sum, the class of the model, and the lists and scores by the run to OUT, as numpy's `.npz`.
The same file runs on both.
"""

import sys

import numpy as np

from spark import problem

SETTINGS = {"rank": 8, "maxIter": 4, "regParam": 0.1, "seed": problem.SEED, "numUserBlocks": 3, "numItemBlocks": 2}


#: Sail's server stops with the last reference to it.
SERVERS = []


def session(engine):
    from pyspark.sql import SparkSession

    if engine == "connect":
        return SparkSession.builder.remote("local[2]").config("spark.sql.shuffle.partitions", "4").getOrCreate()
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    SERVERS.append(server)
    _, port = server.listening_address
    return SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()


def main(engine, out, run):
    spark = session(engine)
    from burnrec.spark import ALS, recommend, score

    ratings = problem.frame(spark, problem.rows())
    model = ALS(**SETTINGS, implicitPrefs=True).fit(ratings)
    users, items = problem.factors(model)
    predictions = model.transform(ratings.limit(100)).toArrow()["prediction"].to_numpy()
    best = model.recommendForAllUsers(3).count()
    kind = f"{type(model).__module__}.{type(model).__name__}"
    lists = recommend(ratings.select("user").distinct(), run, 5).collect()
    scores = score(ratings.select("user", "item").distinct(), run).collect()
    np.savez(
        out,
        users=users,
        items=items,
        predicted=np.isfinite(predictions).sum(),
        best=best,
        kind=kind,
        lists=np.array([(row["user"], *(pair["item"] for pair in row["recommendations"])) for row in lists]),
        pairs=np.array([(row["user"], row["item"]) for row in scores]),
        scores=np.array([row["score"] for row in scores], np.float32),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
