"""Where the large real data lie, on machines that have them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SHARED = ROOT.parent / "shared" / "data"


def shared_data(path: str) -> Path:
    """`<repository>/../shared/data/<path>`; the test is skipped where it is absent."""
    found = _SHARED / path
    if not found.exists():
        pytest.skip(f"{found} is not on this machine")
    return found


def shared_files(folder: str, pattern: str) -> list[str]:
    """Paths below the shared data that match, for parametrised tests; none where absent."""
    return sorted(str(p.relative_to(_SHARED)) for p in (_SHARED / folder).glob(pattern))
