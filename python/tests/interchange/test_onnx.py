"""Graphs are checked by onnx and run by onnxruntime; their scores are those of the program."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from interchange.running import burnrec, recommended, scores

NETWORKS = [
    ("mf", "dim=8", "epochs=2"),
    ("mf", "dim=8", "epochs=2", "loss=mse", "negatives=0"),
    ("gmf", "dim=8", "epochs=2"),
    ("mlp", "dim=8", "epochs=2"),
    ("mlp", "dim=8", "epochs=2", "user_dim=20", "classes=2"),
    ("neumf", "dim=8", "epochs=2"),
]
FACTORS = [
    ("als", "dim=8", "epochs=3"),
    ("als", "dim=8", "epochs=3", "feedback=explicit", "biases=true"),
    ("mf", "dim=8", "epochs=2"),
]


def opened(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    ids = {name: [str(x) for x in json.loads(properties[f"burnrec.{name}"])] for name in ("users", "items")}
    return session, ids["users"], ids["items"]


@pytest.mark.parametrize("config", NETWORKS + FACTORS, ids="-".join)
def test_scores_of_pairs_are_those_of_the_program(runs, tmp_path, config):
    run, path = runs.train(*config), tmp_path / "model.onnx"
    burnrec("export", run, "--format", "onnx", "--out", path)
    session, users, items = opened(path)
    random = np.random.default_rng(1)
    user, item = random.integers(len(users), size=2000), random.integers(len(items), size=2000)
    logit, score = session.run(["logit", "score"], {"user": user, "item": item})
    expected = scores(run, [(users[u], items[i]) for u, i in zip(user, item, strict=True)], tmp_path)
    np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-5)
    assert logit.shape == (2000,) and np.isfinite(logit).all()


@pytest.mark.parametrize("config", FACTORS, ids="-".join)
def test_the_best_items_are_those_of_the_program(runs, tmp_path, config):
    run, path = runs.train(*config), tmp_path / "model.onnx"
    burnrec("export", run, "--format", "onnx", "--graph", "topk", "--out", path)
    session, users, items = opened(path)
    asked = {"user": np.arange(len(users)), "k": np.array([10])}
    item, score = session.run(["item", "score"], asked)
    expected = recommended(run, 10, tmp_path, "--include-seen")
    assert set(expected) == set(users)
    same = total = 0
    for at, user in enumerate(users):
        np.testing.assert_allclose(score[at], [score for _, score in expected[user]], rtol=1e-5, atol=1e-5)
        same += sum(items[found] == id for found, (id, _) in zip(item[at], expected[user], strict=True))
        total += 10
    assert same >= 0.999 * total, "items change places only where scores tie within a rounding"


def test_a_model_without_factors_has_no_list(runs, tmp_path):
    run = runs.train("neumf", "dim=8", "epochs=2")
    ran = burnrec("export", run, "--format", "onnx", "--graph", "topk", "--out", tmp_path / "x.onnx", ok=False)
    assert ran.returncode == 1 and "neumf has no factors to export" in ran.stderr
