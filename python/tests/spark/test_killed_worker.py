"""A Python worker that is killed in mid-run, as the kernel does where memory ends: with SIGKILL, while it computes."""

import os
import signal
import threading
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError

from burnrec.spark import ALS, recommend, scoring, sweeps
from spark import problem

SETTINGS = {"rank": 8, "maxIter": 2, "seed": problem.SEED, "numUserBlocks": 2, "numItemBlocks": 2, "solver": "cg"}


class Killer:
    """Kills the first worker that calls `threads`, which workers do for what they compute in native code.

    That worker tells its process id by a pipe and waits there for its end; the others, and the next attempt, go on.
    """

    def __init__(self, folder):
        self.pipe, self.killed = folder / "pid", []
        os.mkfifo(self.pipe)
        pipe, taken = str(self.pipe), str(folder / "taken")

        # A function within a function goes to the workers as it is.
        def threads():
            try:
                os.close(os.open(taken, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return 1
            with open(pipe, "w") as out:
                out.write(str(os.getpid()))
            signal.alarm(300)  # ends a test that hangs
            signal.pause()
            return 1

        self.threads = threads
        self.waiting = threading.Thread(target=self._kill, daemon=True)
        self.waiting.start()

    def _kill(self):
        worker = int(self.pipe.read_text())
        parent = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
        self.killed.append(Path(f"/proc/{parent}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)

    def check(self):
        """Checks that one worker was killed, and that it was one of PySpark's."""
        self.waiting.join(10)
        assert len(self.killed) == 1 and b"pyspark.daemon" in self.killed[0]


def bits(model):
    return [side.tobytes() for side in problem.factors(model)]


def test_a_fit_goes_on_with_the_same_bits(ratings, tmp_path, monkeypatch):
    expected = bits(ALS(**SETTINGS).fit(ratings))
    killer, gram_of, calls = Killer(tmp_path), sweeps.gram_of, []

    def from_the_second_sweep_on(*args):
        calls.append(args)
        if len(calls) == 4:
            monkeypatch.setattr(sweeps, "threads", killer.threads)
        return gram_of(*args)

    monkeypatch.setattr(sweeps, "gram_of", from_the_second_sweep_on)
    found = bits(ALS(**SETTINGS).fit(ratings))
    killer.check()
    assert found == expected


def test_scoring_goes_on_with_the_same_lists(ratings, run, tmp_path, monkeypatch):
    users = ratings.select("user").distinct().repartition(3)
    expected = sorted(recommend(users, run, 5).collect())
    killer = Killer(tmp_path)
    monkeypatch.setattr(scoring, "threads", killer.threads)
    found = sorted(recommend(users, run, 5).collect())
    killer.check()
    assert len(found) == problem.USERS and found == expected


def test_one_that_is_killed_at_every_attempt_ends_the_work_and_is_named(spark, ratings, run, monkeypatch):
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    def kept():
        return set(spark.sparkContext._jsc.getPersistentRDDs().keySet())

    before, message = kept(), "failed 4 times.*Python worker exited unexpectedly"
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "threads", killed)
        with pytest.raises(Py4JJavaError, match=message):
            ALS(**SETTINGS).fit(ratings)
    assert kept() <= before
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "threads", killed)
        with pytest.raises(Py4JJavaError, match=message):
            recommend(ratings, run, 5).collect()
    # The session goes on.
    assert recommend(ratings.select("user").distinct(), run, 5).count() == problem.USERS
