"""`burnrec.implicit`: what the tests of implicit ask of its models, asked of these."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from conftest import checkerboard
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse import random as random_matrix

from burnrec import _native
from burnrec.implicit import (
    AlternatingLeastSquares,
    BayesianPersonalizedRanking,
    BM25Recommender,
    CosineRecommender,
    ItemItemRecommender,
    ModelFitError,
    TFIDFRecommender,
)
from burnrec.implicit.evaluation import (
    AUC_at_k,
    leave_k_out_split,
    mean_average_precision_at_k,
    ndcg_at_k,
    precision_at_k,
    ranking_metrics_at_k,
    train_test_split,
)
from burnrec.implicit.utils import ParameterWarning, native_matrix

MODELS = {
    "als": lambda: AlternatingLeastSquares(factors=8, regularization=0.01, random_state=23),
    "als, exact": lambda: AlternatingLeastSquares(factors=4, regularization=0.01, use_cg=False, random_state=23),
    "bpr": lambda: BayesianPersonalizedRanking(factors=3, regularization=0, learning_rate=0.05, random_state=42),
    "cosine": lambda: CosineRecommender(K=50),
    "tfidf": lambda: TFIDFRecommender(K=50),
    "bm25": lambda: BM25Recommender(K=50),
    "item-item": lambda: ItemItemRecommender(K=50),
}
FACTORS = ["als", "als, exact", "bpr"]


@pytest.fixture(scope="module")
def board():
    return checkerboard(50)


@pytest.fixture(scope="module")
def fitted(board):
    models = {name: make() for name, make in MODELS.items()}
    for model in models.values():
        model.fit(board, show_progress=False)
    return models


@pytest.mark.parametrize("name", MODELS)
def test_the_withheld_item_is_recommended(board, fitted, name):
    model = fitted[name]
    for user in range(50):
        ids, scores = model.recommend(user, board[user], N=1)
        assert (ids.shape, scores.shape, ids[0]) == ((1,), (1,), user)
    users = np.arange(50)
    ids, scores = model.recommend(users, board, N=1)
    assert ids.shape == scores.shape == (50, 1) and ids.dtype == np.int32
    assert ids[:, 0].tolist() == users.tolist()
    ids, _ = model.recommend(users[3:5], board[3:5], N=4)
    alone = model.recommend(4, board[4], N=4)[0]
    assert ids[1, : len(alone)].tolist() == alone.tolist()


@pytest.mark.parametrize("name", MODELS)
def test_items_are_filtered(board, fitted, name):
    model = fitted[name]
    ids, _ = model.recommend(0, board[0], N=10_000)
    assert len(ids) and not np.isin(ids, board[0].indices).any()
    assert 0 not in model.recommend(0, board[0], N=1, filter_items=[0])[0]
    kept, _ = model.recommend(0, board[0], N=20, filter_already_liked_items=False)
    assert np.isin(kept, board[0].indices).sum() >= 19
    ids, _ = model.recommend([0, 2], board[[0, 2]], N=5, filter_items=[0, 2])
    assert not np.isin(ids, [0, 2]).any()


@pytest.mark.parametrize("name", MODELS)
def test_some_items_are_ranked(board, fitted, name):
    model = fitted[name]
    some = np.array([8, 3, 20, 2])
    for liked in (True, False):
        ids, scores = model.recommend(0, board[0], filter_already_liked_items=liked, items=some)
        assert set(ids[ids >= 0]) <= set(some)
        assert (np.diff(scores) <= 0).all()
    ids, _ = model.recommend(0, board[0], filter_already_liked_items=False, items=some)
    assert sorted(ids) == sorted(some), "all come back"
    ids, _ = model.recommend([0, 1], board[[0, 1]], N=4, filter_already_liked_items=False, items=some)
    assert ids.shape == (2, 4) and set(ids.ravel()) <= {-1, *some}
    for bad in ([-1], [0, 50]):
        with pytest.raises(IndexError, match="expected one of 0 to 50 - 1"):
            model.recommend(0, board[0], items=bad)
    with pytest.raises(ValueError, match="Can't set both"):
        model.recommend(0, board[0], items=[1], filter_items=[2])


@pytest.mark.parametrize("name", MODELS)
def test_similar_items_are_of_one_colour(fitted, name):
    model = fitted[name]
    for item in range(50):
        ids, scores = model.similar_items(item, N=10)
        assert (ids % 2 == item % 2).all() and (np.diff(scores) <= 1e-6).all()
    items = np.arange(12)
    ids, scores = model.similar_items(items, N=5)
    assert ids.shape == scores.shape == (12, 5)
    assert (ids % 2 == items[:, None] % 2).all()
    ids, _ = model.similar_items(4, N=10, filter_items=[2, 6])
    assert not np.isin(ids, [2, 6]).any()
    assert set(model.similar_items(4, items=np.array([2, 6, 8]))[0]) == {2, 6, 8}
    with pytest.raises(ValueError, match="Can't set both"):
        model.similar_items(0, items=[1], filter_items=[2])


@pytest.mark.parametrize("name", FACTORS)
def test_similar_users_are_of_one_colour(fitted, name):
    model = fitted[name]
    ids, scores = model.similar_users(3, N=10)
    assert (ids % 2 == 1).all() and ids[0] == 3 and scores[0] == pytest.approx(1, abs=1e-5)
    ids, _ = model.similar_users([2, 3], N=5, filter_users=[4])
    assert ids.shape == (2, 5) and 4 not in ids
    assert sorted(model.similar_users(2, users=[4, 6])[0]) == [4, 6]


@pytest.mark.parametrize("name", ["cosine", "tfidf", "bm25", "item-item"])
def test_what_item_item_models_cannot(board, fitted, name):
    with pytest.raises(NotImplementedError):
        fitted[name].similar_users(0)
    with pytest.raises(NotImplementedError):
        fitted[name].similar_items(0, recalculate_item=True)
    with pytest.raises(NotImplementedError):
        MODELS[name]().fit(board, callback=print)
    with pytest.raises(ValueError, match="expected a model that was fitted"):
        MODELS[name]().recommend(0, board[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_user_and_an_item_without_entries(name):
    board = checkerboard(50).toarray()
    board[42] = board[:, 42] = 0
    model = MODELS[name]()
    matrix = csr_matrix(board)
    model.fit(matrix, show_progress=False)
    for item in range(40):
        assert 42 not in model.similar_items(item, N=10)[0]
    model.recommend(42, matrix[42])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, bool])
def test_all_types_of_values_are_taken(name, dtype):
    model = MODELS[name]()
    board = checkerboard(20, dtype)
    model.fit(board, show_progress=False)
    assert model.recommend(4, board[4], N=1)[0][0] == 4


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_loaded(tmp_path, board, fitted, name):
    model = fitted[name]
    model.save(str(tmp_path / "model"))
    buffer = io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    users = np.arange(10)
    expected = model.recommend(users, board[users], N=5)
    for source in (str(tmp_path / "model"), str(tmp_path / "model.npz"), buffer):
        loaded = type(model).load(source)
        found = loaded.recommend(users, board[users], N=5)
        assert (found[0] == expected[0]).all() and np.allclose(found[1], expected[1])
        assert repr(loaded) == repr(model)
    again = pickle.loads(pickle.dumps(model))
    assert (again.recommend(users, board[users], N=5)[0] == expected[0]).all()
    assert model.to_cpu() is model


@pytest.mark.parametrize("name", MODELS)
def test_ids_are_taken_of_every_sequence(board, fitted, name):
    model = fitted[name]
    calls = [lambda ids: model.recommend(ids, board[:2], N=3), lambda ids: model.similar_items(ids, N=3)]
    if name in FACTORS:
        calls.append(lambda ids: model.similar_users(ids, N=3))
    if name.startswith("als"):
        calls.append(lambda ids: model.recalculate_user(ids, board[:2]))
        calls.append(lambda ids: model.recalculate_item(ids, board[:2]))
        again = pickle.loads(pickle.dumps(model))
        calls.append(lambda ids: again.partial_fit_users(ids, board[:2]) or again.user_factors)
        calls.append(lambda ids: again.partial_fit_items(ids, board[:2]) or again.item_factors)
    for call in calls:
        expected = np.array(call(np.array([0, 1])))
        for ids in ((0, 1), [0, 1], range(2)):
            assert (np.array(call(ids)) == expected).all()
    assert (model.recommend(np.array(1), board[1])[0] == model.recommend(1, board[1])[0]).all()
    assert model.recommend([], board[:0], N=3)[0].shape == (0, 3)


@pytest.mark.parametrize("make", [AlternatingLeastSquares, BayesianPersonalizedRanking])
def test_a_model_of_a_generator_is_saved(tmp_path, board, make):
    for random_state in (np.random.default_rng(1), np.random.RandomState(1), np.int64(1), None):
        model = make(factors=4, iterations=2, random_state=random_state)
        model.fit(board, show_progress=False)
        model.save(str(tmp_path / "model"))
        loaded = make.load(str(tmp_path / "model"))
        assert (loaded.user_factors == model.user_factors).all()
        assert loaded.random_state == (1 if isinstance(random_state, np.int64) else None)


def test_a_saved_model_knows_the_matrix_that_it_was_fitted_on(tmp_path, board):
    model = AlternatingLeastSquares(factors=4, iterations=2, random_state=1)
    model.fit(board, show_progress=False)
    model.partial_fit_items([50], board[0])
    expected = model.recommend(0, board[0], N=3)[0]
    model.save(str(tmp_path / "model"))
    loaded = AlternatingLeastSquares.load(str(tmp_path / "model"))
    # A row of the matrix of before has no column for the item that is new.
    assert (loaded.recommend(0, board[0], N=3)[0] == expected).all()


def test_deprecated_names_say_so(board, fitted):
    with pytest.warns(DeprecationWarning, match="recommend_all"):
        ids = fitted["als"].recommend_all(board, N=3)
    assert (ids == fitted["als"].recommend(np.arange(50), board, N=3)[0]).all()
    with pytest.warns(DeprecationWarning, match="rank_items"):
        ids, _ = fitted["als"].rank_items(0, board[0], [2, 4])
    assert sorted(ids) == [2, 4]


def test_callbacks_are_called(board):
    calls = []
    model = AlternatingLeastSquares(factors=4, iterations=3, calculate_training_loss=True, random_state=1)
    model.fit(board, show_progress=False, callback=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [0, 1, 2] and all(call[1] > 0 for call in calls)
    assert calls[0][2] >= calls[1][2] >= calls[2][2] > 0
    calls.clear()
    model.calculate_training_loss, model.fit_callback = False, lambda *call: calls.append(call)
    model.fit(board, show_progress=False)
    assert len(calls) == 3 and calls[0][2] is None
    calls.clear()
    bpr = BayesianPersonalizedRanking(factors=4, iterations=5, learning_rate=0.05, random_state=1)
    bpr.fit(board, show_progress=False, callback=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [0, 1, 2, 3, 4] and calls[4][2] < calls[0][2]
    with pytest.raises(ZeroDivisionError):
        bpr.fit(board, show_progress=False, callback=lambda *_: 1 / 0)


def test_a_seed_gives_the_same_factors_for_any_number_of_threads(board):
    for make in (AlternatingLeastSquares, BayesianPersonalizedRanking):
        first = make(factors=8, iterations=3, random_state=5)
        first.fit(board, show_progress=False)
        for seed in (5, np.random.default_rng(5)):
            other = make(factors=8, iterations=3, random_state=seed)
            other.fit(board, show_progress=False)
            assert (first.user_factors == other.user_factors).all()
    one = AlternatingLeastSquares(factors=8, iterations=3, random_state=5, num_threads=1)
    one.fit(board, show_progress=False)
    other = AlternatingLeastSquares(factors=8, iterations=3, random_state=5, num_threads=2)
    other.fit(board, show_progress=False)
    assert (one.user_factors == other.user_factors).all()


def test_bad_input_is_refused(board):
    model = AlternatingLeastSquares(factors=4, random_state=1)
    with pytest.raises(TypeError, match="found a ndarray, expected a sparse matrix"):
        model.fit(board.toarray())
    with pytest.raises(ValueError, match="expected a model that was fitted"):
        model.recommend(0, board[0])
    with pytest.warns(ParameterWarning, match="coo_matrix"):
        model.fit(board.tocoo(), show_progress=False)
    with pytest.raises(ValueError, match="CSR"):
        model.recommend(0, board[0].tocoo())
    with pytest.raises(ValueError, match="CSR"):
        model.recommend(0, None)
    with pytest.raises(IndexError):
        model.recommend(99, board[0])
    bad = board.astype(np.float32)
    bad.data[3] = np.nan
    with pytest.raises(ModelFitError, match="found NaN, expected a finite number"):
        AlternatingLeastSquares(factors=4).fit(bad)
    with pytest.raises(ValueError, match="found NaN, expected a finite number"):
        CosineRecommender().fit(bad)
    for settings, message in [
        ({"factors": 0}, "dim: found 0, expected at least 1"),
        ({"regularization": -1}, "reg: found -1"),
        ({"alpha": float("inf")}, "alpha: found inf"),
        ({"num_threads": 10**6}, "threads"),
    ]:
        with pytest.raises(ValueError, match=message):
            AlternatingLeastSquares(**settings).fit(board, show_progress=False)
    with pytest.raises(ValueError, match="K: found 0"):
        CosineRecommender(K=0).fit(board)
    for make, settings in [
        (CosineRecommender, ("K", "num_threads")),
        (AlternatingLeastSquares, ("factors", "iterations", "num_threads", "random_state")),
        (BayesianPersonalizedRanking, ("factors", "iterations", "num_threads", "random_state")),
    ]:
        for setting in settings:
            with pytest.raises(ValueError, match=f"^{setting}: found -1, expected no negative number"):
                make(**{setting: -1}).fit(board, show_progress=False)
    with pytest.raises(NotImplementedError, match="on the CPU"):
        AlternatingLeastSquares(use_gpu=True)
    with pytest.raises(NotImplementedError):
        BayesianPersonalizedRanking().recalculate_user(0, board[0])
    broken = board.copy()
    broken.indices = broken.indices.copy()
    broken.indices[0] = 99
    with pytest.raises(ValueError, match="found column 99 in row 0|unsorted"):
        native_matrix(broken)
    with pytest.raises(TypeError, match="found an array of <f8, expected a contiguous array of float32"):
        _native.Matrix(board.indptr, board.indices, board.data, board.shape)
    floats = np.zeros((50, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="found memory that is read too"):
        _native.als_solve(native_matrix(board), floats, floats, reg=0.1, alpha=1.0, cg_steps=None)
    with pytest.raises(ValueError, match=r"found shape \[49, 4\], expected \[50, 4\]"):
        _native.als_solve(native_matrix(board), floats[1:], floats, reg=0.1, alpha=1.0, cg_steps=None)
    frozen = floats.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _native.als_solve(native_matrix(board), floats, frozen, reg=0.1, alpha=1.0, cg_steps=None)


def test_repeats_are_added_up_and_unsorted_rows_are_sorted():
    rows, cols, values = [0, 0, 0, 1], [2, 0, 2, 1], np.array([1, 2, 3, 4], dtype=np.float32)
    messy = csr_matrix((values, ([2, 0, 2, 1]), np.array([0, 3, 4])), shape=(2, 3))
    tidy = coo_matrix((values, (rows, cols)), shape=(2, 3)).tocsr()
    found = [np.empty((1, n), dtype=t) for n, t in ((3, np.int32), (3, np.int32), (3, np.float32))]
    native_matrix(messy).write(*found)
    assert found[0][0].tolist() == tidy.indptr.tolist()
    assert (found[1][0].tolist(), found[2][0].tolist()) == (tidy.indices.tolist(), tidy.data.tolist())
    assert messy.nnz == 4, "what was given stays as it is"
    wide = csr_matrix(tidy)
    wide.indptr, wide.indices = wide.indptr.astype(np.int64), wide.indices.astype(np.int64)
    assert native_matrix(wide).transpose().shape == (3, 2)


def test_metrics_are_those_of_plain_sums():
    class Fixed:
        def recommend(self, userid, user_items, N=10):
            return np.array([[0, 1, 2], [3, 4, 5]])[: len(userid)], None

    train = csr_matrix((2, 8), dtype=np.float32)
    test = csr_matrix(np.array([[1, 0, 1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]], dtype=np.float32))
    found = ranking_metrics_at_k(Fixed(), train, test, K=3, show_progress=False)
    assert found["precision"] == pytest.approx(3 / 4)
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2) / 2)
    gain = 1 / np.log2([2, 3, 4])
    assert found["ndcg"] == pytest.approx(((gain[0] + gain[2]) / gain.sum() + gain[1]) / 2)
    first = (1 + (2 + 3) / 2 * (5 - 1)) / (3 * 5)
    second = (0 + 1 + (1 + 1) / 2 * (7 - 2)) / 7
    assert found["auc"] == pytest.approx((first + second) / 2)
    options = {"K": 3, "show_progress": False}
    for metric, name in [
        (precision_at_k, "precision"),
        (mean_average_precision_at_k, "map"),
        (ndcg_at_k, "ndcg"),
        (AUC_at_k, "auc"),
    ]:
        assert metric(Fixed(), train, test, **options) == found[name]
    with pytest.raises(ValueError, match=r"found shape \(2, 7\), expected \(2, 8\)"):
        ranking_metrics_at_k(Fixed(), train, test[:, :7])


def test_splits_have_every_entry_once():
    ratings = random_matrix(100, 100, density=0.5, format="csr", dtype=np.float32, random_state=4)
    train, test = train_test_split(ratings, 0.8, random_state=3)
    assert ((train + test) != ratings).nnz == 0 and 0.75 < train.nnz / ratings.nnz < 0.85
    assert (train_test_split(ratings, 0.8, random_state=3)[0] != train).nnz == 0
    train, test = leave_k_out_split(ratings, K=2, random_state=3)
    assert ((train + test) != ratings).nnz == 0
    assert (np.diff(test.indptr) == 2).all()
    train, test = leave_k_out_split(ratings, K=1, train_only_size=0.8, random_state=3)
    assert (np.diff(test.indptr) == 0).sum() == 80
    for bad in ({"K": 0}, {"train_only_size": -1.0}, {"train_only_size": 1.0}):
        with pytest.raises(ValueError):
            leave_k_out_split(ratings, **bad)


def test_no_copy_of_the_values_is_made():
    import tracemalloc

    matrix = random_matrix(2000, 3000, density=0.05, format="csr", dtype=np.float32, random_state=1)
    tracemalloc.start()
    held = native_matrix(matrix)
    assert tracemalloc.get_traced_memory()[0] < matrix.data.nbytes / 10
    tracemalloc.stop()
    matrix.data[:] = 7
    found = [np.empty((1, n), dtype=t) for n, t in ((2001, np.int32), (held.nnz, np.int32), (held.nnz, np.float32))]
    held.write(*found)
    assert (found[2] == 7).all(), "the values are read where they lie"
