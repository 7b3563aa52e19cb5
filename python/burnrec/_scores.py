"""The metrics of a model on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Scores(Mapping[str, float]):
    """The metrics of a model on held-out rows, by name: ``scores["ndcg@10"]``.

    Attributes
    ----------
    protocol : str
        What held-out items were ranked against.
    users : int
        How many users were judged.
    """

    __slots__ = ("_metrics", "protocol", "users")

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.protocol: str = record["protocol"]
        self.users: int = record["users"]
        self._metrics = {name: score for name, score in record.items() if isinstance(score, Mapping)}

    def __getitem__(self, metric: str) -> float:
        return float(self._metrics[metric]["value"])

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the 95 % bootstrap interval of a metric, where there is one.

        Parameters
        ----------
        metric : str
            Its name.
        """
        score = self._metrics[metric]
        return (score["low"], score["high"]) if "low" in score and "high" in score else None

    def _shown(self) -> list[tuple[str, str]]:
        def shown(metric: str) -> str:
            interval = self.interval(metric)
            return f"{self[metric]:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")

        return [(metric, shown(metric)) for metric in self]

    def __repr__(self) -> str:
        width = max((len(metric) for metric in self), default=0)
        lines = [f"{metric:{width}}  {shown}" for metric, shown in self._shown()]
        return "\n".join([f"<Scores of {self.users:,} users, {self.protocol}>", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{metric}</td><td>{shown}</td></tr>" for metric, shown in self._shown())
        return f"<table><caption>{self.users:,} users, {self.protocol}</caption>{rows}</table>"
