"""What a task of an engine may use."""

from __future__ import annotations

__all__ = ["threads"]


def threads() -> int:
    """Returns how many threads a task may use: ``spark.task.cpus``; on another engine one."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.cpus() if context is not None else 1
