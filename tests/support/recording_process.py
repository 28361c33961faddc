"""A process that records events as fast as it is let, and says how far it is. It is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hydra.clock import SystemClock
from hydra.feeds import recorder
from tests.support.recorded_events import a_live_season, drawn

EVERY = 20  # events at once


def main(folder: str, flush_s: float, seal_s: float) -> None:
    recorder.FLUSH_S, recorder.SEAL_S = flush_s, seal_s
    told = drawn(6_000)
    with recorder.Recorder(Path(folder), a_live_season(), clock=SystemClock(), say=print) as one:
        for i in range(0, len(told), EVERY):
            one.hear(told[i : i + EVERY])
            print(i + EVERY, time.monotonic_ns(), flush=True)
            time.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
