"""What the tests share. JOBSHIM_TEST_BIN names the folder of the programs to test with; without it,
they use the ones of the installed package."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Callable, NoReturn

if "JOBSHIM_TEST_BIN" in os.environ:
    os.environ["JOBSHIM_BINARY_DIR"] = os.environ["JOBSHIM_TEST_BIN"]
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), os.pardir, "src"))

import jobshim
from jobshim import aio

LIMIT = 30.0


def skip(reason: str) -> NoReturn:
    print(f"test skipped: {reason}", flush=True)
    raise unittest.SkipTest(reason)


def needs_events() -> None:
    asked = subprocess.run([jobshim.jobctl_path(), "events", "no-such-job"], capture_output=True)
    if asked.returncode == 2:
        skip("jobctl has no events command")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {LIMIT:g} s: {what}")
        time.sleep(0.01)


def programs_running() -> list[int]:
    """The programs that this process has started and not yet waited for."""
    return [child for task in os.listdir("/proc/self/task") for child in _children_of(task)]


def _children_of(task: str) -> list[int]:
    with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children") as file:
        return [int(word) for word in file.read().split()]
    return []


class JobCase(unittest.TestCase):
    """Has a folder, which is also the state directory. What runs in it at the end is killed."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        state = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = self.folder
        self.addCleanup(self._restore, state)
        self.addCleanup(self._kill_jobs)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def shim_pid(self, job: jobshim.Job | aio.Job) -> int:
        record = job.report["job"]
        assert record is not None
        shim = record["jobshim"]["shim"]
        assert shim is not None
        return shim["pid"]

    @staticmethod
    def _restore(state: str | None) -> None:
        if state is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = state

    def _kill_jobs(self) -> None:
        for folder in self.folder, os.path.join(self.folder, "jobshim", "jobs"):
            if not os.path.isdir(folder):
                continue
            for job in jobshim.list_jobs(folder):
                if job.verdict in ("running", "stalled", "orphaned"):
                    jobshim.cancel_job(job, signal="KILL")
