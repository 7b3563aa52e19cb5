"""Compares `burnrec.implicit` with the implicit package, in one process, on one matrix; prints one JSON object.

Both are asked by the same calls with the same settings, seed and threads, in turns. The fit includes what each does to the
matrix; losses are by `als_reference.objective`, in float64. Lists are asked of both for the same factors: those that implicit
has found. Memory is that of two more processes, one for each package: the most beyond what reading the matrix took.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time

# before numpy: a threaded BLAS under the package's own threads makes it up to ten times slower
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from als_reference import Problem, implicit_package, objective
from peer_io import emit, machine, note, peak_memory_bytes, read_columns, versions

NAMES = ("burnrec", "implicit")


def package(name):
    """The package's modules `als` and `nearest_neighbours`."""
    if name == "burnrec":
        import burnrec.implicit as found
    else:
        import implicit as found
        import implicit.als
        import implicit.nearest_neighbours
    return found


def read_rows(path):
    """Ratings with their ids numbered from 0, in order."""
    users, items, values = read_columns(path)
    (of_users, users), (of_items, items) = (np.unique(ids, return_inverse=True) for ids in (users, items))
    return Problem(users, items, values, len(of_users), len(of_items))


def matrix(problem):
    values = problem.values.astype(np.float32)
    return sp.csr_matrix((values, (problem.users, problem.items)), shape=(problem.n_users, problem.n_items))


def timed(work):
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def model(name, args, **settings):
    settings = {"factors": args.dim, "regularization": args.reg, "alpha": args.alpha, "iterations": args.epochs} | settings
    return package(name).als.AlternatingLeastSquares(**settings, random_state=args.seed, num_threads=args.threads)


def fits(args, user_items, **settings):
    """Median seconds and the last model of each package."""
    seconds, models = {name: [] for name in NAMES}, {}
    for _ in range(args.repeats):
        for name in NAMES:
            models[name] = model(name, args, **settings)
            taken, _ = timed(lambda: models[name].fit(user_items, show_progress=False))
            seconds[name].append(taken)
    return {name: statistics.median(taken) for name, taken in seconds.items()}, models


def losses(args, problem, models):
    convention = implicit_package(args.alpha, args.reg)
    return {
        name: objective(convention, problem, np.asarray(found.user_factors), np.asarray(found.item_factors))["total"]
        for name, found in models.items()
    }


def lists(args, user_items, models):
    """Median seconds of the ten best of all users by both from implicit's factors, and how alike they are."""
    ours, theirs = (models[name] for name in NAMES)
    asked = model("burnrec", args)
    asked.user_factors, asked.item_factors = theirs.user_factors, theirs.item_factors
    asked._fitted_shape = ours._fitted_shape
    users = np.arange(user_items.shape[0])
    seconds, found = {name: [] for name in NAMES}, {}
    for _ in range(args.repeats):
        for name, of in zip(NAMES, (asked, theirs)):
            taken, found[name] = timed(lambda: of.recommend(users, user_items, N=10))
            seconds[name].append(taken)
    (ids, scores), (other_ids, other_scores) = (found[name] for name in NAMES)
    alike = {
        "same_items": float((ids == other_ids).mean()),
        "largest_difference_of_scores": float(np.abs(scores - other_scores).max()),
    }
    return {name: statistics.median(taken) for name, taken in seconds.items()}, alike


def neighbours(args, user_items):
    """Seconds of item-item similarities, and the largest difference beside the largest value."""
    results = {}
    for kind in ("CosineRecommender", "TFIDFRecommender", "BM25Recommender"):
        seconds, found = {}, {}
        for name in NAMES:
            of = getattr(package(name).nearest_neighbours, kind)(K=20, num_threads=args.threads)
            seconds[name], _ = timed(lambda: of.fit(user_items, show_progress=False))
            found[name] = np.sort(of.similarity.toarray(), axis=1)[:, -20:]
        ours, theirs = (found[name] for name in NAMES)
        difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        results[kind] = {"seconds": seconds, "largest_difference": difference}
    return results


def memory(args, name):
    """The bytes that one fit takes beyond the matrix, in a process of its own."""
    words = [sys.executable, __file__, args.train, "--memory-of", name]
    words += [f"--{key}={getattr(args, key)}" for key in ("dim", "reg", "alpha", "epochs", "threads", "seed")]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def measure_memory(args):
    user_items = matrix(read_rows(args.train))
    package(args.memory_of)
    # What reading has left goes back to the system, which forgets the most that the process has held.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")
    before = peak_memory_bytes()
    model(args.memory_of, args).fit(user_items, show_progress=False)
    of_matrix = user_items.data.nbytes + user_items.indices.nbytes + user_items.indptr.nbytes
    emit({"beyond_the_matrix_bytes": peak_memory_bytes() - before, "matrix_bytes": of_matrix})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", help="a ratings file: user, item and value, with any integers as ids")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--reg", type=float, default=0.01)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    if args.memory_of:
        measure_memory(args)
        return
    problem = read_rows(args.train)
    user_items = matrix(problem)
    record = {"config": vars(args), "ratings": len(problem.users), "shape": list(user_items.shape)}
    for solver, settings in (("cg", {}), ("exact", {"use_cg": False})):
        seconds, models = fits(args, user_items, **settings)
        record[solver] = {"fit_seconds": seconds, "loss": losses(args, problem, models)}
        record[solver]["ratio"] = seconds["burnrec"] / seconds["implicit"]
        note(f"{solver}: {record[solver]}")
        if solver == "cg":
            seconds, alike = lists(args, user_items, models)
            record["recommend"] = {"seconds": seconds, "ratio": seconds["burnrec"] / seconds["implicit"], **alike}
            note(f"recommend: {record['recommend']}")
    record["neighbours"] = neighbours(args, user_items)
    record["memory"] = {name: memory(args, name) for name in NAMES}
    emit({**record, "versions": versions("burnrec", "implicit", "numpy", "scipy"), "machine": machine()})


if __name__ == "__main__":
    main()
