"""Long work: what it tells, what stops it, and what runs meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import polars
import pyarrow
import pytest
import scipy.sparse
from conftest import as_csr

import burnrec
import burnrec.implicit
from burnrec._progress import finish, listener

SETTINGS = {"dim": 8, "epochs": 4}


def test_progress_goes_to_a_callback_or_to_stderr(tmp_path, ratings, capfd):
    frame = polars.DataFrame(ratings)
    for out in (None, tmp_path / "run"):
        told = []
        burnrec.fit(frame, out=out, progress=told.append, **SETTINGS)
        epochs = [progress.epoch for progress in told if progress.epoch is not None]
        assert [epoch["epoch"] for epoch in epochs if epoch["phase"] == "choose"] == [1, 2, 3, 4]
        assert all(epoch["valid"]["ndcg@10"]["value"] >= 0 for epoch in epochs if epoch["phase"] == "choose")
    assert capfd.readouterr().err == ""
    burnrec.fit(frame, progress=True, **SETTINGS)
    told = capfd.readouterr().err
    assert "choose epoch 4" in told and "\r" not in told


def test_a_notebook_has_the_bars_of_a_terminal(ratings, capfd, monkeypatch):
    implicit = burnrec.implicit.AlternatingLeastSquares(factors=4, iterations=2)
    matrix = as_csr(ratings["user"], ratings["item"])
    for shown in (False, True):
        if shown:
            monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
        implicit.fit(matrix)
        assert ("\r2/2 [####" in capfd.readouterr().err) == shown
        # As the native code tells of work that takes longer than this fit.
        listening = listener(True)
        listening("progress", ("entries", 1, 2, ""))
        finish(listening)
        assert ("\rentries:  50% ####" in capfd.readouterr().err) == shown


def test_what_a_callback_raises_stops_the_training(ratings):
    class Stop(Exception):
        pass

    def stop(_):
        raise Stop

    with pytest.raises(Stop):
        burnrec.fit(polars.DataFrame(ratings), progress=stop, dim=64, epochs=100_000)


def press_ctrl_c_after(event: threading.Event) -> threading.Thread:
    def press():
        event.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_ctrl_c_stops_the_training(ratings):
    frame = polars.DataFrame(ratings)
    begun = threading.Event()

    thread = press_ctrl_c_after(begun)
    with pytest.raises(KeyboardInterrupt):
        burnrec.fit(frame, dim=256, epochs=100_000, progress=lambda _: begun.set())
        # Whoever pressed the keys between two calls still sees it.
        thread.join()
    thread.join()
    assert burnrec.fit(frame, **SETTINGS).recommend(1010, 1), "the next training is not stopped"


def test_ctrl_c_stops_the_best_items_of_many_users():
    code = (
        "import numpy as np, scipy.sparse, burnrec.implicit\n"
        "model = burnrec.implicit.AlternatingLeastSquares(factors=4, iterations=1)\n"
        "model.fit(scipy.sparse.random(9, 100_000, 0.01, 'csr', np.float32), show_progress=False)\n"
        "users = np.zeros(5_000_000, np.int32)\n"
        "print('begun', flush=True)\n"
        "model.recommend(users, None, N=1, filter_already_liked_items=False)\n"
    )
    words = [sys.executable, "-c", code]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert child.stdout.readline() == "begun\n"
        # The users' vectors are gathered in less than a second of processor time; listing all of them takes minutes.
        begun = processor_seconds(child.pid)
        while processor_seconds(child.pid) < begun + 3:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        told = child.communicate(timeout=60)[1]
    finally:
        child.kill()
    assert told.endswith("KeyboardInterrupt\n"), told


def test_ctrl_c_stops_the_reading_of_a_frame():
    schema = pyarrow.schema([("user", pyarrow.int64()), ("item", pyarrow.int64())])
    asked = threading.Event()

    def endless():
        while True:
            asked.set()
            time.sleep(0.01)
            yield pyarrow.record_batch([[1, 2, 3], [3, 2, 1]], schema)

    thread = press_ctrl_c_after(asked)
    with pytest.raises(KeyboardInterrupt):
        burnrec.prepare(pyarrow.RecordBatchReader.from_batches(schema, endless()))
        thread.join()
    thread.join()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_other_threads_run_meanwhile(ratings):
    begun, answered = threading.Event(), threading.Event()

    def answer():
        begun.wait(60)
        answered.set()

    thread = threading.Thread(target=answer)
    thread.start()

    def tell(_):
        begun.set()
        if answered.is_set():
            raise StopIteration

    with pytest.raises(StopIteration):
        burnrec.fit(polars.DataFrame(ratings), dim=256, epochs=100_000, progress=tell)
    thread.join()


def test_other_threads_run_while_no_python_does():
    # Nothing of Python is called back meanwhile, where another thread could run in any case.
    model = burnrec.implicit.AlternatingLeastSquares(factors=4, iterations=1)
    model.fit(scipy.sparse.random(9, 100_000, 0.01, "csr", np.float32), show_progress=False)
    users, begun, seen = np.zeros(50_000, np.int32), threading.Event(), []

    def look():
        begun.wait(60)
        before = time.process_time()
        while time.process_time() < before + 0.2:
            pass
        seen.append(time.process_time())

    thread = threading.Thread(target=look)
    thread.start()
    before = time.process_time()
    begun.set()
    model.recommend(users, None, N=1, filter_already_liked_items=False)
    took = time.process_time() - before
    thread.join()
    assert seen[0] - before < took / 2, "the other thread went on before the lists were there"


def test_a_child_that_was_forked_computes_too():
    code = (
        "import os, sys, numpy, polars, burnrec\n"
        "r = numpy.random.default_rng(1)\n"
        "f = {'user': r.integers(30, size=400), 'item': r.integers(20, size=400)}\n"
        "p = burnrec.prepare(polars.DataFrame(f))\n"
        "a = burnrec.fit(p, dim=4, epochs=2).recommend(3, 3)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if burnrec.fit(p, dim=4, epochs=2).recommend(3, 3) == a else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
