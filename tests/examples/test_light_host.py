"""The light host, started as its users start it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HOST = Path(__file__).parents[2] / "examples" / "light_host.py"


def light_host(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(HOST), *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_swarm_without_ports_answers_in_the_order_of_its_files_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for name, lines in (("small", 2), ("large", 30)):
        (tmp_path / f"{name}.py").write_text("def first():\n    pass\n\ndef second():\n" + "    pass\n" * lines)
    before = sorted(tmp_path.iterdir())
    missing = "the tool failed: FileNotFoundError: [Errno 2] No such file or directory: 'missing.py'"
    done = light_host(tmp_path, "small.py", "large.py", "missing.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok  small.py  longest: second: 3 lines  (2 steps)",
        "ok  large.py  longest: second: 31 lines  (2 steps)",
        f"ok  missing.py  {missing}  (2 steps)",
        "3 of 3 ended well",
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_without_files_it_reads_those_beside_it(tmp_path: Path) -> None:
    done = light_host(tmp_path)
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1]] == sorted(
        one.name for one in HOST.parent.glob("*.py")
    )


def test_it_wires_no_port() -> None:
    calls = [node for node in ast.walk(ast.parse(HOST.read_text())) if isinstance(node, ast.Call)]
    [opening] = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Runtime"]
    assert opening.args == []
    assert [keyword.arg for keyword in opening.keywords] == ["agents"]
