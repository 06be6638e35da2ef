from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from unittest import mock

from support import JobCase

import jobshim
from jobshim import _find


class Become(JobCase):
    def start(self, module: str, *args: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(
            [sys.executable, "-m", module, *args], env=env, text=True, stdout=subprocess.PIPE
        )

    def test_same_process(self) -> None:
        with self.start("jobshim", "--id", "a", "--", "sh", "-c", "echo $PPID") as process:
            stdout, _ = process.communicate()
        self.assertEqual(stdout, f"{process.pid}\n")
        self.assertEqual(process.returncode, 0)
        with self.start("jobshim.ctl", "status", "a") as process:
            stdout, _ = process.communicate()
        self.assertEqual((stdout, process.returncode), ("a  completed  Completed.\n", 0))

    def test_exit_status(self) -> None:
        for script, status in ("exit 7", 7), ("kill -KILL $$", -signal.SIGKILL):
            with self.start("jobshim", "--", "sh", "-c", script) as process:
                process.communicate()
            self.assertEqual(process.returncode, status)

    def test_signals_are_as_before(self) -> None:
        with self.start("jobshim", "--", "grep", "SigIgn", "/proc/self/status") as process:
            stdout, _ = process.communicate()
        ignored = int(stdout.split()[1], 16)
        for number in signal.SIGPIPE, signal.SIGXFSZ:
            self.assertFalse(ignored & (1 << (number - 1)), number)

    def test_not_installed(self) -> None:
        os.mkdir(self.path("empty"))
        with mock.patch.dict(os.environ, JOBSHIM_BINARY_DIR=self.path("empty")):
            done = subprocess.run(
                [sys.executable, "-m", "jobshim", "--version"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
            )
        self.assertEqual(done.returncode, 125)
        self.assertEqual(done.stderr, f"jobshim: jobshim: not found in {self.path('empty')}\n")


class Find(unittest.TestCase):
    """In which order the programs are searched for."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        module = os.path.join(self.folder, "prefix/lib/python3.9/site-packages/jobshim/_find.py")

        def get_path(name: str, scheme: str = "", vars: dict[str, str] | None = None) -> str:
            assert name == "scripts"
            directory = "base" if vars else "user" if scheme else "venv"
            return os.path.join(self.folder, directory)

        environ = {k: v for k, v in os.environ.items() if k != "JOBSHIM_BINARY_DIR"}
        patches = contextlib.ExitStack()
        self.addCleanup(patches.close)
        patches.enter_context(mock.patch.dict(os.environ, environ, clear=True))
        patches.enter_context(mock.patch.object(sysconfig, "get_path", get_path))
        patches.enter_context(mock.patch.object(_find, "__file__", module))

    def test_order(self) -> None:
        beside = "prefix/lib/python3.9/site-packages/bin"
        found = []
        for directory in reversed(["venv", "base", "user", "prefix/bin", beside]):
            os.makedirs(os.path.join(self.folder, directory))
            path = os.path.join(self.folder, directory, "jobctl")
            open(path, "w").close()
            found.append((jobshim.jobctl_path(), path))
        for got, expected in found:
            self.assertEqual(got, expected)

    def test_nowhere(self) -> None:
        with self.assertRaises(jobshim.JobshimError) as caught:
            jobshim.jobshim_path()
        self.assertIsNone(caught.exception.returncode)
        self.assertIn("venv, ", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
