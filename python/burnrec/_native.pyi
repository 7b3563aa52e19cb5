"""What is written in Rust. The package's own modules call it; it has no promise of its own."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

__version__: str

# The functions of `burnrec.spark`, in `python/src/spark.rs`.
spark: Any

_Id = int | str
_Item = tuple[_Id, float, str | None]
_Listener = Callable[[str, Any], object] | None
_Floats = npt.NDArray[np.float32]
_Ints = npt.NDArray[np.int32]
_Longs = npt.NDArray[np.int64]

def main(program: Sequence[str], words: Sequence[str]) -> int: ...
def check_settings(settings: str) -> str: ...
def model_names() -> list[str]: ...
def train(
    data: Prepared,
    settings: str,
    *,
    out: str | PathLike[str] | None,
    replace: bool,
    device: str,
    threads: int,
    listener: _Listener,
) -> Recommender: ...
def write_ratings(
    stream: object,
    path: str | PathLike[str],
    *,
    user: str | None,
    item: str | None,
    value: str | None,
    time: str | None,
) -> None: ...
def demo_configs() -> list[tuple[str, str]]: ...
def als_solve(
    matrix: Matrix,
    fixed: _Floats,
    out: _Floats,
    *,
    reg: float,
    alpha: float,
    cg_steps: int | None,
    share: float = 0.0,
    threads: int = 0,
) -> None: ...
def als_loss(
    matrix: Matrix, users: _Floats, items: _Floats, *, reg: float, alpha: float, threads: int = 0
) -> float: ...
def top_k(
    users: _Floats,
    items: _Floats,
    ids: _Ints,
    scores: _Floats,
    *,
    exclude: Matrix | None = None,
    only: _Longs | None = None,
    without: _Longs | None = None,
    factors: _Floats | None = None,
    threads: int = 0,
) -> None: ...
def nearest(
    matrix: Matrix,
    similarity: Literal["cosine", "tfidf", "bm25"] | None,
    k: int,
    *,
    k1: float = 1.2,
    b: float = 0.75,
    threads: int = 0,
    listener: _Listener = None,
) -> Matrix: ...
def bpr(
    matrix: Matrix,
    *,
    factors: int,
    learning_rate: float,
    reg: float,
    epochs: int,
    seed: int,
    threads: int = 0,
    listener: _Listener = None,
) -> tuple[bytearray, bytearray]: ...

@final
class Matrix:
    def __new__(
        cls,
        indptr: npt.NDArray[Any],
        indices: npt.NDArray[Any],
        data: _Floats,
        shape: tuple[int, int] | list[int],
    ) -> Matrix: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...
    def check_finite(self) -> None: ...
    def transpose(self) -> Matrix: ...
    def write(self, indptr: _Ints, indices: _Ints, data: _Floats) -> None: ...

@final
class Neighbours:
    def __new__(cls, similarity: Matrix) -> Neighbours: ...
    def recommend(
        self,
        histories: Matrix,
        ids: _Ints,
        scores: _Floats,
        *,
        unseen: bool,
        only: _Longs | None = None,
        without: _Longs | None = None,
        threads: int = 0,
    ) -> None: ...

@final
class Prepared:
    @staticmethod
    def of_stream(
        stream: object,
        *,
        name: str,
        user: str | None,
        item: str | None,
        value: str | None,
        time: str | None,
        split: str | None,
        filters: str,
        seed: int,
    ) -> Prepared: ...
    @staticmethod
    def of_file(
        path: str | PathLike[str],
        *,
        name: str | None,
        user: str | None,
        item: str | None,
        value: str | None,
        time: str | None,
        split: str | None,
        filters: str,
        seed: int,
    ) -> Prepared: ...
    @staticmethod
    def open(path: str | PathLike[str]) -> Prepared: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def n_users(self) -> int: ...
    @property
    def n_items(self) -> int: ...
    @property
    def n_rows(self) -> tuple[int, int, int]: ...
    @property
    def summary(self) -> str: ...

@final
class Recommender:
    @staticmethod
    def open(path: str | PathLike[str], *, device: str) -> Recommender: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    @property
    def model(self) -> str: ...
    @property
    def score_is(self) -> str: ...
    @property
    def n_known(self) -> tuple[int, int]: ...
    @property
    def record(self) -> str: ...
    @property
    def data(self) -> tuple[str, str]: ...
    def recommend(
        self, user: _Id, k: int, *, include_seen: bool, only: list[_Id] | None, without: list[_Id]
    ) -> list[_Item]: ...
    def recommend_many(
        self,
        users: list[_Id] | None,
        k: int,
        *,
        include_seen: bool,
        only: list[_Id] | None,
        without: list[_Id],
        threads: int,
    ) -> tuple[bytearray | list[str], bytearray, bytearray | list[str], bytearray]: ...
    def score(self, users: list[_Id], items: list[_Id]) -> bytearray: ...
    def check_known(self, user: _Id | None = None, item: _Id | None = None) -> None: ...
    def similar(self, item: _Id, k: int) -> list[_Item]: ...
    def check_history(self, history: list[tuple[_Id, float]]) -> None: ...
    def recommend_folded(
        self,
        history: list[tuple[_Id, float]],
        k: int,
        *,
        include_seen: bool,
        only: list[_Id] | None,
        without: list[_Id],
    ) -> list[_Item]: ...
    def score_folded(self, history: list[tuple[_Id, float]], items: list[_Id]) -> bytearray: ...
    def evaluate(self, data: Prepared, on: str, *, threads: int, listener: _Listener) -> str: ...
