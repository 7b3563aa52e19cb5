"""What the peers' scripts share: ratings, factors and scores in files, pace and memory, one JSON object on stdout."""

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from als_reference import Problem


def fail(message):
    """Ends the script with status 1 and one line on stderr."""
    sys.exit(f"error: {message}")


def sniff(path):
    """(separator, has a header line) of a ratings file: `::`, tab or comma."""
    path = Path(path)
    if not path.is_file():
        fail(f"{path}: no such file")
    with path.open(encoding="utf-8") as lines:
        first = lines.readline().strip()
    for separator in ("::", "\t", ","):
        if separator in first:
            head = first.split(separator)[0]
            return separator, not head.lstrip("-").isdigit()
    fail(f"{path}: line 1: found {first!r}, expected columns separated by '::', a tab or a comma")


def read_columns(path):
    """Users, items (int64) and values (float64) of a ratings file or of an .npz with these arrays."""
    import pandas as pd

    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["user"], arrays["item"], arrays["value"].astype(np.float64)
    separator, header = sniff(path)
    # pandas' fast parser takes one-byte separators: with `:` every second column of a `::` file is empty
    step = len(separator)
    frame = pd.read_csv(
        path,
        sep=separator[0],
        header=0 if header else None,
        usecols=[0, step, 2 * step],
    )
    frame.columns = ["user", "item", "value"]
    for name, kinds in (("user", "iu"), ("item", "iu"), ("value", "iuf")):
        if frame[name].dtype.kind not in kinds or frame[name].isna().any():
            fail(f"{path}: column {name}: found text or empty fields, expected numbers")
    return (
        frame["user"].to_numpy(np.int64),
        frame["item"].to_numpy(np.int64),
        frame["value"].to_numpy(np.float64),
    )


def read_problem(path, n_users=None, n_items=None):
    """Ratings whose ids already are rows counting from 0."""
    users, items, values = read_columns(path)
    n_users = n_users or int(users.max()) + 1
    n_items = n_items or int(items.max()) + 1
    for name, rows, limit in (("user", users, n_users), ("item", items, n_items)):
        if rows.min() < 0 or rows.max() >= limit:
            fail(f"{path}: {name}: found rows {rows.min()} to {rows.max()}, expected 0 to {limit - 1}")
    return Problem(users, items, values, n_users, n_items)


def load_factors(path, n_users, n_items, dim):
    """`user_factors` and `item_factors` of a safetensors file, f32, shapes checked."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    factors = []
    for name, rows in (("user_factors", n_users), ("item_factors", n_items)):
        if name not in tensors:
            fail(f"{path}: no tensor {name}; found {sorted(tensors)}")
        if tensors[name].shape != (rows, dim):
            fail(f"{path}: {name}: found shape {tensors[name].shape}, expected {(rows, dim)}")
        factors.append(np.ascontiguousarray(tensors[name], dtype=np.float32))
    return tuple(factors)


def save_tensors(path, tensors):
    """Writes arrays by name as f32 safetensors, by rename so that no half file is left."""
    from safetensors.numpy import save_file

    part = f"{path}.part"
    try:
        save_file({name: np.ascontiguousarray(array, dtype=np.float32) for name, array in tensors.items()}, part)
        os.replace(part, path)
    except Exception as error:
        Path(part).unlink(missing_ok=True)
        fail(f"{path}: cannot be written: {error}")


def save_factors(path, user_factors, item_factors):
    """Writes both matrices as `user_factors` and `item_factors`."""
    save_tensors(path, {"user_factors": user_factors, "item_factors": item_factors})


def read_users(path, n_users):
    """User rows of a file with one a line, in its order; without a file all users."""
    if path is None:
        return np.arange(n_users)
    path = Path(path)
    if not path.is_file():
        fail(f"{path}: no such file")
    users = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip().isdecimal() or int(line) >= n_users:
            fail(f"{path}: line {number}: found {line!r}, expected a user row from 0 to {n_users - 1}")
        users.append(int(line))
    if not users:
        fail(f"{path}: found no line, expected a user row on each")
    return np.array(users)


def load_scores(path, n_rows, n_items):
    """`scores` [n_rows, n_items] of a safetensors file, shape checked."""
    from safetensors.numpy import load_file

    if not Path(path).is_file():
        fail(f"{path}: no such file")
    tensors = load_file(path)
    if "scores" not in tensors:
        fail(f"{path}: no tensor scores; found {sorted(tensors)}")
    if tensors["scores"].shape != (n_rows, n_items):
        fail(f"{path}: scores: found shape {tensors['scores'].shape}, expected {(n_rows, n_items)}")
    return tensors["scores"]


def add_scoring(parser):
    """The options of a script that also scores."""
    parser.add_argument("--scores", help="safetensors for `scores` [users, items], f32, a row for each user to score")
    parser.add_argument("--score-users", help="the users to score, a row number a line; default: all, ascending")


def check_scoring(args):
    """Refuses before the fit what would fail after it."""
    if args.score_users and not args.scores:
        fail("--score-users: found no --scores FILE, expected one to write to")
    if args.scores and not Path(args.scores).absolute().parent.is_dir():
        fail(f"{args.scores}: cannot be written: its folder does not exist")


def draw_pairs(n, n_users, n_items, seed=0):
    """Users and items [n] of pairs drawn uniformly, to time scoring by."""
    rng = np.random.default_rng(seed)
    return rng.integers(n_users, size=n), rng.integers(n_items, size=n)


def least_seconds(work, rounds=3):
    """The shortest of several rounds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def peak_memory_bytes(pid=None):
    """The most memory that this process has held, or the one with this id."""
    # not getrusage's ru_maxrss: it has what the process that started this one held
    status = Path(f"/proc/{pid or os.getpid()}/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(peak.split()[1])


def versions(*packages):
    """Versions of Python and of the named packages: no figure is worth keeping without them."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def machine():
    """The processor's name and the cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return {"cpu": name, "cores": len(os.sched_getaffinity(0))}


def note(message):
    """Progress, on stderr."""
    print(message, file=sys.stderr, flush=True)


def emit(record):
    """The script's one JSON object, on stdout."""
    print(json.dumps(record))
