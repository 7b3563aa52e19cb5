"""`burnrec.fit`, what it returns, run directories, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pytest

import burnrec

# So regularised, the model finds the two tastes in spite of their noise.
SETTINGS = {"dim": 8, "epochs": 4, "reg": 0.1}


def frames(columns):
    table = pyarrow.table(columns)
    return [polars.DataFrame(columns), pandas.DataFrame(columns), table, duckdb.from_arrow(table)]


@pytest.fixture(scope="module")
def recommender(ratings):
    return burnrec.fit(polars.DataFrame(ratings), "als", **SETTINGS)


def test_all_kinds_of_frames_train_the_same_model(ratings, recommender):
    for frame in frames(ratings):
        other = burnrec.fit(frame, model="als", user="user", item="item", value="rating", time="timestamp", **SETTINGS)
        assert other.recommend(1010, 5) == recommender.recommend(1010, 5), type(frame)
        assert other.metrics["test"]["ndcg@10"] == recommender.metrics["test"]["ndcg@10"]


def test_dictionaries_small_integers_and_dates_are_read(ratings, recommender):
    frame = polars.DataFrame(ratings).with_columns(
        polars.col("user").cast(polars.Int16),
        polars.col("item").cast(polars.Categorical),
        polars.col("rating").cast(polars.UInt8),
        polars.from_epoch("timestamp", time_unit="s"),
    )
    assert burnrec.fit(frame, **SETTINGS).recommend(1010, 5) == recommender.recommend(1010, 5)
    chunks = polars.concat([frame[:100], frame[100:101], frame[101:]], rechunk=False)
    assert burnrec.fit(chunks, **SETTINGS).recommend(1010, 5) == recommender.recommend(1010, 5)


def test_ids_keep_their_type(ratings, recommender):
    best = recommender.recommend(1010, 3)
    assert [type(item.item) for item in best] == [str] * 3
    assert recommender.recommend(np.int64(1010), 3) == best == recommender.recommend("1010", 3)
    columns = {"user": ratings["item"], "item": ratings["user"]}
    of_ints = burnrec.fit(polars.DataFrame(columns), **SETTINGS).recommend("tt001", 3)
    assert [type(item.item) for item in of_ints] == [int] * 3
    texts = {"user": [f"{user}" for user in ratings["user"]], "item": ratings["item"]}
    many = burnrec.fit(polars.DataFrame(texts), **SETTINGS).recommend_many(["1010"], 2)
    assert many["user"].tolist() == ["1010", "1010"], "texts that look like integers stay texts"


def test_many_users_get_what_each_gets(recommender):
    users = np.array([1010, 1070, 1000])
    many = recommender.recommend_many(users, 4, threads=2)
    frame = polars.DataFrame(many)
    assert frame.columns == ["user", "rank", "item", "score"]
    for user in users:
        rows = frame.filter(polars.col("user") == int(user))
        assert rows["rank"].to_list() == [1, 2, 3, 4]
        assert list(zip(rows["item"], rows["score"], strict=True)) == [
            item[:2] for item in recommender.recommend(user, 4)
        ]
    everyone = recommender.recommend_many(k=1)
    assert len(set(everyone["user"].tolist())) == len(everyone["user"]) == 60


def test_queries_restrict_the_items(ratings, recommender):
    # The last item of each user is held out for the test.
    seen = set(ratings["item"][ratings["user"] == 1010][:-1]) - {ratings["item"][ratings["user"] == 1010][-1]}
    best = [item.item for item in recommender.recommend(1010, 50)]
    assert best and not seen.intersection(best)
    assert recommender.recommend(1010, 50, include_seen=True)[0].item
    assert [item.item for item in recommender.recommend(1010, 50, only=best[2:4])] == best[2:4]
    assert [item.item for item in recommender.recommend(1010, 2, without=[best[0], "unknown"])] == best[1:3]


def test_scores_are_those_of_the_lists(recommender):
    best = recommender.recommend(1010, 3)
    items = [item.item for item in best]
    # Pairs are summed in another order than lists.
    scores = pytest.approx([item.score for item in best], rel=1e-6)
    assert recommender.score(1010, items).tolist() == scores
    assert recommender.score(1010, items[0]) == recommender.score(1010, items)[0]
    assert recommender.score([1010] * 3, items).tolist() == recommender.score(1010, items).tolist()
    of_unknown = recommender.score([1010, 7], [items[0], items[0]])
    assert of_unknown[0] == recommender.score(1010, items[0]) and math.isnan(of_unknown[1])
    assert recommender.score([1010, 1070], items[0]).shape == (2,)


def test_similar_items_are_of_one_kind(recommender):
    similar = recommender.similar("tt004", 5)
    assert all(int(item.item[2:]) % 2 == 0 for item in similar)
    assert [item.score for item in similar] == sorted((item.score for item in similar), reverse=True)


def test_a_user_is_folded_in(recommender):
    user = recommender.fold_in(["tt000", "tt002", "tt004"])
    best = user.recommend(5)
    assert all(int(item.item[2:]) % 2 == 0 for item in best)
    assert not {"tt000", "tt002", "tt004"}.intersection(item.item for item in best)
    assert user.score(best[0].item) == pytest.approx(best[0].score, rel=1e-5)
    assert user.score([best[1].item, "unknown"])[0] == pytest.approx(best[1].score, rel=1e-5)
    assert repr(user) == "<FoldedUser with 3 items>"
    assert recommender.fold_in(["tt000"], [5.0]).recommend(1)


def test_a_run_directory_is_that_of_the_program(tmp_path, ratings, recommender):
    data = burnrec.prepare(polars.DataFrame(ratings), seed=3)
    data.save(tmp_path / "prepared")
    run = burnrec.fit(burnrec.open_prepared(tmp_path / "prepared"), out=tmp_path / "run", **SETTINGS)
    opened = burnrec.load(tmp_path / "run")
    assert opened.recommend(1010, 5) == run.recommend(1010, 5)
    # A number that was written and read may differ in its last bit.
    assert opened.record["config"] == run.record["config"] and opened.record["data"] == run.record["data"]
    assert dict(opened.metrics["valid"]) == pytest.approx(dict(run.metrics["valid"]), rel=1e-12)
    assert run.record["config"]["dim"] == 8
    scores = opened.evaluate(data)
    assert dict(scores) == dict(run.metrics["test"])
    low, high = scores.interval("ndcg@10")
    assert low <= scores["ndcg@10"] <= high
    recommender.save(tmp_path / "other")
    assert burnrec.load(str(tmp_path / "other")).recommend(1010, 5) == recommender.recommend(1010, 5)
    with pytest.raises(ValueError, match="with hash"):
        recommender.evaluate(burnrec.prepare(polars.DataFrame(ratings)[:1400]))
    with pytest.raises(ValueError, match="refit"):
        run.evaluate(data, on="valid")
    with pytest.raises(ValueError, match="expected valid or test"):
        run.evaluate(data, on="train")
    with pytest.raises(ValueError, match="run"):
        burnrec.fit(data, out=tmp_path / "run", **SETTINGS)
    assert burnrec.fit(data, out=tmp_path / "run", replace=True, **SETTINGS).recommend(1010, 5) == run.recommend(
        1010, 5
    )


def test_prepared_data_says_what_it_is(ratings):
    frame = polars.DataFrame(ratings)
    data = burnrec.prepare(frame, split={"protocol": "random", "valid": 0.1, "test": 0.2}, name="mine", positive_from=3)
    assert (data.name, data.n_users, data.n_items) == ("mine", 60, 40)
    assert repr(data).startswith("<Prepared 'mine': 60 users, 40 items; rows: ")
    assert sum(data.n_rows.values()) <= (ratings["rating"] >= 3).sum()
    assert "mine" in data.summary
    split = {"protocol": "random", "valid": 0.1, "test": 0.1}
    one, same, other = (burnrec.prepare(frame, split=split, seed=seed).hash for seed in (1, 1, 2))
    assert one == same != other


def test_other_models_train(ratings):
    frame = polars.DataFrame(ratings)
    for model, settings in [
        ("popularity", {}),
        ("ease", {"reg": 10}),
        ("knn", {"k": 10}),
        ("mf", {"dim": 4, "epochs": 1, "loss": "bpr"}),
    ]:
        assert model in burnrec.models()
        assert len(burnrec.fit(frame, model, device="cpu", **settings).recommend(1010, 3)) == 3, model
    assert burnrec.settings("als", dim=np.int64(16))["dim"] == 16


def test_representations_tell(recommender):
    text = repr(recommender)
    assert text.startswith("<Recommender als of 'frame': 60 users, 40 items, ndcg@10 0.") and text.endswith(" on test>")
    scores = recommender.metrics["test"]
    assert repr(scores).splitlines()[0] == "<Scores of 60 users, full ranking>"
    assert "<td>ndcg@10</td>" in scores._repr_html_()
    assert recommender.score_is == "score" and recommender.model == "als"


BAD = {
    "a column that is not there": (lambda f: burnrec.fit(f, user="who"), ValueError, 'expected a column "who"'),
    "no column of users": (lambda f: burnrec.fit(f.drop("user")), ValueError, "expected a column of user ids"),
    "NaN as a rating": (
        lambda f: burnrec.fit(f.with_columns(rating=polars.lit(float("nan")))),
        ValueError,
        "found NaN in row 1, expected a finite number",
    ),
    "no rating": (
        lambda f: burnrec.fit(f.with_columns(rating=polars.lit(None, dtype=polars.Float64))),
        ValueError,
        "found no rating in row 1",
    ),
    "no id": (
        lambda f: burnrec.fit(f.with_columns(user=polars.lit(None, dtype=polars.Int64))),
        ValueError,
        "found no user id in row 1",
    ),
    "a list as an id": (
        lambda f: burnrec.fit(f.with_columns(user=polars.lit([1]))),
        ValueError,
        'column "user" of type',
    ),
    "no rows": (lambda f: burnrec.fit(f[:0]), ValueError, "found 0 rows"),
    "an unknown model": (lambda f: burnrec.fit(f, "asl"), ValueError, 'did you mean "als"'),
    "an unknown setting": (lambda f: burnrec.fit(f, dims=3), ValueError, 'did you mean "dim"'),
    "a setting out of its range": (lambda f: burnrec.fit(f, dim=0), ValueError, "dim: found 0, expected at least 1"),
    "a setting that is no number": (lambda f: burnrec.fit(f, reg=float("nan")), ValueError, "settings"),
    "a setting of no type": (lambda f: burnrec.fit(f, reg=object()), TypeError, "found a object"),
    "a device that is none": (lambda f: burnrec.fit(f, device="tpu"), (ValueError, RuntimeError), "tpu"),
    "a list in place of a frame": (lambda f: burnrec.fit([1, 2]), TypeError, "found a list, expected a frame"),
    "a file that is not there": (lambda f: burnrec.fit("nowhere.csv"), OSError, "nowhere.csv"),
    "columns of prepared data": (
        lambda f: burnrec.fit(burnrec.prepare(f), user="user"),
        TypeError,
        "found a column for prepared data",
    ),
    "an unknown protocol": (lambda f: burnrec.prepare(f, split="leave-two-out"), ValueError, "leave-two-out"),
    "an unknown rule of duplicates": (lambda f: burnrec.prepare(f, duplicates="some"), ValueError, "some"),
    "a filter that leaves nothing": (lambda f: burnrec.prepare(f, min_user=10_000), ValueError, "found"),
    "a progress that is none": (lambda f: burnrec.fit(f, progress=3), TypeError, "found 3, expected True"),
    "too many threads": (lambda f: burnrec.fit(f, threads=10**6), ValueError, "expected at most 4096"),
    "no run": (lambda f: burnrec.load("nowhere"), FileNotFoundError, "nowhere"),
    "no prepared data": (lambda f: burnrec.open_prepared("nowhere"), OSError, "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(ratings, case):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message.replace("(", r"\(")):
        call(polars.DataFrame(ratings))


def test_bad_questions_are_refused(tmp_path, recommender):
    with pytest.raises(KeyError, match="is not in the run"):
        recommender.recommend(7)
    with pytest.raises(KeyError, match="item"):
        recommender.recommend(1010, only=["unknown"])
    with pytest.raises(KeyError):
        recommender.recommend_many([1010, 7])
    with pytest.raises(KeyError):
        recommender.similar("unknown")
    with pytest.raises(KeyError):
        recommender.score(7, "tt000")
    with pytest.raises(KeyError):
        recommender.fold_in(["unknown"])
    with pytest.raises(ValueError, match="empty history"):
        recommender.fold_in([])
    with pytest.raises(ValueError, match="found 1 of them, expected 2"):
        recommender.fold_in(["tt000", "tt001"], [1.0])
    with pytest.raises(ValueError, match="found the value 99"):
        recommender.fold_in(["tt000"], [99.0])
    with pytest.raises(ValueError, match="one for each user"):
        recommender.score([1010, 1010], ["tt000"])
    with pytest.raises(TypeError, match="found a float, expected an int or a str"):
        recommender.recommend(1.5)
    with pytest.raises(TypeError, match="expected a list of ids"):
        recommender.recommend(1010, only="tt000")
    with pytest.raises((OverflowError, TypeError)):
        recommender.recommend(1010, -1)
    popularity = burnrec.fit(polars.DataFrame({"user": [1, 1, 1, 2, 2, 2], "item": [1, 2, 3, 1, 2, 4]}), "popularity")
    with pytest.raises(NotImplementedError, match="popularity has no"):
        popularity.similar(1)
    (tmp_path / "file").write_text("x")
    with pytest.raises((ValueError, OSError)):
        recommender.save(tmp_path / "file" / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, OSError)):
        burnrec.load(tmp_path / "empty")


def test_a_damaged_run_is_refused(tmp_path, recommender):
    recommender.save(tmp_path / "run")
    weights = next((tmp_path / "run").glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-8] + b"damaged!")
    with pytest.raises(ValueError, match="weights"):
        burnrec.load(tmp_path / "run")
    weights.unlink()
    with pytest.raises(OSError, match="weights"):
        burnrec.load(tmp_path / "run")


@pytest.mark.parametrize("closed", ["run", "run/manifest.json"])
def test_a_closed_run_is_a_permission_error(tmp_path, recommender, closed):
    recommender.save(tmp_path / "run")
    tmp_path.chmod(0o755)
    # Permissions do not hold for root, and the folders above are root's alone: what is opened is named from within.
    code = (
        "import os, burnrec\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"
        "try:\n"
        "    print(burnrec.load('run').model)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )
    said = []
    for mode in (0o755, 0):
        (tmp_path / closed).chmod(mode)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        said.append(done.stdout.strip() or done.stderr)
    (tmp_path / closed).chmod(0o755)
    assert said == ["als", "PermissionError"]


def test_real_data_with_outside_ids(movietweetings, tmp_path):
    recommender = burnrec.fit(movietweetings, dim=16, epochs=5, out=tmp_path / "run")
    best = recommender.recommend(2, 5)
    assert len(best) == 5 and best[0].title
    assert isinstance(best[0].item, str) and len(best[0].item) == 7, "ids of IMDb have leading zeros"
    assert recommender.metrics["test"]["ndcg@10"] > 0.02
