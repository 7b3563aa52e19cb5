"""Runs the program as a user does, on ratings that it draws itself."""

from __future__ import annotations

import csv
import os
import subprocess
import sysconfig
from pathlib import Path

CONFIGS = Path(__file__).parents[3] / "configs"
PROGRAM = Path(sysconfig.get_path("scripts")) / "burnrec"


def burnrec(*words, ok: bool = True, **environment) -> subprocess.CompletedProcess:
    """Runs the program; with ``ok`` the test fails unless it succeeds."""
    line = [PROGRAM, *map(str, words)]
    ran = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600)
    if ok:
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
    return ran


class Runs:
    """Trains models on one split, each once."""

    def __init__(self, folder: Path):
        self.folder = folder
        burnrec("synth", "--users", 300, "--items", 120, "--rows", 9000, "--seed", 7, "--out", folder / "raw")
        burnrec("prepare", folder / "raw", "--out", folder / "data")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def train(self, config: str, *settings: str) -> Path:
        """Returns the directory of a run of ``configs/CONFIG.toml``."""
        out = self.folder / "-".join([config, *settings]).replace("=", "").replace("'", "")
        if not out.exists():
            words = ["train", CONFIGS / f"{config}.toml", "--data", self.data, "--out", out, "--device", "cpu"]
            burnrec(*words, *(word for setting in settings for word in ("--set", setting)))
        return out


def scores(run: Path, pairs: list[tuple[str, str]], folder: Path) -> list[float]:
    """Returns what ``burnrec score`` gives pairs of a user and an item."""
    asked, scored = folder / "pairs.csv", folder / "scores.csv"
    with asked.open("w", newline="") as file:
        csv.writer(file).writerows([("user", "item"), *pairs])
    burnrec("score", run, "--pairs", asked, "--out", scored, "--device", "cpu")
    with scored.open(newline="") as file:
        return [float(row[2]) for row in list(csv.reader(file))[1:]]


def recommended(run: Path, k: int, folder: Path, *words) -> dict[str, list[tuple[str, float]]]:
    """Returns what ``burnrec recommend --all`` gives, as items with scores by user."""
    out = folder / "recommended.csv"
    burnrec("recommend", run, "--all", "-k", k, "--out", out, "--device", "cpu", *words)
    lists: dict[str, list[tuple[str, float]]] = {}
    with out.open(newline="") as file:
        for user, _, item, score in list(csv.reader(file))[1:]:
            lists.setdefault(user, []).append((item, float(score)))
    return lists


def alike(ours: dict, theirs: dict, tolerance: float = 1e-5) -> None:
    """Checks that two sets of lists have the same users, scores and, but where scores tie, items."""
    assert ours.keys() == theirs.keys()
    for user, expected in ours.items():
        found = theirs[user]
        assert len(found) == len(expected), user
        for (item, score), (same, other) in zip(expected, found, strict=True):
            assert abs(score - other) <= tolerance * max(1.0, abs(score)), (user, item, score, same, other)
        cut = expected[-1][1] + tolerance * max(1.0, abs(expected[-1][1]))
        assert {item for item, score in expected if score > cut} <= {item for item, _ in found}, user
