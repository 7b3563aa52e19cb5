"""Fits the implicit package's item-item recommenders or its BPR (native CPU path) and prints one JSON object: seconds, versions.

* Nearest neighbours (`implicit/nearest_neighbours.py`): rows of items weighted by cosine, tf-idf or BM25, the K largest products of
  each kept; a user's score of an item is the product of the user's row and the item-item matrix.
* BPR (`implicit/cpu/bpr.pyx`): stochastic gradient ascent on pairs of a row's item and a drawn one (Rendle et al. 2009), item biases
  as one more column.
"""

import argparse
import os
import time

# before numpy: a threaded BLAS under the package's own threads makes it up to ten times slower
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import scipy.sparse as sp
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from peer_io import (
    add_scoring,
    check_scoring,
    draw_pairs,
    emit,
    least_seconds,
    machine,
    note,
    peak_memory_bytes,
    read_problem,
    read_users,
    save_tensors,
    versions,
)

PAIRS = 1_000_000  # to time scoring by
BLOCK = 512  # users whose scores are dense at a time


def recommender(args):
    """The package's recommender of the settings."""
    if args.model == "bpr":
        return BayesianPersonalizedRanking(
            factors=args.dim, learning_rate=args.learning_rate, regularization=args.reg, iterations=args.epochs,
            num_threads=args.threads, random_state=args.seed,
        )
    kinds = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender}
    if args.model in kinds:
        return kinds[args.model](K=args.k, num_threads=args.threads)
    return BM25Recommender(K=args.k, K1=args.k1, B=args.b, num_threads=args.threads)


def scores(model, matrix, users):
    """`[users, items]`, f32."""
    if isinstance(model, BayesianPersonalizedRanking):
        return model.user_factors[users] @ model.item_factors.T
    blocks = [matrix[users[at:at + BLOCK]] @ model.similarity for at in range(0, len(users), BLOCK)]
    return np.concatenate([block.toarray().astype(np.float32) for block in blocks])


def inference(model, matrix, users):
    """Pairs a second where scores are dot products; users a second by `recommend`."""
    found = {"recommend_users_per_second": len(users) / least_seconds(
        lambda: model.recommend(users, matrix[users], N=10, filter_already_liked_items=True))}
    if isinstance(model, BayesianPersonalizedRanking):
        pairs = draw_pairs(PAIRS, *matrix.shape)
        seconds = least_seconds(
            lambda: np.einsum("ij,ij->i", model.user_factors[pairs[0]], model.item_factors[pairs[1]]))
        found["pairs_per_second"] = PAIRS / seconds
    return found


def arguments():
    parser = argparse.ArgumentParser(description="The implicit package's nearest neighbours and BPR.")
    parser.add_argument("--train", required=True, help="user,item,value as CSV, or .npz with user, item, value")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--model", choices=["cosine", "tfidf", "bm25", "bpr"], required=True)
    parser.add_argument("--k", type=int, default=20, help="neighbours of an item")
    parser.add_argument("--k1", type=float, default=1.2, help="of BM25")
    parser.add_argument("--b", type=float, default=0.75, help="of BM25")
    parser.add_argument("--dim", type=int, default=100, help="of BPR, as what follows")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--reg", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--seed", type=int, default=0)
    add_scoring(parser)
    args = parser.parse_args()
    check_scoring(args)
    return args


def main():
    args = arguments()
    problem = read_problem(args.train, args.n_users, args.n_items)
    note(f"{len(problem.users)} rows, {problem.n_users} users, {problem.n_items} items")
    users = read_users(args.score_users, problem.n_users)
    matrix = sp.csr_matrix(
        (problem.values.astype(np.float32), (problem.users, problem.items)),
        shape=(problem.n_users, problem.n_items),
    )
    # BPR asks what is liked, not how much.
    matrix.data[:] = 1 if args.model == "bpr" else matrix.data
    model = recommender(args)
    start = time.perf_counter()
    model.fit(matrix, show_progress=False)
    seconds = time.perf_counter() - start
    note(f"fit: {seconds:.3f} s")
    epochs = args.epochs if args.model == "bpr" else 1
    factors = args.model == "bpr"
    record = {
        "peer": "implicit",
        "config": {**vars(args), "n_users": problem.n_users, "n_items": problem.n_items},
        "fit_seconds": seconds,
        "epochs": epochs,
        "samples_per_second": epochs * matrix.nnz / seconds,
        "parameters": model.user_factors.size + model.item_factors.size if factors else model.similarity.nnz,
        "peak_memory_bytes": peak_memory_bytes(),
        "device": "cpu",
        "threads": args.threads or machine()["cores"],
        "versions": versions("implicit", "numpy", "scipy"),
        "machine": machine(),
    }
    if args.scores:
        record["inference"] = inference(model, matrix, users)
        save_tensors(args.scores, {"scores": scores(model, matrix, users)})
    emit(record)


if __name__ == "__main__":
    main()
