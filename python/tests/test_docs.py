"""The Python blocks of the pages run as they stand, those of a page one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = ["README.md", "docs/python.md", "python/README.md"]

#: What the pages on an installation with numpy alone do without.
EXTRAS = {"polars", "pandas", "pyarrow", "scipy"}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(tmp_path, page):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks, f"{page} has no block"
    program = Path(sysconfig.get_path("scripts")) / "burnrec"
    made = [program, "synth", "--users", "300", "--items", "200", "--rows", "9000", "--out", tmp_path]
    subprocess.run(made, check=True, capture_output=True)
    code = "\n".join(blocks)
    if page != "docs/python.md":
        code += f"\nimport sys\nassert not {EXTRAS!r} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
