"""The package as it is installed: its import, its threads, its allocator, its types and its program."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import polars
import pytest

import burnrec
from burnrec import _native

PROGRAM = Path(sysconfig.get_path("scripts")) / "burnrec"
HERE = Path(burnrec.__file__).parent


def run(*words, **options):
    return subprocess.run(
        [PROGRAM, *map(str, words)], capture_output=True, text=True, check=False, timeout=600, **options
    )


def python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, **options
    )


def test_it_depends_on_numpy_alone():
    needed = [name for name in requires("burnrec") if "extra ==" not in name]
    assert [re.match(r"[\w-]+", name)[0] for name in needed] == ["numpy"]
    others = ("scipy", "polars", "pandas", "pyarrow")
    code = f"import burnrec, burnrec.implicit, sys; print(*(name for name in {others} if name in sys.modules))"
    assert python(code).stdout.strip() == ""


def test_an_import_starts_no_thread_and_takes_no_time():
    code = "import os, burnrec, burnrec.implicit; print(len(os.listdir('/proc/self/task')))"
    one = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    assert python(code, env=one).stdout.strip() == "1"
    # Of the process, so that what else the machine does is not counted.
    code = "import time; s = time.process_time(); import burnrec; print(time.process_time() - s)"
    seconds = min(float(python(code).stdout) for _ in range(5))
    assert seconds < 0.3, f"import takes {seconds:.3f} s"


def test_the_allocator_is_that_of_the_host():
    assert b"mimalloc" not in Path(_native.__file__).read_bytes()


def test_types_are_said():
    assert (HERE / "py.typed").exists()
    stub = ast.parse((HERE / "_native.pyi").read_text())
    said = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {"spark"}
    there = {name for name in vars(_native) if not name.startswith("__")}
    assert said == there
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    for name, node in classes.items():
        said = {method.name for method in node.body if isinstance(method, ast.FunctionDef)} - {"__new__"}
        there = {method for method in vars(getattr(_native, name)) if not method.startswith("__")}
        assert said == there, name


def test_all_that_is_public_is_documented():
    import burnrec.implicit

    for module in (burnrec, burnrec.implicit):
        for name in module.__all__:
            value = getattr(module, name)
            assert name == "__version__" or value.__doc__, name
            for method, of in vars(value).items() if isinstance(value, type) else ():
                if not method.startswith("_") and callable(of):
                    assert of.__doc__, f"{name}.{method}"


def test_the_program_has_its_exit_codes(tmp_path):
    assert run("--version").stdout.startswith(f"burnrec {burnrec.__version__}")
    usage = run("train")
    assert (usage.returncode, usage.stdout) == (2, "") and "Usage: burnrec train" in usage.stderr
    missing = run("evaluate", tmp_path / "nowhere")
    assert missing.returncode == 1 and missing.stderr.startswith("error: ")
    as_module = subprocess.run(
        [sys.executable, "-m", "burnrec", "--version"], capture_output=True, text=True, check=True
    )
    assert as_module.stdout == run("--version").stdout


def test_the_program_and_the_library_write_the_same_runs(tmp_path):
    assert run("synth", "--users", 80, "--items", 60, "--rows", 2000, "--out", tmp_path / "ratings").returncode == 0
    assert run("prepare", tmp_path / "ratings", "--out", tmp_path / "prepared").returncode == 0
    config = tmp_path / "als.toml"
    config.write_text("model = 'als'\ndim = 8\nepochs = 3\n")
    done = run("train", config, "--data", tmp_path / "prepared", "--out", tmp_path / "program")
    assert done.returncode == 0, done.stderr
    burnrec.fit(burnrec.open_prepared(tmp_path / "prepared"), "als", dim=8, epochs=3, out=tmp_path / "library")
    weights = [next((tmp_path / run).glob("weights-*")) for run in ("program", "library")]
    assert weights[0].name == weights[1].name and weights[0].read_bytes() == weights[1].read_bytes()
    best = run("recommend", tmp_path / "library", "--user", 7, "-k", 3, "--json")
    items = [item.item for item in burnrec.load(tmp_path / "program").recommend(7, 3)]
    assert all(f'"item":{item}' in best.stdout for item in items), best.stdout


def test_a_signal_stops_the_program(tmp_path):
    random = np.random.default_rng(3)
    columns = {"user": random.integers(200, size=9000), "item": random.integers(300, size=9000)}
    burnrec.prepare(polars.DataFrame(columns)).save(tmp_path / "prepared")
    config = tmp_path / "config.toml"
    config.write_text("model = 'als'\ndim = 64\nepochs = 100000\n")
    words = [PROGRAM, "train", config, "--data", tmp_path / "prepared", "--out", tmp_path / "run"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert "als epoch 1/" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 130, told
    assert f"burnrec train {config} --data" in told and "--resume" in told
    os.mkfifo(tmp_path / "ratings.csv")
    child = subprocess.Popen([PROGRAM, "prepare", tmp_path / "ratings.csv", "--out", tmp_path / "none"])
    # Opens as soon as the program reads, which it then does until all is written.
    with open(tmp_path / "ratings.csv", "w"):
        child.send_signal(signal.SIGINT)
        code = child.wait(timeout=120)
    assert code == -signal.SIGINT, "a command that cannot stop cleanly ends by the signal"


def test_a_bench_shows_itself(tmp_path, ratings):
    config = tmp_path / "bench.toml"
    (tmp_path / "als.toml").write_text("model = 'als'\ndim = 4\nepochs = 2\n")
    (tmp_path / "popularity.toml").write_text("model = 'popularity'\n")
    config.write_text(
        "seeds = [0]\n[ranking]\nsplit = { protocol = 'leave-one-out' }\nmetric = 'ndcg@10'\nagainst = 'als'\n"
        "[[ranking.case]]\nname = 'als'\nlabel = 'ALS'\nconfig = 'als.toml'\n"
        "[[ranking.case]]\nname = 'popularity'\nlabel = 'Popularity'\nconfig = 'popularity.toml'\n"
    )
    report = burnrec.bench(polars.DataFrame(ratings), config, out=tmp_path / "bench")
    assert report._repr_html_().startswith('<iframe srcdoc="&lt;!')
    assert "Popularity" in report.text and report.data
    assert repr(report) == f"<BenchReport '{tmp_path}/bench/report.html'>"
    with pytest.raises(TypeError, match="found a int"):
        burnrec.bench(3, config, out=tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        burnrec.BenchReport(tmp_path)


BENCH = "seeds = [0]\n[ranking]\nsplit = { protocol = 'leave-one-out' }\nmetric = 'ndcg@10'\nagainst = 'als'\n"
BENCH += "[[ranking.case]]\nname = 'als'\nlabel = 'ALS'\nconfig = 'als.toml'\n"


@pytest.mark.parametrize("progress", [False, True])
def test_the_failures_of_a_bench_are_the_programs(tmp_path, ratings, progress, capfd):
    frame, out = polars.DataFrame(ratings), {"out": tmp_path / "bench", "progress": progress}
    with pytest.raises(FileNotFoundError, match="nowhere.csv: "):
        burnrec.bench("nowhere.csv", **out)
    with pytest.raises(FileNotFoundError, match="nowhere.toml: "):
        burnrec.bench(frame, "nowhere.toml", **out)
    (tmp_path / "bad.toml").write_text("seeds = 'none'\n")
    with pytest.raises(ValueError, match="expected a sequence"):
        burnrec.bench(frame, tmp_path / "bad.toml", **out)
    assert ("error: " in capfd.readouterr().err) == progress


def test_ctrl_c_stops_a_bench_where_polars_is_imported(tmp_path, ratings):
    (tmp_path / "als.toml").write_text("model = 'als'\ndim = 64\nepochs = 100000\n")
    (tmp_path / "bench.toml").write_text(BENCH)
    polars.DataFrame(ratings).write_parquet(tmp_path / "ratings.parquet")
    code = (
        "import burnrec, os, polars\n"
        "polars.DataFrame({'a': [1]}).select('a')\n"
        "try:\n"
        "    burnrec.bench('ratings.parquet', 'bench.toml', out='bench', progress=True)\n"
        "except KeyboardInterrupt:\n"
        "    try:\n"
        "        os.waitpid(-1, os.WNOHANG)\n"
        "    except ChildProcessError:\n"
        "        print('stopped, and no child is left')\n"
    )
    words = [sys.executable, "-c", code]
    # In a session of its own, so that nothing but the signal below reaches it.
    child = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    # Trains by then.
    while "als epoch 1/" not in (line := child.stderr.readline()):
        assert line, "the bench ended"
    child.send_signal(signal.SIGINT)
    try:
        said, told = child.communicate(timeout=90)
    finally:
        child.kill()
    assert said == "stopped, and no child is left\n", told
