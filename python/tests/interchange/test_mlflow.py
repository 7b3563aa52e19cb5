"""Runs on a tracking server that MLflow itself serves, and run directories that mlflow.pyfunc opens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import mlflow
import pandas as pd
import pytest

from interchange.running import CONFIGS, PROGRAM, burnrec, recommended


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    line = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    line += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    log = (folder / "log").open("w")
    process = subprocess.Popen(line, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
    yield address
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.fixture(scope="session")
def client(server):
    return mlflow.MlflowClient(tracking_uri=server)


def runs_of(client, experiment: str) -> list:
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])


def test_a_training_is_there_with_its_epochs(runs, server, client, tmp_path):
    out = tmp_path / "run"
    words = ["--data", runs.data, "--out", out, "--set", "dim=8", "--set", "epochs=3", "--device", "cpu", "--json"]
    words += ["--mlflow", server, "--experiment", "trained"]
    ran = burnrec("train", CONFIGS / "mf.toml", *words)
    record = json.loads(ran.stdout)
    [run] = runs_of(client, "trained")
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time
    assert run.data.params["dim"] == "8" and run.data.params["model"] == "mf"
    assert run.data.tags["burnrec.dir"] == str(out) and run.data.tags["burnrec.synthetic"] == "true"
    assert run.data.metrics["test/ndcg_at_10"] == record["metrics"]["test"]["ndcg@10"]["value"]
    assert run.data.metrics["valid/hr_at_10"] == record["metrics"]["valid"]["hr@10"]["value"]
    history = client.get_metric_history(run.info.run_id, "epoch/loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert history[0].value > history[-1].value


def test_a_search_and_a_bench_are_runs_with_runs_in_them(runs, server, client, tmp_path):
    config = tmp_path / "tune.toml"
    config.write_text("model = 'als'\nepochs = 2\n[search.space]\ndim = [2, 4, 8]\n")
    tracked = ["--mlflow", server, "--experiment"]
    burnrec("tune", config, "--data", runs.data, "--out", tmp_path / "tuned", *tracked, "tuned")
    parent, *trials = runs_of(client, "tuned")
    assert len(trials) == 3 and {trial.data.params["dim"] for trial in trials} == {"2", "4", "8"}
    assert all(trial.data.tags["mlflow.parentRunId"] == parent.info.run_id for trial in trials)
    best = max(trial.data.metrics["valid/ndcg_at_10"] for trial in trials)
    assert parent.data.metrics["valid/ndcg_at_10"] == best
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}

    bench = tmp_path / "bench.toml"
    bench.write_text((CONFIGS / "demo.toml").read_text())
    for config in CONFIGS.glob("*.toml"):
        (tmp_path / config.name).exists() or (tmp_path / config.name).write_text(config.read_text())
    words = ["--data", runs.folder / "raw", "--out", tmp_path / "bench", "--seeds", 1, "--no-tune", "--device", "cpu"]
    burnrec("bench", bench, *words, *tracked, "bench")
    parent, *cases = runs_of(client, "bench")
    assert len(cases) > 2 and {run.info.status for run in [parent, *cases]} == {"FINISHED"}
    assert {case.data.tags["burnrec.case"] for case in cases} >= {"als", "popularity"}
    assert all("test/ndcg_at_10" in case.data.metrics for case in cases)


def test_a_server_that_is_not_there_ends_the_command_before_it_trains(runs, tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    words = ["--data", runs.data, "--out", tmp_path / "run", "--mlflow", address]
    ran = burnrec("train", CONFIGS / "als.toml", *words, ok=False, MLFLOW_TRACKING_TOKEN="secret")
    assert ran.returncode == 1
    assert f"error: {address}: found no answer" in ran.stderr and "MLflow tracking server" in ran.stderr
    assert "secret" not in ran.stderr and not (tmp_path / "run").exists()


def test_a_server_that_goes_away_loses_no_model(runs, tmp_path):
    # This server lets the run begin, and is closed then.
    from http.server import BaseHTTPRequestHandler, HTTPServer

    calls = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            calls.append((self.path, self.headers.get("Authorization")))
            body = b'{"experiment": {"experiment_id": "1"}, "run": {"info": {"run_id": "1"}}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    address, out = f"http://127.0.0.1:{serving.server_port}", tmp_path / "run"
    line = [PROGRAM, "train", CONFIGS / "als.toml", "--data", runs.data, "--out", out, "--set", "epochs=2"]
    line += ["--mlflow", address]
    environment = {**os.environ, "MLFLOW_TRACKING_TOKEN": "secret"}
    process = subprocess.Popen(
        map(str, line), env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not any(path.endswith("runs/log-batch") for path, _ in calls):
        serving.handle_request()
    serving.server_close()
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 0, stderr
    assert "warning: not all of it is on the tracking server" in stderr
    assert {bearer for _, bearer in calls} == {"Bearer secret"}
    assert recommended(out, 3, tmp_path)


def test_a_failure_and_a_signal_are_its_status(runs, server, client, tmp_path):
    words = ["--data", runs.data, "--mlflow", server, "--experiment", "ends", "--device", "cpu"]
    diverges = ["--set", "learning_rate=1e30", "--set", "optimizer=sgd", "--set", "epochs=3"]
    ran = burnrec("train", CONFIGS / "mf.toml", "--out", tmp_path / "a", *words, *diverges, ok=False)
    assert ran.returncode == 1, ran.stderr
    line = [PROGRAM, "train", CONFIGS / "mf.toml", "--out", tmp_path / "b", *words, "--set", "epochs=100000"]
    process = subprocess.Popen(map(str, line), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while "epoch 1/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert [run.info.status for run in runs_of(client, "ends")] == ["FAILED", "KILLED"]


def test_a_run_opens_as_a_model_of_mlflow(runs, tmp_path):
    run = runs.train("mf", "dim=8", "epochs=2")
    burnrec("export", run, "--format", "mlflow", "--out", tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    expected = recommended(run, 4, tmp_path)
    users = [int(user) for user in list(expected)[:3]]
    lists = model.predict(pd.DataFrame({"user": users}, index=[5, 6, 7]), params={"k": 4})
    assert list(lists.index) == [5, 6, 7]
    for user, row in zip(users, lists.itertuples(), strict=True):
        assert [str(item) for item in row.items] == [item for item, _ in expected[str(user)]]
    items = [int(expected[str(user)][0][0]) for user in users]
    found = model.predict(pd.DataFrame({"user": users, "item": items}))
    assert found.tolist() == pytest.approx([expected[str(user)][0][1] for user in users], abs=1e-6)
    with pytest.raises(mlflow.exceptions.MlflowException, match="user"):
        model.predict(pd.DataFrame({"item": items}))
