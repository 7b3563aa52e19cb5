"""Computes an item-item matrix by `item_item_reference.py` and prints one JSON object: seconds, versions."""

import argparse
import io
import json
import warnings
from contextlib import redirect_stdout

# first, as it sets what numpy's BLAS is
from item_item_reference import solve

import numpy as np
from peer_io import emit, machine, note, read_problem, save_tensors, versions


def blas():
    """What numpy says of its BLAS."""
    text = io.StringIO()
    with redirect_stdout(text):
        np.show_config()
    lines = (line.strip() for line in text.getvalue().splitlines())
    return next((line for line in lines if line.startswith("openblas configuration")), None)


def main():
    parser = argparse.ArgumentParser(description="An item-item matrix by numpy or the implicit package.")
    parser.add_argument("--train", required=True, help="user,item,value as CSV, or .npz with user, item, value")
    parser.add_argument("--n-users", type=int, help="default: largest row + 1")
    parser.add_argument("--n-items", type=int, help="default: largest row + 1")
    parser.add_argument("--config", required=True, help="burnrec's settings as JSON: model and its keys")
    parser.add_argument("--threads", type=int, default=0, help="of implicit; 0: one per core")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", help="safetensors for `matrix` [n_items, n_items]")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="Method expects CSR")
    problem = read_problem(args.train, args.n_users, args.n_items)
    note(f"{len(problem.users)} rows, {problem.n_users} users, {problem.n_items} items")
    matrix, seconds = solve(problem, json.loads(args.config), args.threads, args.repeats)
    if args.out:
        save_tensors(args.out, {"matrix": matrix})
    emit({
        "config": vars(args),
        "fit_seconds": min(seconds),
        "fit_seconds_all": seconds,
        "blas": blas(),
        "versions": versions("implicit", "numpy", "scipy"),
        "machine": machine(),
    })


if __name__ == "__main__":
    main()
