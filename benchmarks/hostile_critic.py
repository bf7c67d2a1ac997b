"""What critics of every hostile kind can do to a run: nothing that its hard limits, or its log, would notice.

A table: the kind of critic, how its run ended and by whom, how late the hard limit was on the wall clock, terminal
facts, what supervision left in the log, and what was wrong. Beside each watched run an unwatched one must end well.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from executus import Agent, Run, Runtime, ScriptedModel, tool
from executus.adapters.models.scripted import call
from executus.events import TERMINAL_TAGS, DeadlineExtended, Event, RunInfo, Usage
from executus.journal import verify_run
from executus.ports import Continue, Critic, Extend, Judged, Kill, Raise, Steer, Verdict
from executus.projections.trace import Trace

HARD_S = 4.5
"""The hard deadline: a critic that fails is lost by then."""
EXTEND_S = 0.5
"""By so much a critic may extend it."""
STEPS = 6
STEPS_CAP = 9
SUPERVISION = frozenset(
    (
        "critic-observed",
        "critic-steered",
        "critic-killed",
        "critic-lost",
        "critic-reviewed",
        "deadline-extended",
        "ceiling-raised",
    )
)
GIVE_UP_S = 30.0


class Watch:
    """What a critic and the one who plays with it share."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.reviews = 0
        self.go = threading.Event()

    def enter(self) -> None:
        """A review begins."""
        self.reviews += 1
        self.asked.release()


class Hostile:
    """A critic that does what its case says."""

    every_s: float | None = 0.1
    every_steps: int | None = 1
    timeout_s = 0.3
    name = "hostile"

    def __init__(self, watch: Watch, answer: Callable[[Trace, float], Any]) -> None:
        self.watch, self._answer = watch, answer

    def review(self, trace: Trace, now: float) -> Any:
        """See `Critic`."""
        self.watch.enter()
        return self._answer(trace, now)


class HostileAsync(Hostile):
    """The same on the runtime's loop."""

    async def review(self, trace: Trace, now: float) -> Any:  # type: ignore[override]
        """See `Critic`."""
        self.watch.enter()
        answer = self._answer(trace, now)
        return await answer if asyncio.iscoroutine(answer) else answer


class Patient(Hostile):
    """Asked after every step, and given much time."""

    every_s = None
    timeout_s = 20.0


class Flooding(Hostile):
    """Wants to be asked all the time."""

    every_s = 1e-9
    timeout_s = 20.0


class Touchy(Hostile):
    """Cannot even be looked at."""

    @property
    def every_s(self) -> float:  # type: ignore[override]
        """Raises."""
        raise SystemExit(3)


Play = Callable[[Run, Watch], None]


def leave_alone(run: Run, watch: Watch) -> None:
    """Nobody does anything to the run."""


@dataclass(frozen=True)
class Case:
    """A kind of hostility. ends: (status, by). may: facts of supervision it may lead to, with how many at most.
    play: what else happens to the run, while it lives. lost: its critic is lost, if there is time enough.
    extends: its critic gets all the time it may.
    """

    name: str
    critic: Callable[[Watch], Critic]
    ends: tuple[tuple[str, str], ...] = (("timeout", "deadline"),)
    may: dict[str, int] = field(default_factory=dict[str, int])
    agent: str = "busy"
    play: Play = leave_alone
    lost: bool = False
    extends: bool = False
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class Row:
    """A row of the table. late_ms: by how much the hard limit was late on the wall clock, if it was what ended it."""

    case: str
    status: str
    by: str
    late_ms: float | None
    terminal: int
    supervision: dict[str, int]
    reviews: int
    problems: list[str]


def _raise(kind: type[BaseException], *_: Any) -> Any:
    raise kind("hostile")


def _deep(trace: Trace, now: float) -> Any:
    return _deep(trace, now)


async def _for_ever() -> Any:
    await asyncio.Event().wait()


async def _for_ever_and_deaf() -> Any:
    for _ in range(3):  # at the close of the loop it gives in
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


class _Evil:
    def __str__(self) -> str:
        raise SystemExit(4)


class _Hanging:
    def __str__(self) -> str:
        threading.Event().wait()
        return ""


def _of(kind: type[Hostile], answer: Callable[[Trace, float], Any]) -> Callable[[Watch], Critic]:
    return lambda watch: cast(Critic, kind(watch, answer))


def _rotating(*answers: Any) -> Callable[[Watch], Critic]:
    turn = itertools.cycle(answers)
    return _of(Hostile, lambda trace, now: next(turn))


def _waits_for_go(verdict: Verdict) -> Callable[[Watch], Critic]:
    def make(watch: Watch) -> Critic:
        def answer(trace: Trace, now: float) -> Any:
            watch.go.wait(GIVE_UP_S)
            return verdict

        return cast(Critic, Patient(watch, answer))

    return make


def _late_kill(run: Run, watch: Watch) -> None:
    """The review is let go when the run is over."""
    run.result(GIVE_UP_S)
    watch.go.set()


def _race_to_kill(run: Run, watch: Watch) -> None:
    """The host kills it as well, in the same moment, twice."""
    watch.asked.acquire(timeout=GIVE_UP_S)
    watch.go.set()
    for _ in range(2):
        try:
            run.kill("the host too", by="host")
        except Exception:  # it may be over already: that is what the host is told
            return


def _steer_while_it_waits(run: Run, watch: Watch) -> None:
    """The verdict comes when the run waits for a person; afterwards the person ends it."""
    watch.asked.acquire(timeout=GIVE_UP_S)
    with run.events() as events:
        while not any(event.tag == "input-awaited" for event in events.take(GIVE_UP_S)):
            pass
    watch.go.set()
    watch.asked.acquire(timeout=0.5)
    run.end("thanks", by="a person")


CASES = [
    Case("raises", _of(Hostile, partial(_raise, RuntimeError)), lost=True),
    Case("raises, async", _of(HostileAsync, partial(_raise, RuntimeError)), lost=True),
    Case("hangs, sync", _of(Hostile, lambda trace, now: threading.Event().wait()), lost=True),
    Case("hangs, async", _of(HostileAsync, lambda trace, now: _for_ever()), lost=True),
    Case("hangs, deaf to its end", _of(HostileAsync, lambda trace, now: _for_ever_and_deaf()), lost=True),
    Case(
        "floods",
        _of(Flooding, lambda trace, now: Steer("hurry up")),
        may={"critic-steered": 1_001, "critic-lost": 1},
    ),
    Case(
        "garbage",
        _rotating(None, "kill", 7, object(), Steer, Steer(cast(Any, None)), Kill(cast(Any, 5)), [Kill("x")]),
        lost=True,
    ),
    Case("foreign evidence", _rotating(Kill("x", {"a": _Evil()})), lost=True),
    Case("evidence that hangs", _rotating(Kill("x", {"a": _Hanging()})), lost=True),
    Case("terms that raise", _of(Touchy, lambda trace, now: Continue()), lost=True),
    Case(
        "kills twice",
        _waits_for_go(Kill("enough")),
        ends=(("killed", "hostile"), ("killed", "host")),
        may={"critic-killed": 1},
        play=_race_to_kill,
    ),
    Case("kills after the end", _waits_for_go(Kill("late")), ends=(("ok", "model"),), agent="short", play=_late_kill),
    Case(
        "steers a waiting run",
        _waits_for_go(Steer("hello?")),
        ends=(("ok", "a person"),),
        agent="short",
        play=_steer_while_it_waits,
        options={"interactive": True},
    ),
    Case(
        "extends beyond the cap",
        _of(Hostile, lambda trace, now: Extend(1e6, "more")),
        may={"deadline-extended": 1},
        extends=True,
    ),
    Case(
        "extends by NaN, inf, −1",
        _rotating(Extend(float("nan")), Extend(float("inf")), Extend(-1)),
        lost=True,
    ),
    Case(
        "raises beyond the cap",
        _of(Hostile, lambda trace, now: Raise(10**6, "more")),
        ends=(("error", "ceiling"),),
        may={"ceiling-raised": 1},
        agent="counted",
    ),
    Case(
        "bills without end",
        _of(Hostile, lambda trace, now: Judged(Continue(), Usage(1 << 52, 1 << 52))),
        may={"critic-reviewed": 1_001, "critic-lost": 1},
    ),
    Case("sys.exit", _of(Hostile, partial(_raise, SystemExit)), lost=True),
    Case("sys.exit, async", _of(HostileAsync, partial(_raise, SystemExit)), lost=True),
    Case("Ctrl-C, async", _of(HostileAsync, partial(_raise, KeyboardInterrupt)), lost=True),
    Case("deep recursion", _of(Hostile, _deep), lost=True),
]


@tool(effect="pure")
async def rest() -> str:
    """Takes a moment."""
    await asyncio.sleep(0.02)
    return "rested"


def _agents(hard_s: float) -> list[Agent]:
    def always(request: Any) -> Any:
        return [call("rest")]

    def once(request: Any) -> Any:
        return [call("rest")] if request.step == 1 else "done"

    def agent(name: str, answer: Callable[[Any], Any], timeout_s: float = 60.0, max_steps: int = 10_000) -> Agent:
        return Agent(
            name,
            model=ScriptedModel(answer),
            tools=(rest,),
            timeout_s=timeout_s,
            extend_to_s=timeout_s + EXTEND_S,
            soft_timeout_s=0.05,
            max_steps=max_steps,
            raise_steps_to=max_steps + STEPS_CAP - STEPS,
        )

    return [agent("busy", always, hard_s), agent("short", once), agent("counted", always, max_steps=STEPS)]


def play(case: Case, folder: Path | None = None, hard_s: float = HARD_S) -> Row:
    """Have the case's critic watch a run with a deadline of `hard_s` seconds, and look at what became of it."""
    watch = Watch()
    critic = case.critic(watch)

    def choose(info: RunInfo) -> Critic | None:
        return critic if info.name == "watched" else None

    path = None if folder is None else folder / "runs.db"
    with Runtime(path, _agents(hard_s), critic=choose) as runtime:
        run = runtime.start(case.agent, "go", name="watched", **case.options)
        beside = runtime.start("short", "go")
        case.play(run, watch)
        result = run.result(GIVE_UP_S)
        after = runtime.start("short", "go").result(GIVE_UP_S)
        events = _stored(run)
        problems = _judge(case, result.status, result.by, events, hard_s)
        if beside.result(GIVE_UP_S).status != "ok" or after.status != "ok":
            problems.append("a run beside it did not end well")
        problems += [f"its log: {problem}" for problem in verify_run(runtime.journal, run.id)]
        if result.status == "killed" and watch.reviews > 1:
            problems.append("it was asked again after it had killed")
    late_ms = None
    if result.by == "deadline":
        deadline_s = hard_s + (EXTEND_S if case.extends else 0.0)
        end = next(event for event in events if event.tag in TERMINAL_TAGS)
        late_ms = round((end.at_us - events[0].at_us) / 1000 - deadline_s * 1000, 1)
    seen = Counter(event.tag for event in events)
    return Row(
        case=case.name,
        status=result.status,
        by=result.by,
        late_ms=late_ms,
        terminal=sum(seen[tag] for tag in TERMINAL_TAGS),
        supervision={tag: count for tag, count in sorted(seen.items()) if tag in SUPERVISION},
        reviews=watch.reviews,
        problems=problems,
    )


def _stored(run: Run) -> list[Event]:
    with run.events() as events:
        return events.poll()


def _judge(case: Case, status: str, by: str, events: Sequence[Event], hard_s: float) -> list[str]:
    problems: list[str] = []
    if (status, by) not in case.ends:
        problems.append(f"it ended with {status} by {by}")
    tags = [event.tag for event in events]
    terminal = [tag for tag in tags if tag in TERMINAL_TAGS]
    if len(terminal) != 1 or tags[-1] not in TERMINAL_TAGS:
        problems.append(f"{len(terminal)} terminal facts; the last fact is {tags[-1]}")
    for tag, count in Counter(tag for tag in tags if tag in SUPERVISION).items():
        if count > case.may.get(tag, tag == "critic-lost" and case.lost):
            problems.append(f"{count} facts {tag}")
    for event in events:
        if isinstance(event.fact, DeadlineExtended) and event.fact.until_ms > (hard_s + EXTEND_S) * 1000:
            problems.append(f"its deadline moved to {event.fact.until_ms} ms")
    if case.lost and hard_s >= HARD_S and "critic-lost" not in tags:
        problems.append("its critic failed and was not lost")
    if case.extends and "deadline-extended" not in tags:
        problems.append("it was not extended")
    steps = sum(tag == "step-completed" for tag in tags)
    if case.agent == "counted" and steps != (STEPS_CAP if "ceiling-raised" in tags else STEPS):
        problems.append(f"it made {steps} steps")
    return problems


def main() -> int:
    """Print the table; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="how often each case is played")
    parser.add_argument("--hard", type=float, default=HARD_S, help="seconds of the hard deadline")
    parser.add_argument("--memory", action="store_true", help="keep the runs in memory instead of a file")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args()
    rows: list[Row] = []
    for case in CASES:
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(play(case, None if options.memory else Path(folder), options.hard))
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(
            f"{'critic':26} {'status':8} {'by':10} {'late ms':>8} {'terminal':>8} {'reviews':>7}  supervision, problems"
        )
        for row in rows:
            late = "" if row.late_ms is None else f"{row.late_ms:.1f}"
            said = ", ".join(f"{tag} {count}" for tag, count in row.supervision.items())
            rest_of = "; ".join(filter(None, (said, *(f"WRONG: {one}" for one in row.problems))))
            print(f"{row.case:26} {row.status:8} {row.by:10} {late:>8} {row.terminal:>8} {row.reviews:>7}  {rest_of}")
        late = [row.late_ms for row in rows if row.late_ms is not None]
        print(
            f"\nhard limit late by at most {max(late):.1f} ms over {len(late)} runs; "
            f"{sum(bool(row.problems) for row in rows)} of {len(rows)} runs with problems"
        )
    return 1 if any(row.problems for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
