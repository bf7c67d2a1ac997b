"""A Ctrl-C that comes in the moment before a host begins to wait is noticed all the same.

CPython notes a signal and handles it when the main thread runs again. One that arrives between its last look and the
system call in which it waits is noted, and the wait begins: nothing ends it but the next thing that happens. A library
loaded before all others raises the signal just there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="the signal is placed with gcc's help"
)

LATE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    static int sent;
    int (*real)(int, struct epoll_event *, int, int) = dlsym(RTLD_NEXT, "epoll_wait");
    if (!sent && syscall(SYS_gettid) == getpid() && access(getenv("NOW"), F_OK) == 0) {
        sent = 1;
        raise(SIGINT);
    }
    return real(epoll, events, most, timeout);
}
"""

HOST = """
import asyncio, os, signal, sys
from executus import Agent, Runtime, ScriptedModel

signal.signal(signal.SIGINT, signal.default_int_handler)

async def never(request):
    await asyncio.get_running_loop().create_future()

async def main():
    async with Runtime(agents=[Agent("stuck", model=ScriptedModel(never))]) as runtime:
        run = await runtime.start_async("stuck", "go")
        events = run.events()
        for _ in range(2):
            await anext(events)
        await asyncio.sleep(1.2)  # what the start looked up for is over
        open(os.environ["NOW"], "w").close()
        await (run if sys.argv[1] == "result" else anext(events))

asyncio.run(main())
"""


@pytest.mark.parametrize("awaited", ["result", "event"])
def test_a_ctrl_c_in_the_moment_before_an_async_host_waits_for_a_run_ends_it(awaited: str, tmp_path: Path) -> None:
    source, library = tmp_path / "late.c", tmp_path / "late.so"
    source.write_text(LATE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = dict(os.environ, LD_PRELOAD=str(library), NOW=str(tmp_path / "now"))
    host = subprocess.Popen([sys.executable, "-c", HOST, awaited], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        _, said = host.communicate(timeout=30)
    finally:
        host.kill()
        host.wait()
    assert said.strip().endswith("KeyboardInterrupt")
    assert host.returncode < 0
