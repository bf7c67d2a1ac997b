"""In what order a host takes unfinished runs up, and which it leaves alone: rules, and nothing that acts.

A run whose recovery kills the host must not do so for ever, and one that was merely being taken up when somebody else
killed the host must not pay for it. So attempts are counted before they are made, and only those count from which
something can be concluded: it raised while the host lived, or the run was suspect, was taken up alone, and the host
died again.

1. Runs under no suspicion are taken up together; children when their parent asks for them.
2. If the host dies meanwhile, those that have not survived, by their logs, are suspect. The next host takes them up
   after the others, a tenth of them at a time, then a tenth of those, then each alone. A part begins when the one
   before it has survived.
3. The first attempt alone is made at once, the second when the host has lived for some seconds, the third after some
   more: a host that is killed again and again while it starts does not get that far.
4. After the third failed attempt the run is quarantined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..errors import RunQuarantined
from ..events import ApprovalAwaited, Event, InputAwaited, RunForked, RunResumed
from ..ports import Recovery
from .address import Address

TENTH = 10
"""Suspects are taken up in so many parts; of so many or fewer, each alone."""

PAUSES_S = (0.0, 2.0, 10.0)
"""Seconds that a host must have lived before it takes a run up alone, by the attempts held against it; up to twice as
many, by chance, so that whatever kills hosts at a fixed age does not hit the same run each time."""

KILLER = "the host died while this run alone was being taken up"


@dataclass(frozen=True)
class Survey:
    """What is to be done about the unfinished runs of a journal.

    addresses: where runs are to live, newest first. waiting: run -> why it is not taken up. children: run -> the parent
    that takes it up, if it still wants it. recoveries: what is known of earlier attempts. versions: of runs.
    """

    addresses: Sequence[Address]
    waiting: Mapping[str, str]
    children: Mapping[str, str]
    recoveries: Mapping[str, Recovery]
    versions: Mapping[str, int]


class Group(msgspec.Struct, frozen=True):
    """Runs that are taken up together, not before the host has lived for `after_s`; suspects by themselves."""

    addresses: tuple[Address, ...]
    after_s: float = 0.0
    suspect: bool = False


def is_suspect(known: Recovery | None) -> bool:
    """Whether a host died while the run was being taken up, and it is not known why."""
    return known is not None and known.company > 0


def groups_of(
    addresses: Sequence[Address], recoveries: Mapping[str, Recovery], jitter: Callable[[], float]
) -> list[Group]:
    """Who is taken up together, in what order. jitter: a random number in [0, 1).

    None of the runs is quarantined.
    """
    together = tuple(one for one in addresses if not is_suspect(recoveries.get(one.run_id)))
    groups = [Group(together)] if together else []
    companies: dict[int, list[Address]] = {}
    alone: list[Group] = []
    for address in addresses:
        known = recoveries.get(address.run_id)
        if known is None or not is_suspect(known):
            continue
        if known.company > TENTH:
            companies.setdefault(known.company, []).append(address)
        else:
            pause_s = PAUSES_S[min(known.attempts, len(PAUSES_S) - 1)]
            alone.append(Group((address,), pause_s * (1.0 + jitter()), suspect=True))
    for company in sorted(companies, reverse=True):
        suspects, size = companies[company], math.ceil(company / TENTH)
        groups += [Group(tuple(suspects[at : at + size]), suspect=True) for at in range(0, len(suspects), size)]
    return groups + sorted(alone, key=lambda group: group.after_s)


def has_survived(tail: Sequence[Event]) -> bool:
    """Whether something came of a run after it was taken up, or it was taken up and waits for a person. tail: its
    newest events, from the one before the attempt.
    """
    after = tail[1:]
    if not any(isinstance(event.fact, RunResumed) for event in after):
        return False
    last = tail[0].fact
    waits = isinstance(last, (InputAwaited, ApprovalAwaited)) or (isinstance(last, RunForked) and last.paused)
    return waits or len({event.at_us for event in after}) > 1


def before_the_attempt(
    group: Group, recoveries: Mapping[str, Recovery], versions: Mapping[str, int], now_us: int, others: int = 0
) -> list[Recovery]:
    """What must be durable before the group is taken up. others: how many are being taken up already."""
    company = len(group.addresses) + others
    alone = group.suspect and company == 1
    kept: list[Recovery] = []
    for address in group.addresses:
        known = recoveries.get(address.run_id)
        attempts = (0 if known is None else known.attempts) + alone
        why = KILLER if alone else ""
        kept.append(
            Recovery(
                run_id=address.run_id,
                standing="trying",
                attempts=attempts,
                company=company,
                version=versions.get(address.run_id, 0),
                at_us=now_us,
                why=why,
            )
        )
    return kept


def put_off(known: Recovery, now_us: int) -> Recovery:
    """What a reader is told of a suspect whose turn has not come."""
    why = "a host died while it was being taken up, together with others; it is taken up after them"
    if known.attempts:
        why = f"{KILLER} ({known.attempts} of 3 times); it is tried again when this one has lived for a while"
    return msgspec.structs.replace(known, standing="waiting", at_us=now_us, why=why)


def after_a_failure(before: Recovery | None, tried: Recovery | None, run_id: str, why: str, now_us: int) -> Recovery:
    """What is known after the run was set aside while the host lived. tried: the attempt under way, if there is one."""
    attempts = 1 if before is None else before.attempts + 1
    if tried is not None and tried.why:
        attempts = tried.attempts  # made alone, it was counted before it was made
    return Recovery(run_id=run_id, standing="failed", attempts=attempts, at_us=now_us, why=why)


def why_quarantined(known: Recovery) -> RunQuarantined:
    """What whoever waits for the run is told."""
    many = f"{known.attempts} attempts to take it up failed, the last time: {known.why or KILLER}"
    return RunQuarantined(known.run_id, f"{many}; try again with `executus doctor --retry RUN` or Runtime.retry(run)")
