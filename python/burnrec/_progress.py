"""Progress of long work: on stderr, or to a callback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Progress(NamedTuple):
    """Where long work stands, as a callback is told.

    Attributes
    ----------
    what : str
        The current piece of work, such as ``entries of epoch 3 x 2``.
    done : int
        The steps of it that are done.
    total : int
        All its steps.
    note : str
        What else there is to say.
    epoch : dict or None
        The record of an epoch that has just ended, else None.
    """

    what: str
    done: int
    total: int
    note: str
    epoch: dict[str, Any] | None = None


def shows_bar() -> bool:
    """Return whether a bar can be drawn on stderr: on a terminal, and in a notebook, whose output shows it alike."""
    err = sys.stderr
    return err is not None and (err.isatty() or "ipykernel" in sys.modules)


class _Stderr:
    """Writes a line for each epoch and, where one can be drawn, a bar for the current piece of work."""

    def __init__(self) -> None:
        self.bar = 0

    def __call__(self, progress: Progress) -> None:
        out = sys.stderr
        if progress.epoch is not None:
            self.clear()
            print(_line(progress.epoch), file=out, flush=True)
        elif progress.total and shows_bar():
            share = min(progress.done / progress.total, 1.0)
            text = f"{progress.what}: {share:4.0%} {'#' * int(30 * share):30} {progress.note}"
            out.write("\r" + text.ljust(self.bar))
            out.flush()
            self.bar = len(text)

    def clear(self) -> None:
        """Take the bar away."""
        if self.bar:
            sys.stderr.write("\r" + " " * self.bar + "\r")
            sys.stderr.flush()
            self.bar = 0


def _line(epoch: dict[str, Any]) -> str:
    words = [f"{epoch.get('phase', '')} epoch {epoch['epoch']}".strip()]
    if epoch.get("loss") is not None:
        words.append(f"loss {epoch['loss']:.5f}")
    valid = epoch.get("valid") or {}
    words += [f"valid {name} {score['value']:.4f}" for name, score in valid.items() if name in ("ndcg@10", "rmse")]
    if "seconds" in epoch:
        words.append(f"{epoch['seconds']:.2f} s")
    return "  ".join(words)


ProgressOption = bool | Callable[[Progress], object]


def listener(progress: ProgressOption) -> Callable[[str, Any], None] | None:
    """Return what the native code calls.

    Parameters
    ----------
    progress : bool or callable
        True for stderr, False for nothing, or what is called with each `Progress`.
    """
    if progress is False or progress is None:
        return None
    if progress is not True and not callable(progress):
        raise TypeError(f"progress: found {progress!r}, expected True, False or a function of a Progress")
    tell: Callable[[Progress], object] = _Stderr() if progress is True else progress
    last = Progress("", 0, 0, "")

    def told(kind: str, payload: Any) -> None:
        nonlocal last
        if kind == "epoch":
            tell(last._replace(epoch=json.loads(payload)))
        else:
            last = Progress(*payload)
            tell(last)

    return told


def finish(listening: Callable[[str, Any], None] | None) -> None:
    """Take away the bar of a listener, if it has one."""
    for cell in getattr(listening, "__closure__", None) or ():
        if isinstance(cell.cell_contents, _Stderr):
            cell.cell_contents.clear()
