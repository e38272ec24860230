"""train.diagnose."""

from __future__ import annotations

import subprocess
import sys


def test_diagnose_imports_no_torch() -> None:
    code = "import sys, train; train.diagnose; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
