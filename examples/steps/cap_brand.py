#!/usr/bin/env python3
"""A business rule: of each brand, a column of the table, at most so many items are in an answer.

[steps.cap-brand]
command = ["python3", "examples/steps/cap_brand.py", "2"]
place = "after-score"
"""

import json
import sys
from collections import Counter


def main():
    most = int(sys.argv[1])
    for line in sys.stdin:
        event = json.loads(line)
        had = Counter()
        kept = []
        for item in event["items"]:
            had[item.get("brand")] += 1
            if "brand" not in item or had[item["brand"]] <= most:
                kept.append(item)
        event["items"] = kept
        print(json.dumps(event), flush=True)


main()
