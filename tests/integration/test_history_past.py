"""Candles for warming up: of the length that is asked for, or gathered from shorter ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from hydra.clock import NS_PER_S, ManualClock, to_ns
from hydra.errors import VenueDown
from hydra.feeds.history.past import VenuePast
from hydra.feeds.history.venues import venue_named
from hydra.market.bars import BarTable
from hydra.market.catalogue import Catalogue
from hydra.settings import Settings, load_settings
from tests.support.venue_rest import VenueRest, candles

MINUTE_NS = 60 * NS_PER_S
START_NS = to_ns(datetime(2024, 1, 1, tzinfo=UTC))
BTC = Catalogue.load().instrument("BTC-USD", 2)


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with (
        VenueRest({"BTC-USD": candles("2024-01-01", 60)}) as server,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setenv("COINBASE_REST_URL", server.url("coinbase"))
        yield load_settings()


def past(settings: Settings) -> VenuePast:
    clock = ManualClock(START_NS + 60 * MINUTE_NS)
    return VenuePast([BTC], [venue_named("coinbase")], settings=settings, clock=clock)


async def of_length(settings: Settings, length_ns: int) -> BarTable:
    tables = await past(settings).bars(length_ns, START_NS, START_NS + 60 * MINUTE_NS)
    return tables["BTC-USD"]


async def test_a_length_that_no_venue_has_is_gathered_from_the_longest_that_fits(
    settings: Settings,
) -> None:
    fine = await of_length(settings, MINUTE_NS)
    coarse = await of_length(settings, 3 * MINUTE_NS)

    assert len(fine) == 60
    assert coarse.resolution_ns == 3 * MINUTE_NS
    assert coarse.open_ns.tolist() == fine.open_ns[::3].tolist()
    np.testing.assert_array_equal(coarse.open, fine.open[::3])
    np.testing.assert_array_equal(coarse.close, fine.close[2::3])
    np.testing.assert_array_equal(coarse.high, fine.high.reshape(-1, 3).max(axis=1))


@pytest.mark.parametrize("length_s", [1, 5, 45])
async def test_bars_of_seconds_have_no_past(settings: Settings, length_s: int) -> None:
    with pytest.raises(VenueDown, match="coinbase has no such bars"):
        await of_length(settings, length_s * NS_PER_S)
