"""What a reader of the standings must know beside them: who is out and why, what is too early."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

Row = Mapping[str, object]
OUT = ("benched", "breached", "eliminated")  # states of those that no longer play
MOST_REASON = 400  # characters
# What a reason asks one to set.
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


def remarks(rows: Sequence[Row]) -> list[str]:
    """One line for each thing there is to say, however many engines it is said of."""
    notes = {str(row["note"]) for row in rows if row.get("note")}
    return [*_out(rows), *_tagged(rows), *sorted(notes)]


def unranked(cutoff: str, *, many: bool = False) -> str:
    """Why an engine without a single decision that counts holds no rank."""
    whose, hold, them = (
        ("their models'", "hold", "them") if many else ("its model's", "holds", "it")
    )
    return (
        f"decided on prices from before {whose} knowledge cutoff ({cutoff}): {hold} no rank;"
        f" --count-before-cutoff ranks {them}"
    )


def _out(rows: Iterable[Row]) -> list[str]:
    """Who is out. Reasons that differ only in what to set are one line."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, list[str]]] = {}
    for row in rows:
        if row.get("state") not in OUT:
            continue
        reason = str(row["reason"])
        reason = reason if len(reason) <= MOST_REASON else reason[: MOST_REASON - 1] + "…"
        named = set(_VARIABLE.findall(reason))
        what = named.pop() if len(named) == 1 else ""
        shape = tuple(reason.split(what)) if what else (reason,)
        members = groups.setdefault((str(row["state"]), shape), {})
        members.setdefault(what, []).append(str(row["engine"]))
    said = []
    for (state, shape), by_variable in groups.items():
        engines = [engine for members in by_variable.values() for engine in members]
        verb = "is" if len(engines) == 1 else "are"
        if len(by_variable) == 1:
            (what,) = by_variable
            said.append(f"{names(engines)} {verb} {state}: {what.join(shape)}")
        else:
            who = ", ".join(f"{names(each)} ({what})" for what, each in by_variable.items())
            said.append(f"{who} are {state}: {'it'.join(shape)}")
    return said


def _tagged(rows: Iterable[Row]) -> list[str]:
    """Whose decisions from before a cutoff count for nothing, or count although they are."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        kind = str(row.get("counting") or "")
        if kind:
            groups.setdefault((kind, str(row.get("cutoff", "unknown"))), []).append(
                str(row["engine"])
            )
    said = []
    for (kind, cutoff), engines in sorted(groups.items()):
        many = len(engines) > 1
        if kind == "none":
            said.append(f"{names(engines)}: {unranked(cutoff, many=many)}")
        elif kind == "later":
            said.append(
                f"{names(engines)} rank{'' if many else 's'} by the P&L of decisions after the"
                f" model's knowledge cutoff ({cutoff}); return, interval and ratios are of it too"
            )
        else:
            said.append(
                f"{names(engines)}: decisions from before the model's knowledge cutoff ({cutoff})"
                " count here, since --count-before-cutoff was given"
            )
    return said


def names(engines: Iterable[str]) -> str:
    """`a, claude#1–#5, b`: replicas are written together, as ranges."""
    replicas: dict[str, list[int]] = {}
    for engine in engines:
        head, _, number = engine.rpartition("#")
        if head and number.isdecimal():
            replicas.setdefault(head, []).append(int(number))
        else:
            replicas.setdefault(engine, [])
    return ", ".join(_ranges(head, sorted(numbers)) for head, numbers in replicas.items())


def _ranges(head: str, numbers: Sequence[int]) -> str:
    """`claude#1–#5, #7` of 1, 2, 3, 4, 5, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = [f"#{run[0]}–#{run[-1]}" if len(run) > 1 else f"#{run[0]}" for run in runs]
    return head + ", ".join(said)
