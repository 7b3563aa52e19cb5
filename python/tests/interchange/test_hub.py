"""Runs as folders of the Hugging Face Hub: its own library reads the card, safetensors the weights."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open

from interchange.running import alike, burnrec, recommended


def test_the_card_has_the_scores_and_the_folder_is_a_run(runs, tmp_path):
    run, hub = runs.train("als", "dim=8", "epochs=3"), tmp_path / "hub"
    ran = burnrec("export", run, "--format", "hub", "--out", hub)
    assert "histories" in ran.stderr
    card = ModelCard.load(hub / "README.md")
    assert card.data.library_name == "burnrec" and "recommendation" in card.data.tags
    record = json.loads((run / "manifest.json").read_text())["record"]
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in card.data.eval_results}
    for split, holdout in [("test", "test"), ("validation", "valid")]:
        expected = record["metrics"][holdout]
        assert found[split, "ndcg@10"] == pytest.approx(expected["ndcg@10"]["value"], abs=1e-12)
    assert {r.task_type for r in card.data.eval_results} == {"recommendation"}
    alike(recommended(run, 5, tmp_path), recommended(hub, 5, tmp_path))


def test_weights_say_what_they_are(runs):
    run = runs.train("als", "dim=8", "epochs=3")
    manifest = json.loads((run / "manifest.json").read_text())
    [weights] = run.glob("weights-*.safetensors")
    with safe_open(weights, "np") as file:
        assert file.metadata() == {"format": "burnrec-run-1", "model": "als", "holds": "weights"}
        assert file.get_slice("user_factors").get_shape() == [manifest["n_users"], 8]
        assert file.get_tensor("item_factors").dtype == "float32"
