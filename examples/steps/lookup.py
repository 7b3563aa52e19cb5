#!/usr/bin/env python3
"""Features by lookup: adds the segment of the user to the event, from a CSV file; the reply carries it.

[steps.segment]
command = ["python3", "examples/steps/lookup.py", "users.csv"]
place = "before-score"
"""

import csv
import json
import sys


def main():
    with open(sys.argv[1], newline="") as file:
        segments = {row["user"]: row["segment"] for row in csv.DictReader(file)}
    for line in sys.stdin:
        event = json.loads(line)
        event["segment"] = segments.get(str(event.get("user")), "new")
        print(json.dumps(event), flush=True)


main()
