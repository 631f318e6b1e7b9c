"""Processes of their own, for what would not be the same in this one."""

import subprocess
import sys
from pathlib import Path
from typing import Any


def without_torch(code: str, *arguments: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code where neither torch nor what else trains can be imported; its `sys` is imported, with the arguments."""
    script = Path(__file__).with_name("without_torch.py")
    command = [sys.executable, str(script), code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
