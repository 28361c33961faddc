"""Which guardian keeps which account: one of the season's profile, one that allows everything."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hydra.guardian.guardian import Guardian
from hydra.guardian.profiles import profile
from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.plan import SeasonPlan


class Guardians:
    """Of all accounts of a season, those of references included.

    `strict` keeps the contestants' (and the house's) by the plan's profile. `free` keeps the
    references', and every account a second time: for its shadow.
    """

    def __init__(
        self, plan: SeasonPlan, contestants: Sequence[Contestant], accounts: Sequence[Account]
    ) -> None:
        self.free = Guardian(msgspec.structs.replace(profile("none"), reset=plan.profile.reset))
        self.strict = Guardian(plan.profile)
        references = {one.name for one in contestants if one.is_reference}
        scalpers = {one.name for one in contestants if one.is_scalper}
        self.by_account: list[Guardian] = []
        for account in accounts:
            self.free.open_account(account.name, plan.initial_units, plan.start_ns)
            if account.name in references:
                self.by_account.append(self.free)
                continue
            self.by_account.append(self.strict)
            self.strict.open_account(
                account.name,
                plan.initial_units,
                plan.start_ns,
                is_scalper=account.name in scalpers,
            )
