import io
import json
from pathlib import Path

import pytest

from executus.cli import importing

from .conftest import CONVERSATIONS, Run, lines_of


def test_import_says_what_it_took_in(cli: Run, recording: Path, db: Path) -> None:
    result = cli("import", recording)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"imported 2 conversations (12 events) into {db}"


def test_importing_the_same_file_again_changes_nothing_and_says_so(cli: Run, recording: Path) -> None:
    first = lines_of(cli("import", recording, "--json"))
    again = lines_of(cli("import", recording, "--json"))
    assert [line["run"] for line in again[:2]] == [line["run"] for line in first[:2]]
    assert [line["new"] for line in again[:2]] == [False, False]
    assert again[2] == {"type": "summary", "imported": 0, "known": 2, "events": 0, "refused": None}
    assert len(lines_of(cli("ps", "--json"))) == 2
    assert "2 conversations had been imported before" in cli("import", recording).stdout


def test_a_grown_file_adds_only_what_is_new(cli: Run, recording: Path) -> None:
    cli("import", recording)
    new = {"id": "new", "messages": [{"role": "user", "content": "?"}]}
    recording.write_text(json.dumps([*CONVERSATIONS, new]))
    summary = lines_of(cli("import", recording, "--json"))[-1]
    assert (summary["imported"], summary["known"]) == (1, 2)


def test_what_was_good_before_the_wrong_place_is_kept_and_said(cli: Run, recording: Path) -> None:
    recording.write_text(json.dumps(CONVERSATIONS)[:-30])
    result = cli("import", recording)
    assert result.exit_code == 1
    assert "imported 1 conversation (8 events)" in result.stdout
    assert len(result.stderr.splitlines()) == 1
    assert "conversations.json: line 1, column " in result.stderr
    assert "the file ends in the middle of a conversation; 1 conversation before it is kept" in result.stderr
    assert len(lines_of(cli("ps", "--json"))) == 1
    assert cli("verify").exit_code == 0


def test_a_conversation_that_cannot_have_happened_is_refused_at_its_message(cli: Run, recording: Path) -> None:
    wrong = {"id": "odd", "messages": [{"role": "tool", "tool_call_id": "x", "content": "?"}]}
    recording.write_text(json.dumps([CONVERSATIONS[0], wrong, CONVERSATIONS[1]]))
    result = cli("import", recording, "--json")
    assert result.exit_code == 1
    summary = lines_of(result)[-1]
    assert summary["imported"] == 1
    assert summary["refused"]["place"] == "conversation 2 (odd), message 1"
    assert "which the reply before it did not make" in summary["refused"]["why"]


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "the file is empty"), (b"\xff\xfe", "not text in UTF-8"), (b"hm", "not JSON")]
)
def test_a_file_that_is_nothing_of_the_kind_gets_one_sentence(
    cli: Run, recording: Path, content: bytes, why: str
) -> None:
    recording.write_bytes(content)
    result = cli("import", recording)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "conversations.json: line 1" in result.stderr
    assert why in result.stderr
    assert "0 conversations before it are kept" in result.stderr


def test_a_missing_file_and_an_unknown_format_are_wrong_usage(cli: Run, recording: Path, tmp_path: Path) -> None:
    assert cli("import", tmp_path / "nothing.json").exit_code == 2
    assert cli("import", tmp_path).exit_code == 2
    assert cli("import", recording, "--format", "poem").exit_code == 2


def test_standard_input_is_a_file_too(cli: Run) -> None:
    lines = "\n".join(json.dumps(one) for one in CONVERSATIONS)
    summary = lines_of(cli("import", "-", "--json", input=lines))[-1]
    assert summary["imported"] == 2
    assert lines_of(cli("ps", "--json"))[0]["imported_from"] == "standard input#2"


def test_a_byte_order_mark_does_no_harm(cli: Run, recording: Path) -> None:
    recording.write_bytes(b"\xef\xbb\xbf" + recording.read_bytes())
    assert cli("import", recording).exit_code == 0


def test_many_conversations_come_in_their_order(cli: Run, recording: Path) -> None:
    number = importing.IN_FLIGHT * 2 + 3
    everything = [{"id": n, "messages": [{"role": "user", "content": str(n)}]} for n in range(number)]
    recording.write_text(json.dumps(everything))
    assert lines_of(cli("import", recording, "--json"))[-1]["imported"] == number
    assert [row["name"] for row in lines_of(cli("ps", "--all", "--json"))] == [str(n) for n in range(number)][::-1]


def test_a_big_file_shows_progress_on_a_terminal(cli: Run, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(importing, "BIG_CHARACTERS", 1)
    screen = Terminal()
    monkeypatch.setattr(importing.sys, "stderr", screen)
    text = recording.read_text()
    found = list(importing._with_progress(importing.read_recordings(text, "f"), len(text)))
    assert len(found) == 2
    assert "importing" in screen.getvalue()


def test_errors_of_tools_are_told_by_their_prefix_if_one_is_given(cli: Run, recording: Path) -> None:
    failed = json.loads(json.dumps(CONVERSATIONS[0]).replace('"rain"', '"Error: no such city"'))
    recording.write_text(json.dumps([failed, CONVERSATIONS[1]]))
    cli("import", recording)
    assert "no such moments" in cli("history", lines_of(cli("ps", "--json"))[-1]["run"], "--errors").stderr
    again = lines_of(cli("import", recording, "--error-prefix", "Error: ", "--json"))
    assert [line["new"] for line in again[:2]] == [True, False], "only what is read in another way is taken in again"
    assert "✗ 1.0: Error: no such city" in cli("history", again[0]["run"], "--errors").stdout
