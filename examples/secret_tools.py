"""A tool is given a secret when it runs; the model, the log and whoever watches see a mark in its place."""

from executus import Agent, Runtime, ScriptedModel, Secret, secret, tool
from executus.adapters.models.scripted import call


@tool
def deploy(branch: str, token: Secret = secret("github")) -> str:
    """Deploy a branch."""
    header = f"Authorization: Bearer {token.reveal()}"  # the value itself: only here
    return f"deployed {branch} with {token}, {len(header)} characters of header; debug: {header}"


if __name__ == "__main__":
    script = [[call("deploy", branch="main")], "It is out."]
    agent = Agent("deployer", model=ScriptedModel(script), tools=[deploy])
    secrets = {"github": "a-token-from-your-keyring", "db": Secret("another-one-of-yours")}
    with Runtime(agents=[agent], secrets=secrets) as rt:
        run = rt.start("deployer", "Deploy main. The database's password is another-one-of-yours.")
        run.result(timeout=60)
        rt.add_secret("github", "the-token-of-next-month")  # tools get this one; both stay masked
        for message in run.transcript():
            print(message.role, message.parts)
