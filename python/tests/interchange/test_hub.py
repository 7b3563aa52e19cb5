"""Runs as folders of the Hugging Face Hub: its own library reads the card, safetensors the weights."""

from __future__ import annotations

import json
import re

import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open

from interchange.running import CONFIGS, alike, burnrec, recommended


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


def test_the_page_names_the_arrays_of_every_model(runs, tmp_path):
    page = (CONFIGS.parent / "docs/interchange.md").read_text()
    rows = re.findall(
        r"^\| ((?:`[a-z0-9]+`(?:, )?)+) \| (.*) \|$", page[page.index("arrays of `weights`") :], re.MULTILINE
    )
    named = {model: cell for models, cell in rows for model in re.findall(r"`([a-z0-9]+)`", models)}
    named["neumf"] = named["gmf"] + named["mlp"]
    short = ("epochs=1",)
    networks = [(name, *short) for name in ("mf", "gmf", "mlp", "neumf", "sasrec")]
    plain = [(name, "keep_chosen=true") for name in ("popularity", "ease", "slim", "knn", "rp3beta", "transition")]
    explicit = ("als", *short, "dim=4", "feedback=explicit", "biases=true")
    trained = [
        runs.train(*words)
        for words in [explicit, ("bpmf", "dim=3", "epochs=4", "samples=2", "burn_in=2"), *networks, *plain]
    ]
    blend = tmp_path / "blend"
    settings = [f"parts={json.dumps([str(run) for run in trained[-2:]])}", "weights=[1.0, 1.0]"]
    words = [word for setting in settings for word in ("--set", setting)]
    burnrec("train", CONFIGS / "blend.toml", "--data", runs.data, "--out", blend, *words)
    for run in [*trained, blend]:
        [weights] = run.glob("weights-*.safetensors")
        with safe_open(weights, "np") as file:
            model, arrays = file.metadata()["model"], set(file.keys())
        # A sparse matrix is named by its name, and the layers of a tower by the first.
        arrays = {
            re.sub(r"\.(n_cols|offsets|cols|values|ages|times)$", "", name)
            for name in arrays
            if name not in ("recent.offsets", "seen.offsets")
        }
        arrays = {re.sub(r"^tower_[0-9]+_", "tower_0_", name) for name in arrays}
        missing = [name for name in arrays if f"`{name}`" not in named[model]]
        assert not missing, f"{model}: {missing}"
