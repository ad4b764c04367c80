"""Where vinfer keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME`` (else ``~/.cache``) + ``vinfer``; it need not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has a relative $XDG_CACHE_HOME ignored.
    base = Path(cache) if cache.startswith("/") else Path("~/.cache").expanduser()
    return base / "vinfer"
