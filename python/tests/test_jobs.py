"""`burnrec jobs` as a client of Apache Livy drives it: PyPI's `livy`."""

from __future__ import annotations

import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest
import requests
from livy import LivyBatch, SessionState
from livy.client import LivyClient

PROGRAM = Path(sysconfig.get_path("scripts")) / "burnrec"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A job server in a folder with a config, and data to train on."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for command in [
        ["synth", "--users", "60", "--items", "40", "--rows", "1500", "--out", "raw"],
        ["prepare", "raw", "--out", "data"],
    ]:
        subprocess.run([PROGRAM, *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "als.toml").write_text('model = "als"\ndim = 4\n')
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    (tmp_path / "jobs.toml").write_text(
        f'dir = "jobs"\nroot = "."\n[http]\nlisten = "127.0.0.1:{port}"\ntoken = "secret"\n'
    )
    with subprocess.Popen([PROGRAM, "jobs", "jobs.toml"], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while True:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < end, "it does not listen"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.kill()


@pytest.fixture
def session():
    """What sends the requests, with the token."""
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer secret"
        yield session


def train(out: str, epochs: int) -> list[str]:
    """Return the arguments of a training of some epochs."""
    return ["als.toml", "--data", "data", "--out", out, "--set", f"epochs={epochs}"]


def test_a_batch_is_submitted_watched_and_ended(server, session, tmp_path):
    batch = LivyBatch.create(
        server, "train", args=train("run", 2), name="short", driver_memory="2g", requests_session=session
    )
    assert batch.wait() is SessionState.SUCCESS
    assert any("saved to run" in line for line in batch.log())
    assert (tmp_path / "run" / "manifest.json").is_file()
    assert len(batch.log(from_=0, size=1)) == 1

    slow = LivyBatch.create(server, "train", args=train("slow", 100_000), requests_session=session)
    client = LivyClient(server, requests_session=session)
    assert [found.batch_id for found in client.list_batches()] == [batch.batch_id, slow.batch_id]
    assert client.get_batch(slow.batch_id).state in (
        SessionState.NOT_STARTED,
        SessionState.STARTING,
        SessionState.RUNNING,
    )
    slow.kill()
    assert client.get_batch(slow.batch_id) is None
    assert [found.batch_id for found in client.list_batches()] == [batch.batch_id]


def test_what_is_wrong_is_an_error_of_the_client(server, session):
    with pytest.raises(requests.HTTPError, match="400"):
        LivyBatch.create(server, "rm", args=["-rf", "/"], requests_session=session)
    with pytest.raises(requests.HTTPError, match="401"):
        LivyBatch.create(server, "train", args=train("x", 1))
    failing = LivyBatch.create(
        server, "train", args=["als.toml", "--data", "nothing", "--out", "x"], requests_session=session
    )
    assert failing.wait() is SessionState.DEAD
    assert any("nothing" in line for line in failing.log())
