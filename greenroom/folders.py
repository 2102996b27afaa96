"""Where Greenroom keeps what belongs to a user rather than to a world."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_data() -> Path:
    """The user's folder for Greenroom's data; it need not exist yet.

    `$XDG_DATA_HOME/greenroom` (~/.local/share/greenroom), on macOS ~/Library/Application
    Support/greenroom, on Windows %LOCALAPPDATA%\\greenroom.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "greenroom"


def user_cache() -> Path:
    """The user's folder for what can be made again; it need not exist yet.

    `$XDG_CACHE_HOME/greenroom` (~/.cache/greenroom), on macOS ~/Library/Caches/greenroom, on Windows
    %LOCALAPPDATA%\\greenroom\\cache.
    """
    if sys.platform == "win32":
        return user_data() / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "greenroom"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "greenroom"
