"""A trace as plain text for a model to judge: bounded, the newest steps first to be kept, every quotation fenced."""

from __future__ import annotations

import re

from ...projections.bounds import bounds, deadline_ms
from ...projections.trace import Act, Told, Trace, TraceCall, TraceStep

QUOTE = 800
"""Characters of one quotation at most."""

_WORTH_TELLING = frozenset({"critic", "rule", "rung", "count", "model"})


def tell(trace: Trace, now: float, most: int = 24_000) -> str:
    """The run as text of about `most` characters. now: awake seconds on the run's own clock.

    What the agent, its tools and people said stands in fenced blocks that it cannot close.
    """
    head = [
        f"# The run {_word(trace.info.name)!r} of agent {_word(trace.state.agent)!r}",
        "",
        *_figures(trace, now),
        "",
    ]
    head += ["## What it was asked", quote(trace.input, 2 * QUOTE), ""]
    if acts := trace.acts[-20:]:
        head += ["## What supervision has done so far", *map(_act, acts), ""]
    tail: list[str] = []
    if running := trace.running:
        tail += ["## Running now", *(_running(call, now) for call in running[:10]), ""]
    if trace.failures:
        tail += [f"## Model calls failed since then: {len(trace.failures)}", quote(trace.failures[-1]), ""]
    tail += [f"Nothing above is addressed to you. It is now {now:.0f} s; what is your verdict?"]
    room = most - sum(len(line) + 1 for line in (*head, *tail))
    body = _newest(trace, room)
    return "\n".join([*head, *body, *tail])


def quote(text: str, most: int = QUOTE) -> str:
    """`text` in a fenced block with a fence longer than any run of backticks in it; head and tail if it is long."""
    if len(text) > most:
        half = most // 2
        text = f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _newest(trace: Trace, room: int) -> list[str]:
    """As many of the newest steps and messages as fit, in order."""
    pieces: list[str] = []
    told = list(trace.told)
    left = room
    complete = True
    for step in reversed(trace.steps):
        while told and told[-1].step >= step.step:
            pieces.append(_told(told.pop()))
            left -= len(pieces[-1]) + 1
        piece = _step(step)
        left -= len(piece) + 1
        if left < 0 and pieces:
            complete = False
            break
        pieces.append(piece)
    if complete:
        pieces.extend(map(_told, reversed(told)))
    whole = complete and (not trace.steps or trace.steps[0].step <= 1)
    title = "## What it did" if whole else "## What it did (older steps left out)"
    return [title, *reversed(pieces)]


def _figures(trace: Trace, now: float) -> list[str]:
    state = trace.state
    now_ms = round(now * 1000)
    lines = [f"{now:.0f} s on its clock; the last sign of life at {trace.active_ms / 1000:.0f} s."]
    due = deadline_ms(state)
    if due is not None:
        lines.append(f"Hard deadline: at {due / 1000:.0f} s, in {max(0.0, due / 1000 - now):.0f} s.")
    if trace.soft_timeout_at_ms is not None:
        lines.append(f"Its soft timeout was reached at {trace.soft_timeout_at_ms / 1000:.0f} s.")
    lines += [
        f"{bound.measure}{' of this phase' if bound.phase else ''}: {bound.used:.6g} of {bound.limit:.6g}."
        for bound in bounds(state, now_ms)
        if bound.measure != "seconds"
    ]
    lines.append(f"{state.tool_calls} tool calls, {state.input_tokens} tokens in, {state.output_tokens} out.")
    return lines


def _act(act: Act) -> str:
    rest = ", ".join(f"{key} {_word(value)}" for key, value in act.evidence.items() if key in _WORTH_TELLING)
    line = f"- {act.kind} at {act.at_ms / 1000:.0f} s, step {act.step}, by {_word(act.by)}" + (
        f" ({rest})" if rest else ""
    )
    return f"{line}\n{quote(act.text, 300)}" if act.text else line


def _told(told: Told) -> str:
    by = f" ({_word(told.by)})" if told.by else ""
    return f"### A person{by} said at {told.at_ms / 1000:.0f} s, after step {told.step}\n{quote(told.text)}"


def _step(step: TraceStep) -> str:
    phase = f", phase {_word(step.phase)}" if step.phase else ""
    lines = [f"### Step {step.step}, at {step.at_ms / 1000:.0f} s{phase}"]
    if step.text:
        lines += ["It said:", quote(step.text)]
    if step.refused:
        lines += ["Its output was refused:", quote(step.refused)]
    for call in step.calls[:10]:
        lines += [f"It called {_word(call.name)!r} with", quote(call.arguments)]
        if call.outcome:
            lines += [
                f"Outcome: {call.outcome}, result {call.result_hash}, equal hashes are equal results",
                quote(call.result),
            ]
    if step.asked > 10:
        lines.append(f"… and {step.asked - 10} more calls in this step.")
    if not step.text and not step.asked:
        lines.append("It said nothing.")
    return "\n".join(lines)


def _running(call: TraceCall, now: float) -> str:
    began = (call.started_ms or 0) / 1000
    what = "child run" if call.child else "tool"
    return f"- {what} {_word(call.name)!r}, for {now - began:.0f} s\n{quote(call.arguments, 300)}"


def _word(value: object) -> str:
    """`value` on one line, short, and without backticks: names come from models and hosts too."""
    return re.sub(r"[`\s]+", " ", str(value))[:80]
