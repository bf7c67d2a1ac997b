"""A host that governs its runs: a critic of its own, budgets, children, approvals, files and delivery."""

import tempfile
from pathlib import Path

from executus import (
    Agent,
    Allowance,
    ApprovalTerms,
    BudgetSpent,
    Continue,
    Delegate,
    Extend,
    InputFile,
    Progress,
    Runtime,
    ScriptedModel,
    Steer,
    StuckCritic,
    tool,
)
from executus.adapters.budgets import PerCaller
from executus.adapters.critics.several import Critics
from executus.adapters.delivery.directory import DirectoryDelivery
from executus.adapters.files.stager import DirectoryStager
from executus.adapters.models.scripted import call
from executus.adapters.prices import FixedPrices
from executus.adapters.tools.files import save_artifact
from executus.ports import Verdict
from executus.projections.trace import Trace


class Tutor:
    """Reminds a run of its length once, and gives a slow one more time."""

    name = "tutor"
    every_steps = 5

    def review(self, trace: Trace, now: float) -> Verdict:
        """Judge by what the run did; `now` is its own clock, in awake seconds."""
        if trace.state.governed.soft_reached and trace.running:
            return Extend(60, reason="it is slow, and at work")
        advised = any(act.kind == "critic-steered" for act in trace.acts)
        return Continue() if advised or trace.state.step < 5 else Steer("Come to an end.")


@tool(effect="idempotent", approval=ApprovalTerms(expires_s=86_400, default="deny", question="Send this letter?"))
def send(letter: str) -> str:
    """Send a letter."""
    return "sent"


def told(news: Progress) -> None:
    """Hear what a child does; at once, since a thread of the runtime waits."""
    print("child:", news.event)


writer = Agent("writer", model=ScriptedModel(["Dear Ada, all is well."], name="large"), description="Writes letters.")
clerk = Agent(
    "clerk",
    tier="small",
    agents=[Delegate("writer", max_steps=3, timeout_s=60, max_cost_usd=0.10, on_progress=told)],
    tools=[send, save_artifact],
    soft_timeout_s=60,
    timeout_s=600,
    extend_to_s=1200,
    max_tool_calls=20,
)
SMALL = ScriptedModel(
    [
        call("agent__writer", prompt="Write to Ada."),
        [call("send", letter="Dear Ada, all is well."), call("save_artifact", name="letter.txt", text="Dear Ada, …")],
        "The letter is out.",
    ],
    name="small",
)


def main(data: Path) -> None:
    """Run once, answer what it asks, and look at what it left."""
    budget = PerCaller(
        {"alice": [Allowance(window="day", cost_usd=2.0), Allowance(window="run", tool_calls=10)]},
        otherwise=[Allowance(window="total", tokens=0)],
    )
    with Runtime(
        data / "runs.db",
        [clerk, writer],
        tiers={"small": SMALL},
        critic=Critics(StuckCritic(), Tutor()),
        budget=budget,
        prices=FixedPrices({"small": (0.25, 2.0), "large": (1.25, 10.0)}),
        files=DirectoryStager(data / "attachments"),
        delivery=DirectoryDelivery(data / "outbox"),
    ) as rt:
        try:
            rt.start("clerk", "Write to everybody.", caller="mallory")
        except BudgetSpent as refused:
            print(refused)

        recording = InputFile("ada.mp3", b"\x00\x01\x02", "audio/mpeg")
        run = rt.start("clerk", "Answer Ada.", caller="alice", files=[recording])
        for event in run.events():
            if event.tag == "approval-awaited":  # it may wait for days, and through restarts
                for found, asked in rt.waiting():
                    print(asked.question, asked.arguments)
                    found.approve(asked.call, by="bob")
        print(run.result().status, run.result().output)
        for child in run.children():
            print(child.state().agent, child.status, child.state().output)
        for artifact in run.artifacts():
            print(artifact.name, rt.artifact(artifact.sha256).decode())
        for event in rt.events():
            if (event.run_id, event.tag) == (run.id, "delivered"):
                break
    print(*sorted(path.name for path in (data / "outbox").glob(f"{run.id}*/*")))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
