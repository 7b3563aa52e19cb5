"""The code of docs/spark.md, as it stands."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "spark.md"


def test_the_code_of_the_page_runs(spark, run, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names = {"spark": spark, "run": run}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4 and "recommendations" in capsys.readouterr().out
