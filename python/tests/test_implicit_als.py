"""`AlternatingLeastSquares` of `burnrec.implicit`: what it computes, explains, stores and refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_matrix

from burnrec.implicit import AlternatingLeastSquares, CosineRecommender


def test_als_reconstructs_a_small_matrix():
    counts = csr_matrix(
        [
            [1, 1, 0, 1, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [1, 0, 1, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [0, 0, 1, 1, 0, 1],
            [0, 1, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 1],
        ],
        dtype=np.float64,
    )
    for use_cg in (True, False):
        for dtype in (np.float32, np.float64):
            model = AlternatingLeastSquares(6, regularization=0, dtype=dtype, use_cg=use_cg, random_state=42)
            model.fit(counts * 2, show_progress=False)
            assert model.user_factors.dtype == dtype
            found = model.user_factors @ model.item_factors.T
            assert np.abs(found - counts.toarray()).max() < 1e-3, (use_cg, dtype)


def test_als_stays_finite():
    sparse = random_matrix(100, 100, density=0.0005, format="csr", dtype=np.float32, random_state=42)
    model = AlternatingLeastSquares(factors=32, regularization=10, iterations=10, random_state=23)
    model.fit(sparse, show_progress=False)
    assert np.isfinite(model.user_factors).all() and np.isfinite(model.item_factors).all()


@pytest.fixture(scope="module")
def explained():
    counts = csr_matrix(
        [
            [1, 1, 0, 1, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [1, 4, 1, 0, 7, 0],
            [1, 1, 0, 0, 0, 0],
            [9, 0, 4, 1, 0, 1],
            [0, 1, 0, 0, 0, 1],
            [0, 0, 2, 0, 1, 1],
        ],
        dtype=np.float32,
    )
    user_items = (counts * 2).T.tocsr()
    model = AlternatingLeastSquares(factors=4, regularization=20, use_cg=False, iterations=100, random_state=23)
    model.fit(user_items, show_progress=False)
    return model, user_items


def test_an_explanation_adds_up(explained):
    model, user_items = explained
    ids, scores = model.recommend(0, user_items[0], N=3, recalculate_user=True)
    learned, of_learned = model.recommend(0, user_items[0], N=3)
    assert ids.tolist() == learned.tolist() and np.allclose(scores, of_learned, atol=1e-4)
    total, parts, weights = model.explain(0, user_items, itemid=ids[0])
    assert total == pytest.approx(scores[0], abs=1e-4) == pytest.approx(sum(score for _, score in parts), abs=1e-4)
    assert sorted(item for item, _ in parts) == [0, 2, 3, 4]
    assert [score for _, score in parts] == sorted((score for _, score in parts), reverse=True)
    again, two, _ = model.explain(0, user_items, itemid=ids[0], user_weights=weights, N=2)
    assert (again, two) == (total, parts[:2])


def test_alpha_multiplies_the_values(explained):
    _, user_items = explained
    one = AlternatingLeastSquares(factors=4, alpha=3, random_state=1)
    one.fit(user_items, show_progress=False)
    other = AlternatingLeastSquares(factors=4, random_state=1)
    other.fit(user_items * 3, show_progress=False)
    assert np.allclose(one.user_factors, other.user_factors, atol=1e-5)
    assert np.allclose(one.recalculate_user(0, user_items[0]), other.recalculate_user(0, user_items[0] * 3), atol=1e-5)
    ids = one.recommend(0, user_items[0], N=1)[0]
    assert one.explain(0, user_items, ids[0])[0] == pytest.approx(other.explain(0, user_items * 3, ids[0])[0], abs=1e-5)


def test_partial_fits_store_what_is_recalculated(explained):
    model, user_items = explained
    model = pickle.loads(pickle.dumps(model))
    users = model.recalculate_user([0, 1], user_items[[1, 0]])
    model.partial_fit_users([0, 1], user_items[[1, 0]])
    assert (model.user_factors[:2] == users).all()
    model.partial_fit_users([9], user_items[[1]])
    assert model.user_factors.shape == (10, 4) and (model.user_factors[9] == users[0]).all()
    assert (model.user_factors[6:9] == 0).all()
    # The matrix of before has columns for the users of before.
    of_item = user_items[:, 3].T.tocsr()
    items = model.recalculate_item(3, of_item)
    assert (items == model.recalculate_item(3, _wide(of_item, 10))).all()
    model.partial_fit_items([8], of_item)
    assert model.item_factors.shape == (9, 4) and (model.item_factors[8] == items).all()
    assert 8 in model.similar_items(8, N=3)[0]
    assert model.recommend(9, user_items[1], N=3, recalculate_user=True)[0].shape == (3,)
    with pytest.raises(ValueError, match="1 row for every user"):
        model.partial_fit_users([0, 1], user_items[[0]])
    with pytest.raises(ValueError, match="1 row for every item"):
        model.partial_fit_items([0, 1], of_item)


def _wide(matrix, n_cols):
    matrix = matrix.copy()
    matrix.resize((matrix.shape[0], n_cols))
    return matrix


def test_a_wrong_orientation_is_refused_with_both_shapes():
    wide = random_matrix(30, 12, density=0.4, format="csr", dtype=np.float32, random_state=1)
    model = AlternatingLeastSquares(factors=4, random_state=1)
    model.fit(wide, show_progress=False)
    with pytest.raises(ValueError, match=r"found shape \(12, 30\), expected \(1, 12\); it is the transpose"):
        model.recommend(0, wide.T.tocsr())
    with pytest.raises(ValueError, match=r"found shape \(30, 12\), expected \(1, 12\); take the rows of these users"):
        model.recommend(0, wide)
    with pytest.raises(ValueError, match=r"found shape \(2, 12\), expected \(3, 12\)"):
        model.recommend([0, 1, 2], wide[[0, 1]])
    with pytest.raises(ValueError, match=r"found shape \(1, 30\), expected \(1, 12\)"):
        model.recalculate_user(0, wide.T.tocsr()[0])
    with pytest.raises(ValueError, match=r"found shape \(12, 30\), expected \(1, 30\)"):
        model.recalculate_item(0, wide.T.tocsr())
    cosine = CosineRecommender()
    cosine.fit(wide)
    with pytest.raises(ValueError, match=r"found shape \(12, 30\), expected \(12, 12\)"):
        cosine.recommend(np.arange(12), wide.T.tocsr())
    with pytest.raises(ValueError, match=r"user_factors: found shape \(30, 4\) of before, expected \(12, 4\)"):
        model.fit(wide.T.tocsr(), show_progress=False)
