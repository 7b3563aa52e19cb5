"""The bench of many models on the same splits."""

from __future__ import annotations

import contextlib
import html
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

from burnrec import _native
from burnrec._data import Frame, stream_of

#: How long a bench that is asked to stop may take to do so.
_STOP_SECONDS = 60


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
        Whether what the program writes to stderr is shown there.

    Returns
    -------
    BenchReport

    Raises
    ------
    FileNotFoundError, PermissionError
        When the ratings file or the config is not there, or cannot be read.
    ValueError
        When the bench fails otherwise; the messages are the program's.
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
        code, told = _run(words, progress)
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code != 0:
            text = told.removeprefix("error: ") or f"the bench ended with {code}"
            raise _kind_of_failure(data, Path(config))(text)
    return BenchReport(out)


def _run(words: list[str], shows: bool) -> tuple[int, str]:
    """Run the program, and return its exit code and the last line that it wrote to stderr.

    Raises
    ------
    KeyboardInterrupt
        When Ctrl-C is pressed; the program has ended by then.
    """
    # In a session of its own, so that Ctrl-C at a terminal reaches it once, from here: a second one ends it without a clean stop.
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=1)

    def read() -> None:
        for line in child.stderr or ():
            if line.strip():
                last.append(line.strip())
            if shows and sys.stderr is not None:
                # What cannot be shown is read all the same, as the program waits for it.
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.write(line)
                    sys.stderr.flush()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        # In short waits: polars, once imported, lets a signal restart the system call that it interrupts, so that a long one
        # would go on after Ctrl-C.
        while child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.2)
    except BaseException:
        _stop(child)
        raise
    finally:
        # A process of a case may outlive a program that was killed, for the moment in which it notices.
        reader.join(timeout=10)
    return child.returncode, "".join(last)


def _stop(child: subprocess.Popen[str]) -> None:
    """Ask the program to stop, and end it where it does not, or where Ctrl-C is pressed once more."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(timeout=_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


def _kind_of_failure(*paths: Path) -> type[Exception]:
    """Return the kind of exception of a bench that failed: that of the first path that cannot be opened, else ValueError."""
    for path in paths:
        try:
            # Without waiting for a writer, where it is a pipe.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            return type(error)
    return ValueError
