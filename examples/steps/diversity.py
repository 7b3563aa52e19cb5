#!/usr/bin/env python3
"""Diversity after ranking: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over the categories of items.

The next item is the one of the highest  weight * relevance - (1 - weight) * similarity,  where relevance is the score scaled to
0 to 1 within the answer, and similarity is the highest Jaccard index of the categories (a column such as `Comedy|Drama`) with
those of an item that was chosen before. Each item is given its place before as `rank`.

[steps.diversity]
command = ["python3", "examples/steps/diversity.py", "0.7"]
place = "after-score"
"""

import json
import sys


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0.0


def rerank(items, weight):
    scores = [item["score"] for item in items if item["score"] is not None]
    if not scores:
        return items
    low, span = min(scores), (max(scores) - min(scores)) or 1.0
    left = []
    for rank, item in enumerate(items, 1):
        score = low if item["score"] is None else item["score"]
        categories = set(filter(None, str(item.get("category", "")).split("|")))
        left.append((item | {"rank": rank}, (score - low) / span, categories, 0.0))
    chosen = []
    while left:
        best = max(range(len(left)), key=lambda at: weight * left[at][1] - (1 - weight) * left[at][3])
        item, _, categories, _ = left.pop(best)
        chosen.append(item)
        left = [
            (other, relevance, of, max(similarity, jaccard(of, categories)))
            for other, relevance, of, similarity in left
        ]
    return chosen


def main():
    weight = float(sys.argv[1])
    for line in sys.stdin:
        event = json.loads(line)
        if event["type"] == "recommend":
            event["items"] = rerank(event["items"], weight)
        print(json.dumps(event), flush=True)


main()
