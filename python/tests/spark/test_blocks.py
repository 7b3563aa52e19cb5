"""How ids are spread over blocks, and arrays over cells."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from burnrec.spark import blocks, cells, model


def test_each_block_has_a_partition_of_its_own(spark):
    for n in (1, 3, 10, 64):
        keys = spark.createDataFrame([(key,) for key in blocks.block_keys(n)], "key int")
        places = keys.repartition(n, "key").select(F.spark_partition_id().alias("place")).collect()
        assert sorted(row["place"] for row in places) == list(range(n))


def test_blocks_are_as_many_as_asked_but_where_they_would_be_too_large():
    assert blocks.count_blocks(10, 1_000_000, 5_000, 64) == 10
    # A billion entries of 8 bytes, in blocks of at most 100 MiB.
    assert blocks.count_blocks(10, 10**9, 5_000, 64) == 77
    # Ten million other ids of 256 bytes are more than a block may get.
    assert blocks.count_blocks(10, 10**9, 10**7, 64) == 477


@pytest.mark.parametrize("cell_bytes", [8, 64, 1 << 20])
def test_arrays_come_back_from_their_cells(monkeypatch, cell_bytes):
    monkeypatch.setattr(cells, "CELL_BYTES", cell_bytes)
    ids, empty = np.arange(100, dtype=np.int32), np.zeros(0, np.float32)
    table = cells.pack([(1, "ids", 4, ids), (2, "message", 0, bytearray(b"0123456789")), (1, "x", 4, empty)])
    # In any order, as a shuffle brings them.
    found = cells.unpack(table.take(np.random.default_rng(1).permutation(table.num_rows)))
    assert (np.frombuffer(found["ids", 4], np.int32) == ids).all()
    assert found["message", 0] == b"0123456789" and found["x", 4] == b""
    assert max(len(cell.as_py()) for cell in table["data"]) <= cell_bytes


def test_the_scores_of_large_blocks_take_little_memory():
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, 2)).astype(np.float32) for n in (600, model.ITEMS))
    columns = [[np.arange(600)], [users.tobytes()], [np.arange(model.ITEMS)], [items.tobytes()]]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names=["ids", "x", "others", "y"])
    tracemalloc.start()
    found = pa.Table.from_batches(model._top(3)([batch])).sort_by([("row", "ascending"), ("score", "descending")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The scores, and the places of 64 bits that numpy sorts.
    assert peak < 4 * 4 * model.SCORES
    best = np.argsort(-(users @ items.T), axis=1)[:, :3]
    assert found["other"].to_pylist() == best.reshape(-1).tolist()
    assert found["id"].to_pylist() == np.repeat(np.arange(600), 3).tolist() == found["row"].to_pylist()
    assert set(found["block"].to_pylist()) == {0}
