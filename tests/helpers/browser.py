"""Pages as a person sees them: a real Chromium without a window."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1900,1400",
)


def words_of(address: str, profile: Path) -> str:
    """The words of a page, once its scripts have come to rest.

    Args:
        address: Of the page.
        profile: Where the browser keeps its files.
    """
    assert CHROMIUM is not None
    options = (*_OPTIONS, f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom")
    done = subprocess.run(
        [CHROMIUM, *options, address], capture_output=True, text=True, timeout=180, check=True
    )
    shown = re.sub(r"<(script|style)\b.*?</\1>", " ", done.stdout, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", shown)).split())
