"""A process that plays a season and says each cycle that it committed, until it is killed.

python -m tests.support.season_writer URL CYCLES COMMIT_EVERY
"""

from __future__ import annotations

import sys

from hydra.storage.store import open_season
from tests.support.seasons import a_season, play

if __name__ == "__main__":
    url, cycles, commit_every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open_season(url, a_season(), resume=False) as store:
        play(
            store,
            cycles=cycles,
            commit_every=commit_every,
            on_commit=lambda cycle: print(cycle, flush=True),
        )
