"""The Python blocks of the pages run as they stand, those of a page one after the other."""

from __future__ import annotations

import contextlib
import os
import re
import signal
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
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        # As in a venv that is activated: the program is found by its name.
        env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "no_proxy": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=600)
    finally:
        # What a page started ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
