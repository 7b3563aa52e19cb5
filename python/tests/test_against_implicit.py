"""`burnrec.implicit` beside implicit itself, where that is installed: the same numbers, and no slower."""

from __future__ import annotations

import importlib
import inspect
import time

import numpy as np
import pytest
from conftest import as_csr

import burnrec.implicit as ours
from burnrec.implicit import evaluation

theirs = pytest.importorskip("implicit", reason="implicit is not installed")
for part in ("als", "bpr", "cpu.als", "evaluation", "nearest_neighbours"):
    importlib.import_module(f"implicit.{part}")


@pytest.fixture(scope="module", params=["drawn", "movietweetings-10k"])
def user_items(request):
    if request.param == "drawn":
        return long_tailed()
    movietweetings = request.getfixturevalue("movietweetings")
    table = np.genfromtxt(movietweetings / "ratings.dat", dtype=np.int64, delimiter="::", encoding="utf-8")
    return as_csr(table[:, 0], table[:, 1], table[:, 2])


def long_tailed():
    """Return drawn ratings of 1 to 10 in a matrix with long tails and a taste, about as large as movietweetings-10k."""
    random = np.random.default_rng(11)
    n_users, n_items, n = 1600, 1500, 60_000
    tastes = [random.standard_normal((rows, 4)) for rows in (n_users, n_items)]
    user, item = ((rows * random.random(n) ** power).astype(int) for rows, power in ((n_users, 2), (n_items, 3)))
    liking = (tastes[0][user] * tastes[1][item]).sum(axis=1)
    # What is liked is rated more often, so that there is something to find.
    kept = random.random(n) < 1 / (1 + np.exp(-2 * liking))
    user, item = np.unique(np.stack([user[kept], item[kept]]), axis=1)
    return as_csr(user, item, random.integers(1, 11, size=len(user)))


@pytest.fixture(scope="module")
def both(user_items):
    settings = {
        "factors": 32,
        "regularization": 0.05,
        "alpha": 2.0,
        "iterations": 5,
        "random_state": 3,
        "num_threads": 2,
    }
    models = []
    for library in (ours, theirs):
        model = library.als.AlternatingLeastSquares(**settings)
        model.fit(user_items, show_progress=False)
        models.append(model)
    return models


MODELS = ["ItemItemRecommender", "CosineRecommender", "TFIDFRecommender", "BM25Recommender"]


@pytest.mark.parametrize("name", ["AlternatingLeastSquares", "BayesianPersonalizedRanking", *MODELS])
def test_arguments_have_the_same_names_and_defaults(name):
    modules = {"AlternatingLeastSquares": theirs.als, "BayesianPersonalizedRanking": theirs.bpr}
    other = getattr(modules.get(name, theirs.nearest_neighbours), name)
    if not isinstance(other, type):
        assert _arguments(getattr(ours, name)) == _arguments(other)
        other = type(other(use_gpu=False))
    for method in ("fit", "recommend", "similar_items", "similar_users", "save", "load"):
        assert _arguments(getattr(getattr(ours, name), method)) == _arguments(getattr(other, method)), method


def _arguments(of):
    return [(at.name, at.default) for at in inspect.signature(of).parameters.values()]


def test_a_seed_starts_both_from_the_same_factors(user_items):
    # By conjugate gradients a row's error ends at the rounding of its part of the objective, whose square it is. The items'
    # rows are solved for users with that error, and have several times as much.
    for use_cg, tolerances in ((False, (2e-3, 2e-3)), (True, (1e-2, 2e-2))):
        models = []
        for library in (ours, theirs):
            model = library.als.AlternatingLeastSquares(
                factors=8, iterations=1, regularization=1.0, use_cg=use_cg, random_state=3
            )
            model.cg_steps = 30
            model.fit(user_items, show_progress=False)
            models.append(model)
        for side, tolerance in zip(("user_factors", "item_factors"), tolerances, strict=True):
            found, expected = (getattr(model, side) for model in models)
            assert np.abs(found - expected).max() < tolerance * np.abs(expected).max(), (use_cg, side)


def test_the_loss_is_the_same_and_ours_no_higher(user_items, both):
    calculate_loss = theirs.cpu.als.calculate_loss
    weighted = (user_items * 2.0).astype(np.float32)
    losses = []
    for model in both:
        native = ours.utils.native_matrix(user_items)
        loss = ours.als._native.als_loss(native, model.user_factors, model.item_factors, reg=0.05, alpha=2.0)
        expected = calculate_loss(weighted, model.user_factors, model.item_factors, 0.05)
        assert loss == pytest.approx(expected, rel=1e-4)
        losses.append(loss)
    assert losses[0] <= losses[1] * (1 + 1e-6), losses


def test_the_same_factors_give_the_same_lists(user_items, both):
    mine, other = both
    mine.user_factors, mine.item_factors = other.user_factors, other.item_factors
    mine._user_norms = mine._item_norms = mine._YtY = mine._XtX = None
    users = np.arange(user_items.shape[0])
    found, expected = (model.recommend(users, user_items, N=10) for model in both)
    assert np.allclose(found[1], expected[1], atol=1e-5)
    differ = found[0] != expected[0]
    # Scores that are equal within rounding may change places.
    assert differ.mean() < 1e-3 and np.allclose(found[1][differ], expected[1][differ], atol=1e-6)
    for call in [
        lambda model: model.similar_items(np.arange(200), N=5),
        lambda model: model.similar_users(np.arange(200), N=5),
        lambda model: model.recommend(5, user_items[5], N=7, filter_items=[1, 2, 3]),
        lambda model: model.recommend(5, user_items[5], N=7, items=np.arange(100, 120)),
        lambda model: model.recommend(5, user_items[5], N=7, recalculate_user=True),
        lambda model: model.recommend([5, 6], user_items[[5, 6]], N=7, filter_already_liked_items=False),
    ]:
        found, expected = call(mine), call(other)
        assert found[0].shape == expected[0].shape and np.allclose(found[1], expected[1], atol=1e-5)
        # Items of one user alone have the same vector, and may change places. What else is at a place is a mistake.
        scores = np.atleast_2d(expected[1])
        ties = np.abs(np.diff(scores, axis=1)) < 1e-5
        tied = np.pad(ties, ((0, 0), (1, 0))) | np.pad(ties, ((0, 0), (0, 1)), constant_values=True)
        assert (np.atleast_2d(found[0]) == np.atleast_2d(expected[0]))[~tied].all()
    found, expected = (model.recalculate_user([5, 6], user_items[[5, 6]]) for model in both)
    assert np.allclose(found, expected, atol=1e-4)
    found, expected = (model.recalculate_item([5, 6], user_items.T.tocsr()[[5, 6]]) for model in both)
    assert np.allclose(found, expected, atol=1e-4)
    item = int(mine.recommend(5, user_items[5], N=1)[0][0])
    found, expected = (model.explain(5, user_items, item, N=4) for model in both)
    assert found[0] == pytest.approx(expected[0], abs=1e-4)
    assert [item for item, _ in found[1]] == [item for item, _ in expected[1]]


@pytest.mark.parametrize("name", ["CosineRecommender", "BM25Recommender", "TFIDFRecommender", "ItemItemRecommender"])
def test_similarities_are_equal(user_items, name):
    models = []
    for library in (ours.nearest_neighbours, theirs.nearest_neighbours):
        model = getattr(library, name)(K=20)
        # That of implicit takes no float32 without weights.
        model.fit(user_items.astype(np.float64), show_progress=False)
        models.append(model)
    found, expected = (model.similarity.toarray() for model in models)
    differ = (found != 0) != (expected != 0)
    # At the end of a row equal similarities are a matter of order.
    least = np.where(found > 0, found, np.inf).min(axis=1)
    at_the_end = np.where(found != 0, found, expected) <= least[:, None] * (1 + 1e-4)
    assert (at_the_end | ~differ).all()
    assert (np.abs(found - expected) <= 1e-5 * np.abs(expected))[~differ].all()
    # From the same similarities both give the same scores, and the same items but where scores are equal.
    mine, other = models
    other.similarity = mine.similarity.astype(np.float64)
    other.scorer = theirs.nearest_neighbours.NearestNeighboursScorer(other.similarity)
    users = np.arange(300)
    (found, scores), (expected, other_scores) = (model.recommend(users, user_items[users], N=5) for model in models)
    # Where too few items have a score, implicit fills up with items that the user has, at 0.
    real = other_scores > 0
    assert real.mean() > 0.8 and (found[~real] == -1).all()
    assert np.allclose(scores[real], other_scores[real], rtol=1e-6)
    ours_at_theirs = user_items[users].astype(np.float64) @ other.similarity
    row, at = np.nonzero(real)
    assert np.allclose(ours_at_theirs[row, found[row, at]], scores[row, at], rtol=1e-6)


def test_files_are_exchanged(tmp_path, user_items, both):
    mine, other = both
    other.save(str(tmp_path / "theirs"))
    loaded = ours.als.AlternatingLeastSquares.load(str(tmp_path / "theirs"))
    assert (loaded.item_factors == other.item_factors).all() and loaded.alpha == 2.0 and loaded.dtype == np.float32
    mine.save(str(tmp_path / "ours"))
    back = theirs.cpu.als.AlternatingLeastSquares.load(str(tmp_path / "ours"))
    assert (back.user_factors == mine.user_factors).all()
    cosine = theirs.nearest_neighbours.CosineRecommender(K=5)
    cosine.fit(user_items, show_progress=False)
    cosine.save(str(tmp_path / "cosine"))
    loaded = ours.CosineRecommender.load(str(tmp_path / "cosine"))
    assert loaded.K == 5 and (loaded.similarity != cosine.similarity).nnz == 0


def test_evaluations_are_equal(user_items, both):
    expected = theirs.evaluation.train_test_split(user_items, random_state=5)
    found = evaluation.train_test_split(user_items, random_state=5)
    assert all((a != b).nnz == 0 for a, b in zip(found, expected, strict=True))
    train, test = found
    _, other = both
    metrics = [
        library.ranking_metrics_at_k(other, train, test, K=10, show_progress=False)
        for library in (evaluation, theirs.evaluation)
    ]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-9)


def test_bpr_finds_about_as_much(user_items):
    train, test = evaluation.train_test_split(user_items, random_state=5)
    found = []
    for library in (ours.bpr, theirs.bpr):
        model = library.BayesianPersonalizedRanking(factors=32, iterations=60, random_state=3)
        model.fit(train, show_progress=False)
        found.append(evaluation.AUC_at_k(model, train, test, K=100, show_progress=False))
    assert found[0] > 0.95 * found[1], found


def test_training_and_recommending_are_no_slower(user_items, both):
    def seconds(work):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    settings = {"factors": 64, "iterations": 5, "random_state": 3, "num_threads": 2}
    fits = [
        seconds(
            lambda library=library: library.als.AlternatingLeastSquares(**settings).fit(user_items, show_progress=False)
        )
        for library in (ours, theirs)
    ]
    users = np.arange(user_items.shape[0])
    lists = [seconds(lambda model=model: model.recommend(users, user_items, N=10)) for model in both]
    print(f"fit {fits[0]:.3f} s and {fits[1]:.3f} s; all lists {lists[0]:.3f} s and {lists[1]:.3f} s")
    assert fits[0] < fits[1] and lists[0] < lists[1]
