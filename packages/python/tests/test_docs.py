from __future__ import annotations

import contextlib
import io
import os
import re
import unittest
from unittest import mock

from support import JobCase, needs_events, skip

import jobshim

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir)
GUIDE = os.path.join(PACKAGE, os.pardir, os.pardir, "docs", "python.md")


class Examples(JobCase):
    """The examples run as they are, with a `make` that is killed after a moment."""

    def setUp(self) -> None:
        super().setUp()
        with open(self.path("make"), "w") as file:
            file.write("#!/bin/sh\necho compiling; sleep 0.3; kill -9 $$\n")
        os.chmod(self.path("make"), 0o755)
        path = self.folder + os.pathsep + os.environ["PATH"]
        patch = mock.patch.dict(os.environ, PATH=path)
        patch.start()
        self.addCleanup(patch.stop)
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def run_examples(self, file: str, names: dict[str, object]) -> str:
        if not os.path.exists(file):
            skip(f"{os.path.basename(file)} is not here")
        with open(file) as text:
            blocks = re.findall(r"^```python\n(.*?)^```$", text.read(), re.MULTILINE | re.DOTALL)
        self.assertTrue(blocks)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            for block in blocks:
                exec(compile(block, file, "exec"), names)
        return out.getvalue()

    def test_guide(self) -> None:
        needs_events()
        three = {name: jobshim.spawn_job("true") for name in ("one", "two", "three")}
        printed = self.run_examples(GUIDE, {**three})
        self.assertIn("\nrunning The shim (pid ", printed)
        self.assertIn(": Killed by SIGKILL; who sent it", printed)
        self.assertIn("\n-9\ncompiling\n", printed)
        self.assertIn("\nended Killed by SIGKILL", printed)
        self.assertIn("\ncompiling\nKilled by SIGKILL", printed)

    def test_readme(self) -> None:
        printed = self.run_examples(os.path.join(PACKAGE, "README.md"), {})
        self.assertRegex(printed, "^build: Killed by SIGKILL; who .* -9\n$")


if __name__ == "__main__":
    unittest.main()
