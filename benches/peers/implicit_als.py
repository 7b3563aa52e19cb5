"""Fits the implicit package's ALS (native CPU path) and prints one JSON object: seconds, losses, versions.

What the package does, read in 0.7 (`implicit/cpu/als.py`, `implicit/cpu/_als.pyx`):

* Confidence. The stored value times `alpha` is the confidence itself; nothing is added to it. A row's system
  is (Y'Y + sum_obs (c - 1) y y' + reg I) x = sum_obs c y: the 1 is subtracted because Y'Y already counts each
  cell with weight 1. So an observed cell weighs c = alpha r (below 1 it weighs less than an unobserved one),
  an unobserved cell 1. A negative value means "disliked": target 0, weight |alpha r|.
* Objective, `als_reference.implicit_package`:
      L = sum_obs c (1 - s)^2 + sum_unobserved s^2 + reg (sum_u |x_u|^2 + sum_i |y_i|^2)
  The regulariser is not scaled by counts. The package's own loss (`calculate_training_loss`) is
  L / (sum_obs c + n_users n_items - n_observed); printed as `package_loss`, L as `loss.total`.
* Sweep. Users first for the initial items, then items for the new users. `--order items-first` gives it the
  transposed matrix, and with it burnrec's order; the objective is symmetric, so nothing else changes.
* Start. Both factor matrices uniform on [0, 0.01), users drawn before items.
* A row without ratings becomes zero. `cg` takes 3 unpreconditioned steps from the row's last value (it stops
  at a squared residual under 1e-20); `cholesky` is LAPACK's `posv`. Both in the factors' type, f32 here.
* A pair that occurs twice is summed when the matrix is built; the objective here wants each pair once.
"""

import argparse
import os
import statistics
import time

# before numpy: a threaded BLAS under the package's own threads makes it up to ten times slower
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from als_reference import implicit_package, objective
from implicit.cpu import _als
from implicit.cpu.als import AlternatingLeastSquares
from peer_io import (
    add_scoring,
    check_scoring,
    draw_pairs,
    emit,
    least_seconds,
    load_factors,
    machine,
    note,
    peak_memory_bytes,
    read_problem,
    read_users,
    save_factors,
    save_tensors,
    versions,
)

PAIRS = 1_000_000  # to time scoring by


def fit(problem, dim, reg, alpha, epochs, *, solver="cg", cg_steps=3, threads=0, seed=0, order="users-first",
        initial=None, after_epoch=None, dtype=np.float32):
    """Fits once; returns (user_factors, item_factors, fit_seconds, seconds of each sweep alone).

    `initial` is (user_factors, item_factors); `after_epoch(epoch, user_factors, item_factors)` is called
    after each sweep and its time is taken out of both figures.
    """
    matrix = sp.csr_matrix(
        (problem.values.astype(np.float32), (problem.users, problem.items)),
        shape=(problem.n_users, problem.n_items),
    )
    flipped = order == "items-first"
    matrix = matrix.T.tocsr() if flipped else matrix
    model = AlternatingLeastSquares(
        factors=dim, regularization=reg, alpha=alpha, iterations=epochs, use_cg=solver == "cg",
        num_threads=threads, random_state=seed, dtype=dtype,
    )
    model.cg_steps = cg_steps
    if initial is not None:
        first, second = reversed(initial) if flipped else initial
        model.user_factors, model.item_factors = first.astype(dtype), second.astype(dtype)

    def factors():
        pair = (model.user_factors, model.item_factors)
        return pair[::-1] if flipped else pair

    sweeps, outside = [], [0.0]

    def callback(epoch, seconds, _loss):
        start = time.perf_counter()
        sweeps.append(seconds)
        if after_epoch:
            after_epoch(epoch, *factors())
        outside[0] += time.perf_counter() - start

    start = time.perf_counter()
    model.fit(matrix, show_progress=False, callback=callback)
    fit_seconds = time.perf_counter() - start - outside[0]
    return *factors(), fit_seconds, sweeps


def package_loss(problem, user_factors, item_factors, reg, alpha, threads):
    """The package's own normalised loss of given factors."""
    matrix = sp.csr_matrix(
        (alpha * problem.values.astype(np.float32), (problem.users, problem.items)),
        shape=(problem.n_users, problem.n_items), dtype=np.float32,
    )
    return _als.calculate_loss(matrix, user_factors, item_factors, reg, num_threads=threads)


def recommender(problem, user_factors, item_factors, users, k, threads):
    """The top k for these users in one call, seen items left out, as a function without arguments."""
    matrix = sp.csr_matrix(
        (problem.values.astype(np.float32), (problem.users, problem.items)),
        shape=(problem.n_users, problem.n_items),
    )
    model = AlternatingLeastSquares(factors=user_factors.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = user_factors, item_factors
    seen = matrix[users]
    return lambda: model.recommend(users, seen, N=k, filter_already_liked_items=True)


def recommend_seconds(problem, user_factors, item_factors, k, threads, repeats=5):
    """Median seconds of the top k for all users."""
    everyone = np.arange(problem.n_users)
    recommend = recommender(problem, user_factors, item_factors, everyone, k, threads)
    return statistics.median(least_seconds(recommend, rounds=1) for _ in range(repeats))


def inference(problem, user_factors, item_factors, users, threads):
    """Pairs a second by numpy's dot products, as the package has no call for pairs; users a second by `recommend`."""
    pairs = draw_pairs(PAIRS, problem.n_users, problem.n_items)
    score = least_seconds(lambda: np.einsum("ij,ij->i", user_factors[pairs[0]], item_factors[pairs[1]]))
    recommend = least_seconds(recommender(problem, user_factors, item_factors, users, 10, threads))
    return {"pairs_per_second": PAIRS / score, "recommend_users_per_second": len(users) / recommend}


def arguments():
    parser = argparse.ArgumentParser(description="The implicit package's ALS on a ratings file of 0-based rows.")
    parser.add_argument("--train", required=True, help="user,item,value as CSV, or .npz with user, item, value")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--reg", type=float, default=0.01)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--solver", choices=["cg", "cholesky"], default="cg")
    parser.add_argument("--order", choices=["users-first", "items-first"], default="users-first")
    parser.add_argument("--init", help="safetensors with the initial user_factors and item_factors")
    parser.add_argument("--out", help="safetensors for the final factors")
    parser.add_argument("--loss-every-epoch", action="store_true", help="not counted in the fit's seconds")
    parser.add_argument("--recommend-k", type=int, help="also time the top K for all users")
    parser.add_argument("--repeats", type=int, default=1, help="fits; the median time is reported")
    add_scoring(parser)
    args = parser.parse_args()
    check_scoring(args)
    return args


def main():
    args = arguments()
    problem = read_problem(args.train, args.n_users, args.n_items)
    note(f"{len(problem.users)} ratings, {problem.n_users} users, {problem.n_items} items")
    users = read_users(args.score_users, problem.n_users)
    convention = implicit_package(args.alpha, args.reg)
    initial = load_factors(args.init, problem.n_users, problem.n_items, args.dim) if args.init else None
    losses = []

    def after_epoch(epoch, user_factors, item_factors):
        losses.append(objective(convention, problem, user_factors, item_factors)["total"])
        note(f"epoch {epoch + 1}: loss {losses[-1]:.3f}")

    fits = []
    for repeat in range(args.repeats):
        user_factors, item_factors, fit_seconds, sweeps = fit(
            problem, args.dim, args.reg, args.alpha, args.epochs, solver=args.solver, threads=args.threads,
            seed=args.seed, order=args.order, initial=initial,
            after_epoch=after_epoch if args.loss_every_epoch and repeat == 0 else None,
        )
        fits.append((fit_seconds, sum(sweeps)))
        note(f"fit {repeat + 1}: {fit_seconds:.3f} s")
    peak = peak_memory_bytes()
    record = {
        "peer": "implicit",
        "config": {**vars(args), "n_users": problem.n_users, "n_items": problem.n_items},
        "ratings": len(problem.users),
        "fit_seconds": statistics.median(seconds for seconds, _ in fits),
        "fit_seconds_all": [seconds for seconds, _ in fits],
        "sweep_seconds": statistics.median(seconds for _, seconds in fits),
        "epochs": args.epochs,
        "epoch_seconds": sweeps,
        "samples_per_second": args.epochs * len(problem.users) / statistics.median(seconds for _, seconds in fits),
        "parameters": user_factors.size + item_factors.size,
        "peak_memory_bytes": peak,
        "device": "cpu",
        "threads": args.threads or machine()["cores"],
        "loss": objective(convention, problem, user_factors, item_factors),
        "package_loss": package_loss(problem, user_factors, item_factors, args.reg, args.alpha, args.threads),
        "losses": losses or None,
        "versions": versions("implicit", "numpy", "scipy"),
        "machine": machine(),
    }
    if args.recommend_k:
        record["recommend_seconds"] = recommend_seconds(
            problem, user_factors, item_factors, args.recommend_k, args.threads
        )
    if args.scores:
        record["inference"] = inference(problem, user_factors, item_factors, users, args.threads)
        save_tensors(args.scores, {"scores": user_factors[users] @ item_factors.T})
    if args.out:
        save_factors(args.out, user_factors, item_factors)
    emit(record)


if __name__ == "__main__":
    main()
