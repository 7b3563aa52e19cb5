"""The ALS objectives in plain numpy, float64: slow, short and meant to be read beside the equations.

A convention is a choice of weights, of the cells that count as zeros, and of the regulariser's scale:

    explicit   L = sum_obs (r - s)^2 + R
    implicit   L = sum_obs w (1 - s)^2 + unobserved_weight * sum_zeros s^2 + R
               R = sum_u reg_u |x_u|^2 + sum_i reg_i |y_i|^2,   s = x_u . y_i

`weight`      alpha_value: w = alpha r | one_plus_alpha_value: w = 1 + alpha r | one: w = 1
`zero_cells`  unobserved: the sum of s^2 leaves the observed cells out | all: it runs over every cell
`reg_scaling` none: reg_u = reg | count: reg n_u | frequency: reg (n_u + unobserved_weight n_items)^reg_exponent
              (n_u ratings of the user; for an item n_i and n_users)

A sweep solves all items for the users, then all users for the items, each row by its normal equations.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Convention:
    """One objective; the defaults are those of the implicit package."""

    feedback: str = "implicit"
    weight: str = "alpha_value"
    zero_cells: str = "unobserved"
    alpha: float = 1.0
    unobserved_weight: float = 1.0
    reg: float = 0.01
    reg_scaling: str = "none"
    reg_exponent: float = 1.0
    nonnegative: bool = False

    def as_dict(self):
        """The fields as a plain dictionary, for JSON."""
        return asdict(self)

    def targets_and_weights(self, values):
        """What an observed cell should score, and the weight of its squared error."""
        values = np.asarray(values, dtype=np.float64)
        ones = np.ones_like(values)
        if self.feedback == "explicit":
            return values, ones
        weights = {
            "alpha_value": self.alpha * values,
            "one_plus_alpha_value": 1.0 + self.alpha * values,
            "one": ones,
        }[self.weight]
        return ones, weights

    def row_regs(self, counts, n_others):
        """The regulariser of each row: `counts` ratings a row, `n_others` rows on the other side."""
        counts = np.asarray(counts, dtype=np.float64)
        if self.reg_scaling == "none":
            return np.full(counts.shape, self.reg)
        if self.reg_scaling == "count":
            return self.reg * counts
        return self.reg * (counts + self.unobserved_weight * n_others) ** self.reg_exponent


def implicit_package(alpha, reg):
    """The objective of the implicit package: w = alpha r, zeros are the unobserved cells, reg unscaled."""
    return Convention(alpha=alpha, reg=reg)


def spark_explicit(reg):
    """Spark's explicit ALS (ALS-WR): squared error, reg n_u."""
    return Convention(feedback="explicit", reg=reg, reg_scaling="count")


def spark_implicit(alpha, reg):
    """Spark's implicit ALS: w = 1 + alpha r, zeros are the unobserved cells, reg n_u."""
    return Convention(weight="one_plus_alpha_value", alpha=alpha, reg=reg, reg_scaling="count")


def rendle(unobserved_weight, reg, reg_exponent=1.0):
    """Rendle et al. 2021: w = 1, zeros are all cells, frequency-scaled regulariser."""
    return Convention(
        weight="one",
        zero_cells="all",
        unobserved_weight=unobserved_weight,
        reg=reg,
        reg_scaling="frequency",
        reg_exponent=reg_exponent,
    )


@dataclass(frozen=True)
class Problem:
    """Ratings as three parallel columns; rows count from 0 and no pair occurs twice."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_users: int
    n_items: int

    def transposed(self):
        """The same ratings with users and items exchanged."""
        return replace(
            self, users=self.items, items=self.users, n_users=self.n_items, n_items=self.n_users
        )

    def user_counts(self):
        """Ratings of each user, [n_users]."""
        return np.bincount(self.users, minlength=self.n_users)

    def item_counts(self):
        """Ratings of each item, [n_items]."""
        return np.bincount(self.items, minlength=self.n_items)


def objective(convention, problem, user_factors, item_factors, chunk=1 << 18):
    """The loss and its parts in float64; never builds the n_users x n_items matrix."""
    x = np.asarray(user_factors, dtype=np.float64)
    y = np.asarray(item_factors, dtype=np.float64)
    targets, weights = convention.targets_and_weights(problem.values)
    observed = observed_squares = 0.0
    for at in range(0, len(problem.users), chunk):
        part = slice(at, at + chunk)
        scores = np.einsum("ij,ij->i", x[problem.users[part]], y[problem.items[part]])
        observed += float(np.sum(weights[part] * (targets[part] - scores) ** 2))
        observed_squares += float(np.sum(scores**2))
    unobserved = 0.0
    if convention.feedback == "implicit":
        # sum over all cells of (x . y)^2 is the sum of the elementwise product of the two Gramians
        squares = float(np.sum((x.T @ x) * (y.T @ y)))
        if convention.zero_cells == "unobserved":
            squares -= observed_squares
        unobserved = convention.unobserved_weight * squares
    user_regs = convention.row_regs(problem.user_counts(), problem.n_items)
    item_regs = convention.row_regs(problem.item_counts(), problem.n_users)
    regulariser = float(user_regs @ np.sum(x * x, axis=1) + item_regs @ np.sum(y * y, axis=1))
    return {
        "observed": observed,
        "unobserved": unobserved,
        "regulariser": regulariser,
        "total": observed + unobserved + regulariser,
    }


def dense_objective(convention, problem, user_factors, item_factors):
    """The total loss cell by cell over the full matrix: the check of `objective` on small problems."""
    scores = np.asarray(user_factors, dtype=np.float64) @ np.asarray(item_factors, dtype=np.float64).T
    targets, weights = convention.targets_and_weights(problem.values)
    cells = np.zeros(scores.shape)
    if convention.feedback == "implicit":
        cells = convention.unobserved_weight * scores**2
    at = (problem.users, problem.items)
    if convention.zero_cells == "unobserved":
        cells[at] = 0.0
    cells[at] += weights * (targets - scores[at]) ** 2
    user_regs = convention.row_regs(problem.user_counts(), problem.n_items)
    item_regs = convention.row_regs(problem.item_counts(), problem.n_users)
    total = cells.sum()
    total += (user_regs[:, None] * np.asarray(user_factors) ** 2).sum()
    total += (item_regs[:, None] * np.asarray(item_factors) ** 2).sum()
    return float(total)


def solve_users(convention, problem, item_factors):
    """Every user's exact row for the given items, [n_users, dim]; a user without ratings gets zeros."""
    y = np.asarray(item_factors, dtype=np.float64)
    dim = y.shape[1]
    targets, weights = convention.targets_and_weights(problem.values)
    regs = convention.row_regs(problem.user_counts(), problem.n_items)
    zeros_weight = convention.unobserved_weight if convention.feedback == "implicit" else 0.0
    gram = zeros_weight * (y.T @ y)
    # the Gramian has counted the observed cells too; the convention says whether they stay in
    counted = zeros_weight if convention.zero_cells == "unobserved" else 0.0
    solved = np.zeros((problem.n_users, dim))
    for user in range(problem.n_users):
        mine = problem.users == user
        if not mine.any():
            continue
        rows = y[problem.items[mine]]  # [n_u, dim]
        w, t = weights[mine], targets[mine]
        lhs = gram + rows.T @ ((w - counted)[:, None] * rows) + regs[user] * np.eye(dim)
        rhs = rows.T @ (w * t)
        if convention.nonnegative:
            # |L^T x - L^-1 b|^2 is x'Ax - 2 b'x and a constant, with A = L L^T
            lower = np.linalg.cholesky(lhs)
            solved[user] = nnls(lower.T, np.linalg.solve(lower, rhs))[0]
        else:
            solved[user] = np.linalg.solve(lhs, rhs)
    return solved


def sweep(convention, problem, user_factors):
    """One sweep, items first; returns the new (user_factors, item_factors)."""
    item_factors = solve_users(convention, problem.transposed(), user_factors)
    return solve_users(convention, problem, item_factors), item_factors


def run_sweeps(convention, problem, user_factors, item_factors, sweeps):
    """The losses before the first and after each sweep, and the final factors."""
    losses = [objective(convention, problem, user_factors, item_factors)]
    for _ in range(sweeps):
        user_factors, item_factors = sweep(convention, problem, user_factors)
        losses.append(objective(convention, problem, user_factors, item_factors))
    return losses, user_factors, item_factors
