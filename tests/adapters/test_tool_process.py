from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import process_tools as tools
import pytest

from executus import Agent, Runtime
from executus.adapters.models.scripted import ScriptedModel, call
from executus.adapters.tools.functions import tool
from executus.adapters.tools.process import ToolProcessFailed
from executus.events.clean import MAX_TEXT, clean_text
from executus.ports import Tool, ToolContext

CONTEXT = ToolContext("run", "3.0", "run:3.0", "alice")
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="watches processes through /proc and pidfd, as Linux has"
)


def run(one: Tool, arguments: str = "", context: ToolContext = CONTEXT) -> str:
    return asyncio.run(asyncio.wait_for(start(one, arguments, context), DEADLINE_S))


async def start(one: Tool, arguments: str = "", context: ToolContext = CONTEXT) -> str:
    result = one.call(arguments, context)
    assert not isinstance(result, str)
    return await result


class Pids:
    """A named pipe into which `hang` writes its process ids."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pids"
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.arguments = f'{{"where": "{self.path}"}}'

    async def wait(self) -> list[int]:
        """The ids, once they are written."""
        await readable(self._fd)
        text = os.read(self._fd, 100).decode()
        os.close(self._fd)
        assert text.endswith("\n")
        return [int(pid) for pid in text.split()]


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await ready.wait()
    finally:
        loop.remove_reader(fd)


async def until_gone(pid: int) -> None:
    """Return when that process runs no more."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await readable(fd)
    finally:
        os.close(fd)


def children() -> set[int]:
    path = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in path.iterdir() for pid in (task / "children").read_text().split()}


def test_a_result_comes_back_as_text() -> None:
    assert run(tools.add, '{"a": 1, "b": "2"}') == "3"


def test_the_context_reaches_the_tool() -> None:
    assert run(tools.key) == "run 3.0 run:3.0 alice"


class Desk:
    """What a tool in this process may ask; it holds a lock, as a real one does, so that it cannot be sent anywhere."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def status(self) -> dict[str, Any]:
        raise NotImplementedError

    def open_file(self, file_id: str) -> bytes:
        raise NotImplementedError

    def keep(self, name: str, content: bytes, media_type: str = "") -> str:
        raise NotImplementedError


@pytest.mark.parametrize("one", [tools.desk, tools.Shout("!")])
def test_the_desk_stays_in_the_host(one: Tool) -> None:
    here = ToolContext("run", "3.0", "run:3.0", "alice", desk=Desk())
    assert run(one, "{}", here) in ("None", "{}!")
    assert here.desk is not None


def test_an_exception_keeps_its_name_and_its_text() -> None:
    with pytest.raises(ToolProcessFailed, match=r"^nöpe$") as caught:
        run(tools.fail, '{"text": "nöpe"}')
    assert type(caught.value).__name__ == "FileNotFoundError"


def test_arguments_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ToolProcessFailed, match="missing required field `b`"):
        run(tools.add, '{"a": 1}')


@pytest.mark.parametrize("code", [0, 7])
def test_a_tool_that_exits_without_an_answer_is_told_so(code: int) -> None:
    with pytest.raises(ToolProcessFailed, match=f"ended with exit code {code} and gave no answer"):
        run(tools.leave, f'{{"code": {code}}}')


def test_sys_exit_is_an_error_of_the_tool() -> None:
    with pytest.raises(ToolProcessFailed, match=r"^3$") as caught:
        run(tools.exits)
    assert type(caught.value).__name__ == "SystemExit"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN + 1])
def test_a_tool_killed_by_a_signal_is_told_by_its_name(number: int) -> None:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    with pytest.raises(ToolProcessFailed, match=f"killed by {name}"):
        run(tools.die, f'{{"number": {int(number)}}}')


def test_what_a_tool_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tools.chatter) == "done"
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["printed by a tool", "printed by its child"]


def test_standard_input_is_empty() -> None:
    assert run(tools.stdin_text) == ""


def test_a_large_result_is_cut_so_that_it_fits_a_fact() -> None:
    text = run(tools.large, '{"characters": 25000000}')
    assert MAX_TEXT - 512 < len(text) <= MAX_TEXT
    assert "characters left out; sha256 of the whole" in text
    assert clean_text(text) == text


def test_a_grandchild_is_killed_when_the_tool_returns(tmp_path: Path) -> None:
    where = tmp_path / "grandchild"

    async def story() -> None:
        assert await start(tools.orphan, f'{{"where": "{where}"}}') == "done"
        await until_gone(int(where.read_text()))

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_a_grandchild_that_holds_the_line_does_not_hide_an_exit(tmp_path: Path) -> None:
    where = tmp_path / "grandchild"

    async def story() -> None:
        with pytest.raises(ToolProcessFailed, match="exit code 5"):
            await start(tools.orphan, f'{{"where": "{where}", "code": 5}}')
        await until_gone(int(where.read_text()))

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_cancelling_kills_the_tool_and_all_it_started_and_leaves_no_zombie(tmp_path: Path) -> None:
    before = children()

    async def story() -> None:
        told = Pids(tmp_path)
        call = asyncio.create_task(start(tools.hang, told.arguments))
        pids = await told.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not Path(f"/proc/{pids[0]}").exists()  # reaped, not merely dead
        for pid in pids:
            await until_gone(pid)

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    assert children() <= before


def test_a_timeout_kills_the_tool(tmp_path: Path) -> None:
    async def story() -> None:
        told, pids = Pids(tmp_path), list[int]()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:

                async def when_started() -> None:
                    pids.extend(await told.wait())
                    limit.reschedule(asyncio.get_running_loop().time())

                starting = asyncio.create_task(when_started())
                await start(tools.hang, told.arguments)
        await starting
        for pid in pids:
            await until_gone(pid)

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


@pytest.mark.parametrize("how", ["cancel", "timeout", "close"])
def test_a_run_that_stops_kills_its_tool(how: str, tmp_path: Path) -> None:
    told = Pids(tmp_path)
    model = ScriptedModel([call("hang", where=str(told.path)), "done"])
    rt = Runtime(agents=[Agent("hanger", model=model, tools=[tools.hang])])
    try:
        run = rt.start("hanger", "go", timeout_s=5.0 if how == "timeout" else None)
        pids = asyncio.run(told.wait())
        if how == "cancel":
            run.cancel("enough")
        if how != "close":
            assert run.result(DEADLINE_S).status == {"cancel": "cancelled", "timeout": "timeout"}[how]
            for pid in pids:
                asyncio.run(until_gone(pid))
    finally:
        assert rt.close()
    for pid in pids:
        asyncio.run(until_gone(pid))


def test_a_tool_dies_with_its_host(tmp_path: Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(
        textwrap.dedent(f"""
        import asyncio, sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        import process_tools
        from executus.ports import ToolContext

        async def main():
            await process_tools.hang.call(sys.argv[1], ToolContext("", "", ""))

        asyncio.run(main())
        """)
    )

    async def story() -> None:
        told = Pids(tmp_path)
        process = await asyncio.create_subprocess_exec(sys.executable, str(host), told.arguments)
        pids = await told.wait()
        process.kill()
        await process.wait()
        for pid in pids:
            await until_gone(pid)

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_a_child_has_no_file_of_the_host_open(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal:
        os.set_inheritable(journal.fileno(), True)
        found = run(tools.open_files)
    assert "journal" not in found
    assert found.count("socket:") == 1  # its line to the host


def test_a_child_leads_its_own_session() -> None:
    pid, session, group = run(tools.session).strip("[]").split(",")
    assert pid == session == group != str(os.getpgrp())


def test_many_run_at_once() -> None:
    async def story() -> list[str]:
        calls = (start(tools.add, f'{{"a": {n}, "b": {n}}}') for n in range(6))
        return await asyncio.gather(*calls)

    assert asyncio.run(asyncio.wait_for(story(), DEADLINE_S)) == ["0", "2", "4", "6", "8", "10"]


def test_no_more_than_the_limit_run_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("executus.adapters.tools.process.MAX_PROCESSES", 1)

    async def story() -> None:
        told = Pids(tmp_path)
        first = asyncio.create_task(start(tools.hang, told.arguments))
        await told.wait()
        second = asyncio.create_task(start(tools.add, '{"a": 1, "b": 2}'))
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(children()) == 1
        first.cancel()
        assert await second == "3"

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_it_works_on_a_loop_outside_the_main_thread() -> None:
    async def story() -> str:
        return await asyncio.to_thread(run, tools.add, '{"a": 2, "b": 3}')

    assert asyncio.run(story()) == "5"


def test_a_function_made_a_tool_elsewhere_is_found() -> None:
    assert run(tool(mode="process")(tools.plain), '{"text": "loud"}') == "LOUD"


def test_a_tool_object_is_sent_whole() -> None:
    assert run(tools.Shout("!"), "hey") == "hey!"


def test_a_tool_object_that_cannot_be_sent_is_refused() -> None:
    shout = tools.Shout("!")
    shout.listener = lambda: None  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"Shout.shout.* cannot be sent to a child process"):
        run(shout, "hey")


def test_a_local_function_cannot_be_a_process_tool() -> None:
    def local() -> str:
        return ""

    with pytest.raises(ValueError, match="define it at the top level of a module"):
        tool(mode="process")(local)


MAIN_SCRIPT = """
import asyncio
from executus.adapters.tools.functions import tool
from executus.ports import ToolContext

@tool(mode="process")
def where() -> str:
    return __name__

async def ask():
    return await where.call("", ToolContext("", "", ""))

def main():
    print(asyncio.run(ask()))
"""


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, cwd=cwd, check=False
    )


def test_a_tool_of_the_main_script_is_found(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(MAIN_SCRIPT + 'if __name__ == "__main__":\n    main()\n')
    done = run_python("script.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("__mp_main__\n", "")


def test_a_tool_of_a_module_run_with_dash_m_is_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sibling.py").touch()
    (package / "script.py").write_text("from . import sibling\n" + MAIN_SCRIPT + 'if __name__ == "__main__": main()\n')
    done = run_python("-m", "package.script", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("package.script\n", "")


def test_a_main_script_without_a_guard_is_told_so_and_does_not_recurse(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(MAIN_SCRIPT + "main()\n")
    done = run_python("script.py", cwd=tmp_path)
    assert 'put that under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_module_that_is_not_on_the_path_is_loaded_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    plugin = tmp_path / "elsewhere" / "plugin.py"
    plugin.write_text(MAIN_SCRIPT)
    (tmp_path / "host.py").write_text(
        textwrap.dedent("""
        import asyncio, importlib.util, sys
        spec = importlib.util.spec_from_file_location("plugin_x", sys.argv[1])
        plugin = sys.modules["plugin_x"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin)
        plugin.main()
        """)
    )
    done = run_python("host.py", str(plugin), cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("plugin_x\n", "")


def test_a_hostile_working_directory_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)
    assert run(tools.add, '{"a": 1, "b": 2}') == "3"
