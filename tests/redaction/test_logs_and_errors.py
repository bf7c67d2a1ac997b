"""Log lines and exceptions say no secret."""

from __future__ import annotations

import ast
import asyncio
import logging
from typing import Any

import pytest
from package_source import modules, tree_of

from executus.errors import MessageRefused, ModelUnavailable
from executus.redaction import Redactor
from executus.redaction.logs import LOGGERS, watch_logs
from executus.redaction.raised import mask_error, masks_errors
from executus.redaction.vault import Vault

VALUE = "correct-horse-battery"


def test_every_logger_of_the_package_is_masked() -> None:
    names = {
        node.args[0].value
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "getLogger"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert names == set(LOGGERS)


@pytest.fixture
def vault() -> Vault:
    made = Vault({"db": VALUE})
    watch_logs(made)
    return made


def test_message_arguments_traceback_and_stack_are_masked(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    for name in LOGGERS:
        logging.getLogger(name).warning("told %s and %r", VALUE, {"x": VALUE}, stack_info=True)
    try:
        raise ValueError(f"no {VALUE}") from KeyError(VALUE)
    except ValueError:
        logging.getLogger("executus.actors").exception("it failed with %s", "nothing secret")
    logging.getLogger("executus.calls").warning("wrong %s %s", VALUE)
    assert "[secret:db]" in caplog.text
    assert VALUE not in caplog.text
    assert "KeyError: '[secret:db]'" in caplog.text
    assert "ValueError: no [secret:db]" in caplog.text


def test_a_record_without_secrets_is_left_alone(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("plain")
    except ValueError:
        logging.getLogger("executus.actors").exception("run %s", "0")
    assert caplog.records[0].args == ("0",)
    assert caplog.records[0].exc_info is not None


def test_vaults_of_several_runtimes_mask_and_one_that_is_gone_does_not(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Vault({"one": VALUE}), Vault({"two": "staple-and-more"})
    watch_logs(first)
    watch_logs(second)
    assert len(logging.getLogger("executus.actors").filters) == 1
    logging.getLogger("executus.actors").warning("%s staple-and-more", VALUE)
    del second
    logging.getLogger("executus.actors").warning("staple-and-more")
    assert [record.getMessage() for record in caplog.records] == ["[secret:one] [secret:two]", "staple-and-more"]
    assert first.missing([]) == []


# ------------------------------------------------------------------ errors


REDACTOR = Redactor([("db", VALUE)])


def chain() -> BaseException:
    try:
        try:
            raise OSError(2, f"no {VALUE}", f"/tmp/{VALUE}")
        except OSError as error:
            raise MessageRefused("run", VALUE, f"why {VALUE}") from error
    except MessageRefused as error:
        error.add_note(f"note {VALUE}")
        group = ExceptionGroup("several", [ValueError(VALUE), error])
        group.__cause__ = group  # a circle
        return group


def test_an_exception_its_notes_and_what_it_came_from_are_masked() -> None:
    error = chain()
    mask_error(error, REDACTOR)
    import traceback

    # Without the lines of code, which are this file's.
    shown = [repr(one.exceptions) for one in [error] if isinstance(one, ExceptionGroup)]
    whole = "".join(traceback.TracebackException.from_exception(error).format(chain=True))
    assert VALUE not in whole
    assert VALUE not in "".join(shown)
    assert whole.count("[secret:db]") >= 5


def test_an_exception_that_holds_itself_is_masked_on_its_face() -> None:
    endless: list[Any] = [VALUE]
    endless += [endless, endless]
    error = ValueError(VALUE, endless)
    mask_error(error, REDACTOR)
    assert error.args[0] == "[secret:db]"


def test_what_an_exception_refuses_is_its_own_affair() -> None:
    class Stubborn(Exception):
        def __setattr__(self, name: str, value: Any) -> None:
            raise RuntimeError

        @property
        def filename(self) -> str:
            raise RuntimeError

    error = Stubborn(VALUE)
    mask_error(error, REDACTOR)
    mask_error(error, Redactor(masks=()))


def test_public_methods_raise_masked_errors_and_private_ones_theirs() -> None:
    @masks_errors(lambda host: REDACTOR)
    class Host:
        def now(self, text: str) -> str:
            if text:
                raise ModelUnavailable(text)
            return "fine"

        async def later(self, text: str) -> str:
            return self.now(text)

        def _inner(self, text: str) -> None:
            raise ValueError(text)

    host = Host()
    assert host.now("") == asyncio.run(host.later("")) == "fine"
    with pytest.raises(ModelUnavailable, match=r"^\[secret:db\]$"):
        host.now(VALUE)
    with pytest.raises(ModelUnavailable, match=r"^\[secret:db\]$"):
        asyncio.run(host.later(VALUE))
    with pytest.raises(ValueError, match=VALUE):
        host._inner(VALUE)
