"""Makes models/tests/fixtures/als_conventions.json: one small problem, solved in every ALS convention.

Each case holds the convention, the losses before and after two sweeps (items first) from the shared initial
factors, and the factors then, all from `als_reference` in float64. The peers run on the same problem:

* implicit starts from the same factors. Its own sweep is users first, so it is given the transposed matrix,
  which makes it items first; `float64` factors, Cholesky, and CG with two steps (three would be exact here).
* Spark draws its own start, which a fit with 0 iterations gives away. Stored are that start and Spark's
  factors after 2 and 15 sweeps, to be matched from that start, or checked as near stationary points.

The script checks what it writes: the fast loss against the dense one, the numpy sweeps against both peers.
Needs Java for Spark. Numbers are rounded to 9 digits after the point.

    python make_als_fixture.py ../../models/tests/fixtures/als_conventions.json
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from als_reference import (
    Convention,
    dense_objective,
    implicit_package,
    objective,
    rendle,
    run_sweeps,
    solve_users,
    spark_explicit,
    spark_implicit,
)
from peer_io import note, versions
from reference_rendle import random_factors, random_problem

DIM, SWEEPS, SEED = 3, 2, 20
SPARK_SWEEPS = [2, 15]
# alpha times a half-star value is exact in f32, and falls below 1 for the smallest values
ALPHA = 0.75


def conventions():
    """Every case by name, with the peer that solves it."""
    nonnegative = replace(spark_explicit(0.1), nonnegative=True)
    return {
        "explicit_unscaled": (Convention(feedback="explicit", reg=0.5), None),
        "spark_explicit": (spark_explicit(0.1), "spark"),
        "spark_explicit_nonnegative": (nonnegative, "spark"),
        "spark_implicit": (spark_implicit(ALPHA, 0.1), "spark"),
        "implicit_package": (implicit_package(ALPHA, 0.3), "implicit"),
        "rendle": (rendle(0.3, 0.05), None),
        "rendle_exponent_half": (rendle(0.3, 0.05, reg_exponent=0.5), None),
    }


def rounded(matrix):
    return np.round(np.asarray(matrix, dtype=np.float64), 9).tolist()


def numpy_case(convention, problem, initial):
    """Losses and factors of the reference, with the fast loss held against the dense one."""
    losses, user_factors, item_factors = run_sweeps(convention, problem, *initial, SWEEPS)
    dense = dense_objective(convention, problem, user_factors, item_factors)
    np.testing.assert_allclose(losses[-1]["total"], dense, rtol=1e-12)
    return {
        "losses": [{name: round(value, 9) for name, value in loss.items()} for loss in losses],
        "user_factors": rounded(user_factors),
        "item_factors": rounded(item_factors),
    }


def implicit_runs(convention, problem, initial, reference):
    """The implicit package from the same start: Cholesky (must equal the reference) and CG."""
    import implicit_als

    runs = []
    for solver, cg_steps in (("cholesky", None), ("cg", 2)):
        user_factors, item_factors, _, _ = implicit_als.fit(
            problem, DIM, convention.reg, convention.alpha, SWEEPS, solver=solver, cg_steps=cg_steps or 0,
            threads=1, order="items-first", initial=initial, dtype=np.float64,
        )
        if solver == "cholesky":
            np.testing.assert_allclose(user_factors, reference["user_factors"], atol=2e-9)
            np.testing.assert_allclose(item_factors, reference["item_factors"], atol=2e-9)
        runs.append(
            {
                "solver": solver,
                "cg_steps": cg_steps,
                "sweeps": SWEEPS,
                "loss": round(objective(convention, problem, user_factors, item_factors)["total"], 9),
                "user_factors": rounded(user_factors),
                "item_factors": rounded(item_factors),
            }
        )
    return {"name": "implicit", "runs": runs}


def spark_runs(spark, convention, problem):
    """Spark's own start and its factors after some sweeps; two of them must follow from the start."""
    import spark_als

    rows = zip(problem.users.tolist(), problem.items.tolist(), problem.values.tolist())
    train = spark.createDataFrame(list(rows), schema=spark_als.COLUMNS).cache()

    def factors(sweeps):
        model, _ = spark_als.fit(
            train, DIM, convention.reg, sweeps, SEED, implicit=convention.feedback == "implicit",
            alpha=convention.alpha, nonnegative=convention.nonnegative, blocks=1,
        )
        return spark_als.factors(model, problem.n_users, problem.n_items)

    start = factors(0)
    runs = []
    for sweeps in SPARK_SWEEPS:
        user_factors, item_factors = factors(sweeps)
        _, ours, our_items = run_sweeps(convention, problem, *start, sweeps)
        away = max(np.abs(ours - user_factors).max(), np.abs(our_items - item_factors).max())
        still = np.abs(solve_users(convention, problem, item_factors) - user_factors).max()
        note(f"spark after {sweeps} sweeps: {away:.2e} from numpy; users {still:.2e} from their solution")
        assert away < 1e-4 and still < 1e-5
        runs.append(
            {
                "sweeps": sweeps,
                "loss": round(objective(convention, problem, user_factors, item_factors)["total"], 9),
                "user_factors": rounded(user_factors),
                "item_factors": rounded(item_factors),
            }
        )
    return {"name": "spark", "initial_user_factors": rounded(start[0]), "runs": runs}


def main():
    parser = argparse.ArgumentParser(description="Write the ALS conventions fixture.")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    import spark_als

    rng = np.random.default_rng(SEED)
    problem = random_problem(12, 9, 0.4, rng)
    initial = random_factors(problem, DIM, rng)
    spark = spark_als.session("local[1]", memory="1g")
    cases = []
    for name, (convention, peer) in conventions().items():
        case = {"name": name, "convention": convention.as_dict(), **numpy_case(convention, problem, initial)}
        case["peer"] = None
        if peer == "implicit":
            case["peer"] = implicit_runs(convention, problem, initial, case)
        elif peer == "spark":
            case["peer"] = spark_runs(spark, convention, problem)
        cases.append(case)
        note(f"{name}: loss {case['losses'][0]['total']:.6f} to {case['losses'][-1]['total']:.6f}")
    fixture = {
        "about": "Made by benches/peers/make_als_fixture.py; the equations are in als_reference.py beside it",
        "versions": versions("numpy", "implicit", "pyspark"),
        "n_users": problem.n_users,
        "n_items": problem.n_items,
        "dim": DIM,
        "sweeps": SWEEPS,
        "users": problem.users.tolist(),
        "items": problem.items.tolist(),
        "values": problem.values.tolist(),
        "initial_user_factors": rounded(initial[0]),
        "initial_item_factors": rounded(initial[1]),
        "cases": cases,
    }
    spark.stop()
    part = out.with_suffix(".part")
    part.write_text(json.dumps(fixture, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    part.replace(out)


if __name__ == "__main__":
    main()
