"""Exact ALS for the objective of Rendle et al. 2021 on a small seeded problem: losses per sweep, factors.

"Revisiting the Performance of iALS on Item Recommendation Benchmarks" (arXiv 2110.14037), its objective
with the frequency-scaled regulariser; alpha0 is our `unobserved_weight`, nu our `reg_exponent`:

    L = sum_obs (1 - s)^2 + alpha0 sum_all s^2
      + reg (sum_u (n_u + alpha0 n_items)^nu |x_u|^2 + sum_i (n_i + alpha0 n_users)^nu |y_i|^2)

An observed cell is in both sums. Written from the equations, in float64; see `als_reference.py`.
"""

import argparse

import numpy as np
from als_reference import Problem, rendle, run_sweeps
from peer_io import emit, versions


def random_problem(n_users, n_items, density, rng):
    """Distinct random pairs with half-star values; every user and every item has at least one rating."""
    seen = rng.random((n_users, n_items)) < density
    for user in np.flatnonzero(~seen.any(axis=1)):
        seen[user, rng.integers(n_items)] = True
    for item in np.flatnonzero(~seen.any(axis=0)):
        seen[rng.integers(n_users), item] = True
    users, items = np.nonzero(seen)
    values = rng.integers(1, 11, size=len(users)) / 2.0
    return Problem(users, items, values, n_users, n_items)


def random_factors(problem, dim, rng, digits=9):
    """Initial factors, normal with deviation 0.3, rounded so that a text file can hold them exactly."""
    return tuple(
        np.round(0.3 * rng.standard_normal((rows, dim)), digits) for rows in (problem.n_users, problem.n_items)
    )


def main():
    parser = argparse.ArgumentParser(description="Reference losses and factors of Rendle's iALS objective.")
    parser.add_argument("--n-users", type=int, default=12)
    parser.add_argument("--n-items", type=int, default=9)
    parser.add_argument("--density", type=float, default=0.35)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--reg", type=float, default=0.05)
    parser.add_argument("--unobserved-weight", type=float, default=0.3)
    parser.add_argument("--reg-exponent", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    problem = random_problem(args.n_users, args.n_items, args.density, rng)
    initial = random_factors(problem, args.dim, rng)
    convention = rendle(args.unobserved_weight, args.reg, args.reg_exponent)
    losses, user_factors, item_factors = run_sweeps(convention, problem, *initial, args.epochs)
    emit(
        {
            "config": vars(args),
            "ratings": len(problem.users),
            "losses": losses,
            "user_factors": user_factors.tolist(),
            "item_factors": item_factors.tolist(),
            "versions": versions("numpy"),
        }
    )


if __name__ == "__main__":
    main()
