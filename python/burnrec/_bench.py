"""The bench of many models on the same splits."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from burnrec import _native
from burnrec._data import Frame, stream_of


class BenchReport:
    """What a bench found. In a notebook it shows its page.

    Attributes
    ----------
    path : Path
        The directory of the bench: splits, runs, records and the report.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.html_path.exists():
            raise FileNotFoundError(f"{self.html_path}: found no report, expected that of a finished bench")

    @property
    def html_path(self) -> Path:
        """Where the page lies."""
        return self.path / "report.html"

    @property
    def data(self) -> dict[str, Any]:
        """All that the report shows, as data."""
        data: dict[str, Any] = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
        return data

    @property
    def text(self) -> str:
        """The report as Markdown."""
        return (self.path / "report.md").read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return f"<BenchReport {str(self.html_path)!r}>"

    def _repr_html_(self) -> str:
        # In a frame of its own, so that neither page's styles reach the other.
        page = html.escape(self.html_path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 0"></iframe>'


def bench(
    frame: Frame | str | os.PathLike[str],
    config: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    user: str | None = None,
    item: str | None = None,
    value: str | None = None,
    time: str | None = None,
    quick: bool = False,
    seeds: int | None = None,
    tune: bool = True,
    peers: bool = False,
    device: str = "auto",
    replace: bool = False,
    progress: bool = False,
) -> BenchReport:
    """Train the models of a bench on the same splits, judge them side by side, and write the report.

    Each case runs in a process of its own, by the program ``burnrec bench``. A bench that was stopped goes on where it was.

    Parameters
    ----------
    frame : frame or path
        The ratings: anything with ``__arrow_c_stream__``, or a ratings file.
    config : path, optional
        The config of the bench; by default that of ``burnrec demo``, with seven models.
    out : path
        The directory of the bench.
    user, item, value, time : str, optional
        The names of the columns of a frame.
    quick : bool
        Whether to take the first seed alone with what the config calls quick, and no search of settings.
    seeds : int, optional
        How many of the config's seeds.
    tune : bool
        Whether settings are searched, where the config says so.
    peers : bool
        Whether other programs are run too: implicit, Spark, PyTorch.
    device : str
        Where networks train.
    replace : bool
        Whether a bench that is there already is begun anew.
    progress : bool
        Whether the program may write to stderr.

    Returns
    -------
    BenchReport

    Raises
    ------
    ValueError
        When the bench fails; the message is the program's.
    TypeError
        When `frame` is neither a frame nor a path.
    KeyboardInterrupt
        When Ctrl-C stops it; the cases that are done are kept.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(frame, (str, os.PathLike)):
            data = Path(frame)
        else:
            data = Path(folder) / "frame.parquet"
            columns = {"user": user, "item": item, "value": value, "time": time}
            _native.write_ratings(stream_of(frame), str(data), **columns)
        if config is None:
            for name, text in _native.demo_configs():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            config = Path(folder) / _native.demo_configs()[0][0]
        words = [sys.executable, "-m", "burnrec", "bench", os.fspath(config)]
        words += ["--data", str(data), "--out", os.fspath(out), "--device", device]
        words += ["--quick"] * quick + ["--no-tune"] * (not tune) + ["--peers"] * peers + ["--force"] * replace
        words += [] if seeds is None else ["--seeds", str(seeds)]
        errors = None if progress else subprocess.PIPE
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=errors, text=True, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode != 0:
        told = (done.stderr or "").strip().splitlines()
        raise ValueError(told[-1].removeprefix("error: ") if told else f"the bench ended with {done.returncode}")
    return BenchReport(out)
