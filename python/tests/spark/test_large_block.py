"""A block of 300 MB, in executors of 1 GiB."""

import numpy as np

from burnrec.spark import ALS, als
from spark import problem

USERS, ITEMS = 300_000, 125
SETTINGS = {"rank": 2, "maxIter": 1, "seed": problem.SEED, "numUserBlocks": 1, "numItemBlocks": 1}
CONFIG = {"feedback": "explicit", "dim": 2, "reg": 0.1, "reg_scaling": "count", "solver": "cholesky"}


def test_a_block_of_300_mb_goes_through(spark, monkeypatch):
    # 8 bytes an entry; in an ordinary fit, there would be more blocks.
    monkeypatch.setattr(als, "count_blocks", lambda asked, *sizes: asked)
    ids = f"int(id % {USERS}) as user", f"int(id div {USERS}) as item", "float(id % 7 % 5 + 1) as rating"
    frame = spark.range(USERS * ITEMS, numPartitions=8).selectExpr(*ids)
    found = problem.factors(ALS(**SETTINGS).fit(frame))

    at = np.arange(USERS * ITEMS)
    columns = (at % USERS).astype(np.int32), (at // USERS).astype(np.int32), (at % 7 % 5 + 1).astype(np.float32)
    expected = problem.on_one_machine(columns, CONFIG, 1)
    # Rows of 300,000 entries are summed in float32.
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) < 1e-4
