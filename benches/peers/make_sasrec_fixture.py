"""Makes models/tests/fixtures/sasrec.json: drawn weights, histories and their scores by SASRec (Kang and McAuley 2018, arXiv
1808.09781).

Plain numpy in float64, one history and one row of attention at a time. Each case holds burnrec's settings, the weights by
burnrec's names (those of all layers one under the other), histories of item rows, the oldest first, some longer than the
sequences of the model, and the scores of all items, [histories, items]. Numbers are rounded to 6 digits after the point.

    python make_sasrec_fixture.py ../../models/tests/fixtures/sasrec.json
"""

import argparse
import json
from pathlib import Path

import numpy as np

N_ITEMS, SEED, EPSILON = 20, 11, 1e-8
CASES = [
    {"dim": 6, "layers": 1, "heads": 1, "length": 5},
    {"dim": 8, "layers": 2, "heads": 2, "length": 9},
]
LENGTHS = [1, 2, 5, 9, 14]


def drawn(rng, settings):
    """Weights by name, rounded as they are written."""
    dim, layers, length = settings["dim"], settings["layers"], settings["length"]
    shapes = {"item_embedding": (N_ITEMS, dim), "position_embedding": (length, dim)}
    for name in ("attention", "hidden"):
        shapes[f"{name}_scale"] = shapes[f"{name}_shift"] = (layers, dim)
    shapes |= {"attention_weight": (layers * dim, 3 * dim), "attention_bias": (layers, 3 * dim)}
    for name in ("hidden", "output"):
        shapes |= {f"{name}_weight": (layers * dim, dim), f"{name}_bias": (layers, dim)}
    shapes |= {"final_scale": (1, dim), "final_shift": (1, dim)}
    return {name: rng.normal(scale=0.5, size=shape).round(6) for name, shape in shapes.items()}


def norm(x, scale, shift):
    """Layer norm of one row."""
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + EPSILON) * scale + shift


def state(items, weights, settings):
    """The state of the newest row of a history."""
    dim, heads, length = settings["dim"], settings["heads"], settings["length"]
    items = items[-length:]
    places = range(length - len(items), length)
    x = [np.sqrt(dim) * weights["item_embedding"][item] + weights["position_embedding"][place]
         for item, place in zip(items, places)]
    for layer in range(settings["layers"]):
        rows = slice(layer * dim, (layer + 1) * dim)
        qkv = [norm(row, weights["attention_scale"][layer], weights["attention_shift"][layer])
               @ weights["attention_weight"][rows] + weights["attention_bias"][layer] for row in x]
        for at in range(len(x)):
            parts = []
            for head in np.split(np.arange(dim), heads):
                query = qkv[at][head]
                powers = np.array([np.exp(query @ qkv[key][dim + head] / np.sqrt(len(head))) for key in range(at + 1)])
                parts.append(sum(p * qkv[key][2 * dim + head] for key, p in enumerate(powers / powers.sum())))
            x[at] = x[at] + np.concatenate(parts)
        for at in range(len(x)):
            normed = norm(x[at], weights["hidden_scale"][layer], weights["hidden_shift"][layer])
            hidden = np.maximum(normed @ weights["hidden_weight"][rows] + weights["hidden_bias"][layer], 0)
            x[at] = x[at] + hidden @ weights["output_weight"][rows] + weights["output_bias"][layer]
    return norm(x[-1], weights["final_scale"][0], weights["final_shift"][0])


def main():
    parser = argparse.ArgumentParser(description="Makes the fixture of SASRec.")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    cases = []
    for settings in CASES:
        weights = drawn(rng, settings)
        histories = [rng.permutation(N_ITEMS)[:length].tolist() for length in LENGTHS]
        scores = [state(items, weights, settings) @ weights["item_embedding"].T for items in histories]
        cases.append({
            "settings": settings,
            "n_items": N_ITEMS,
            "weights": {name: values.tolist() for name, values in weights.items()},
            "histories": histories,
            "scores": [row.round(6).tolist() for row in scores],
        })
    args.out.write_text(json.dumps({"cases": cases}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
