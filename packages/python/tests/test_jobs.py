from __future__ import annotations

import datetime
import json
import math
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import unittest
from typing import Callable
from unittest import mock

from support import JobCase, needs_events, programs_running, until

import jobshim


class Life(JobCase):
    def test_whole_life(self) -> None:
        go = self.path("go")
        os.mkfifo(go)
        job = jobshim.spawn_job(
            "sh",
            ["-c", 'echo begun; read line <"$GO"; echo $line'],
            job=self.path("b.json"),
            log=self.path("b.log"),
            title="a title",
            env={**os.environ, "GO": go},
        )
        self.assertEqual((job.id, job.file, job.title), ("b", self.path("b.json"), "a title"))
        self.assertEqual((job.verdict, job.returncode, job.reason), ("running", None, None))
        self.assertIsInstance(job.pid, int)
        with self.assertRaises(jobshim.WaitTimeout) as caught:
            job.wait(timeout=0)
        self.assertEqual(caught.exception.timeout, 0)
        with open(go, "w") as file:
            file.write("ended\n")
        self.assertIs(job.wait(), job)
        self.assertEqual((job.verdict, job.returncode, job.reason), ("completed", 0, "success"))
        self.assertIsNone(job.pid)
        self.assertEqual(list(job.logs()), ["begun\n", "ended\n"])
        self.assertEqual(list(job.logs(lines=1)), ["ended\n"])
        self.assertEqual((job.because, job.status), ("Completed.", "completed"))
        self.assertGreater(job.duration or 0, 0)
        self.assertIn("'b' completed", repr(job))

    def test_exit_code(self) -> None:
        job = jobshim.spawn_job("sh", ["-c", "echo why; exit 3"], id="three")
        with self.assertRaises(jobshim.JobFailed) as caught:
            jobshim.wait_job("three")
        error = caught.exception
        self.assertIsInstance(error, jobshim.JobError)
        self.assertIsInstance(error, subprocess.CalledProcessError)
        self.assertEqual(error.code, "ERR_JOB_FAILED")
        self.assertEqual(error.returncode, 3)
        self.assertEqual(error.cmd, ["sh", "-c", "echo why; exit 3"])
        self.assertEqual((error.output, error.stdout, error.stderr), ("why\n", "why\n", None))
        self.assertEqual(str(error), "three: Exited with status 3.")
        assert error.report is not None
        self.assertEqual(error.report["file"], job.file)
        self.assertEqual(jobshim.wait_job(job, check=False).returncode, 3)

    def test_command_of_a_later_run(self) -> None:
        for command in "true", "false":
            job = jobshim.spawn_job(command, job=self.path("again.json"))
            job.wait(check=False)
        with self.assertRaises(jobshim.JobFailed) as caught:
            job.wait()
        self.assertEqual(caught.exception.cmd, ["false"])

    def test_worker_killed(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"], job=self.path("a.json"))
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        with self.assertRaises(jobshim.JobFailed) as caught:
            job.wait()
        self.assertEqual(caught.exception.returncode, -signal.SIGKILL)
        self.assertEqual((job.verdict, job.returncode, job.reason), ("failed", -9, "signal"))

    def test_shim_killed(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"], job=self.path("a.json"))
        os.kill(self.shim_pid(job), signal.SIGKILL)
        with self.assertRaises(jobshim.JobFailed) as caught:
            jobshim.wait_job(pathlib.Path(job.file))
        # Nobody saw how the worker ended.
        self.assertIsNone(caught.exception.returncode)
        self.assertEqual(job.refresh().reason, "shim-lost")

    def test_look_without_settling(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"], job=self.path("a.json"))
        os.kill(self.shim_pid(job), signal.SIGKILL)
        until(lambda: job.refresh(settle=False).verdict == "lost", "the job is lost")
        self.assertEqual(job.report["status"], "running")
        self.assertEqual(jobshim.list_jobs(self.folder, settle=False)[0].verdict, "lost")
        self.assertEqual(jobshim.read_job(job).verdict, "failed")

    def test_orphan(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"], id="o", on_shim_death="keep")
        os.kill(self.shim_pid(job), signal.SIGKILL)
        until(lambda: job.refresh().verdict == "orphaned", "the job is orphaned")
        self.assertEqual(job.cancel(reason="enough").verdict, "cancelled")

    def test_timeout_of_the_job(self) -> None:
        job = jobshim.spawn_job(
            "sh",
            ["-c", "trap 'exit 7' USR1; while :; do sleep 0.02; done"],
            timeout=datetime.timedelta(milliseconds=300),
            kill_signal=signal.SIGUSR1,
            force_kill_after_delay=math.inf,
        )
        with self.assertRaises(jobshim.JobFailed) as caught:
            job.wait()
        self.assertEqual((job.reason, caught.exception.returncode), ("timeout", 7))

    def test_killed_after_the_delay(self) -> None:
        job = jobshim.spawn_job(
            "sh",
            ["-c", "trap '' TERM; echo; while :; do sleep 0.02; done"],
            timeout=0.3,
            force_kill_after_delay=0,
        )
        self.assertEqual(job.wait(check=False).returncode, -signal.SIGKILL)
        self.assertEqual(job.reason, "timeout")

    def test_cancel(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"], id="c")
        self.assertEqual(jobshim.cancel_job("c", reason="wrong branch").verdict, "cancelled")
        with self.assertRaises(jobshim.JobCancelled) as caught:
            job.wait()
        self.assertIn("wrong branch", str(caught.exception))
        self.assertEqual((job.verdict, job.returncode), ("cancelled", -signal.SIGTERM))
        # To cancel it again is no error.
        self.assertEqual(job.cancel().verdict, "cancelled")

    def test_cancel_with_another_signal(self) -> None:
        job = jobshim.spawn_job("sh", ["-c", "trap '' TERM; read x < fifo"], cwd=self.fifo())
        job.cancel(signal=signal.SIGHUP, kill_after=5)
        self.assertEqual(job.returncode, -signal.SIGHUP)

    def fifo(self) -> str:
        os.mkfifo(self.path("fifo"))
        return self.folder

    def test_cancel_what_has_ended(self) -> None:
        job = jobshim.spawn_job("true").wait()
        self.assertEqual(job.cancel().verdict, "completed")

    def test_cancel_several(self) -> None:
        jobs = [jobshim.spawn_job("sleep", ["1000"]) for _ in range(3)]
        cancelled = jobshim.cancel_job([*jobs, jobs[0].id], reason="all of them")
        self.assertEqual([job.id for job in cancelled], [job.id for job in jobs])
        self.assertEqual({job.verdict for job in cancelled}, {"cancelled"})
        self.assertEqual(jobshim.cancel_job([]), [])

    def test_cancel_gives_up_waiting(self) -> None:
        script = "trap '' TERM; echo; while :; do sleep 0.02; done"
        stubborn = jobshim.spawn_job("sh", ["-c", script])
        next(stubborn.logs(follow=True))
        willing = jobshim.spawn_job("sleep", ["1000"])
        with self.assertRaises(jobshim.WaitTimeout) as caught:
            jobshim.cancel_job([willing, stubborn], kill_after=math.inf, timeout=0.2)
        error = caught.exception
        assert error.report is not None
        self.assertEqual((error.report["id"], error.timeout), (stubborn.id, 0.2))
        self.assertEqual(stubborn.cancel(signal="KILL").returncode, -9)

    def test_expect_record(self) -> None:
        job = jobshim.spawn_job("true", expect_record=True)
        with self.assertRaises(jobshim.JobFailed) as caught:
            job.wait()
        self.assertEqual((job.reason, caught.exception.returncode), ("no-result", 0))


class Launch(JobCase):
    def test_relative_paths_are_the_callers(self) -> None:
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)
        job = jobshim.spawn_job("pwd", job="a.json", log=pathlib.Path("a.log"), cwd="/").wait()
        self.assertEqual(job.file, self.path("a.json"))
        with open("a.log") as file:
            self.assertEqual(file.read(), "/\n")

    def test_environment_decides_where_the_record_is(self) -> None:
        os.mkdir(self.path("other"))
        env = {**os.environ, "XDG_STATE_HOME": self.path("other")}
        job = jobshim.spawn_job("sh", ["-c", 'echo "$XDG_STATE_HOME"'], env=env)
        self.assertTrue(job.file.startswith(self.path("other/")))
        self.assertEqual(list(job.wait().logs()), [self.path("other") + "\n"])

    def test_arguments_arrive_as_they_are(self) -> None:
        args = ["-c", 'printf "%s|" "$@"', "-", "", "a b", "--job", "ä\udcff"]
        job = jobshim.spawn_job("sh", args, title="--title")
        text = job.wait().title
        self.assertEqual(text, "--title")
        with open(job.file[: -len("json")] + "log", "rb") as file:
            self.assertEqual(file.read(), b"|a b|--job|\xc3\xa4\xff|")

    def test_args_must_not_be_a_string(self) -> None:
        with self.assertRaises(TypeError):
            jobshim.spawn_job("ls", "-l")

    def test_no_such_command(self) -> None:
        with self.assertRaises(jobshim.JobshimError) as caught:
            jobshim.spawn_job("no-such-command")
        self.assertEqual(caught.exception.returncode, 127)
        self.assertEqual(str(caught.exception), "no-such-command: not found in PATH")
        self.assertEqual(caught.exception.stderr, "jobshim: no-such-command: not found in PATH\n")

    def test_cannot_keep_the_record(self) -> None:
        with self.assertRaises(jobshim.JobshimError) as caught:
            jobshim.spawn_job("true", job=self.path("no/such/folder.json"))
        self.assertEqual(caught.exception.returncode, 125)

    def test_bad_values(self) -> None:
        bad_durations: list[float | datetime.timedelta]
        bad_durations = [-1, math.nan, datetime.timedelta(seconds=-1)]
        for bad in bad_durations:
            with self.assertRaises(ValueError):
                jobshim.spawn_job("true", timeout=bad)
        with self.assertRaises(jobshim.JobshimError) as caught:
            jobshim.spawn_job("true", kill_signal="SIGNONSENSE")
        self.assertEqual(caught.exception.returncode, 125)
        self.assertEqual(jobshim.list_jobs(), [])

    def test_launcher_may_be_gone(self) -> None:
        code = f"import jobshim; jobshim.spawn_job('sleep', ['1000'], job={self.path('a.json')!r})"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        job = jobshim.read_job(self.path("a.json"))
        self.assertEqual(job.verdict, "running")
        assert job.pid is not None
        self.assertNotEqual(os.getsid(job.pid), os.getsid(0))

    def test_launch_is_out_of_reach_of_ctrl_c(self) -> None:
        with open(self.path("jobshim"), "w") as file:
            file.write("#!/bin/sh\ncut -d ' ' -f 6 /proc/$$/stat >&2; exit 125\n")
        os.chmod(self.path("jobshim"), 0o755)
        with mock.patch.dict(os.environ, JOBSHIM_BINARY_DIR=self.folder):
            with self.assertRaises(jobshim.JobshimError) as caught:
                jobshim.spawn_job("true")
        self.assertNotEqual(int(caught.exception.stderr), os.getsid(0))

    def test_worker_has_the_usual_signals(self) -> None:
        # Python ignores SIGPIPE, and the worker must not inherit that.
        job = jobshim.spawn_job("grep", ["SigIgn", "/proc/self/status"]).wait()
        (line,) = job.logs()
        self.assertFalse(int(line.split()[1], 16) & (1 << (signal.SIGPIPE - 1)), line)


class Wait(JobCase):
    def test_several(self) -> None:
        jobs = [jobshim.spawn_job("sh", ["-c", f"exit {n}"], id=f"j{n}") for n in range(3)]
        ended = jobshim.wait_job([jobs[2], "j0", pathlib.Path(jobs[1].file)], check=False)
        self.assertEqual([job.id for job in ended], ["j2", "j0", "j1"])
        self.assertEqual([job.returncode for job in ended], [2, 0, 1])
        with self.assertRaises(jobshim.JobFailed) as caught:
            jobshim.wait_job(jobs)
        self.assertEqual(caught.exception.returncode, 1)
        self.assertEqual([job.returncode for job in caught.exception.results], [0, 1, 2])
        self.assertEqual(jobshim.wait_job([]), [])

    def test_any(self) -> None:
        long = jobshim.spawn_job("sleep", ["1000"])
        short = jobshim.spawn_job("false")
        self.assertEqual(jobshim.wait_job([long, short], any=True, check=False).id, short.id)
        with self.assertRaises(jobshim.JobFailed):
            jobshim.wait_job([long, short], any=True)
        with self.assertRaises(ValueError):
            jobshim.wait_job([], any=True)

    def test_timeout_says_who_is_late(self) -> None:
        short = jobshim.spawn_job("true")
        long = jobshim.spawn_job("sleep", ["1000"], id="late")
        with self.assertRaises(jobshim.WaitTimeout) as caught:
            jobshim.wait_job([short, long], timeout=datetime.timedelta(seconds=0.2))
        error = caught.exception
        self.assertIsInstance(error, subprocess.TimeoutExpired)
        assert error.report is not None
        self.assertEqual((error.report["id"], error.timeout), ("late", 0.2))
        self.assertEqual(error.cmd, ["sleep", "1000"])
        self.assertEqual(long.refresh().verdict, "running")

    def test_not_found(self) -> None:
        calls: list[Callable[[str], object]]
        calls = [jobshim.read_job, jobshim.wait_job, jobshim.cancel_job]
        for call in calls:
            with self.assertRaises(jobshim.JobNotFound):
                call("nobody")
        with self.assertRaises(jobshim.JobNotFound):
            jobshim.wait_job(["-x"])

    def test_ambiguous(self) -> None:
        for id in "job-a", "job-b":
            jobshim.spawn_job("true", id=id).wait()
        with self.assertRaises(jobshim.JobshimError) as caught:
            jobshim.read_job("job-")
        self.assertEqual(caught.exception.returncode, 2)

    def test_unknown(self) -> None:
        # Another program's record, without a shim; not all of it is UTF-8.
        with open(self.path("q.json"), "wb") as file:
            file.write(b'{"id": "q", "status": "running", "jobshim": 7, "other": "\xff"}')
        job = jobshim.read_job(self.path("q.json"))
        self.assertEqual((job.verdict, job.returncode, job.reason), ("unknown", None, None))
        with self.assertRaises(jobshim.JobUnknown) as caught:
            job.cancel()
        self.assertEqual(caught.exception.code, "ERR_JOB_UNKNOWN")
        with open(self.path("r.json"), "w") as file:
            file.write("no JSON")
        job = jobshim.read_job(self.path("r.json"))
        self.assertEqual((job.verdict, job.report["job"], job.title), ("unknown", None, None))

    def test_list(self) -> None:
        self.assertEqual(jobshim.list_jobs(), [])
        for id in "one", "two":
            jobshim.spawn_job("true", id=id).wait()
        self.assertEqual(sorted(job.id for job in jobshim.list_jobs()), ["one", "two"])
        jobshim.spawn_job("true", job=self.path("three.json")).wait()
        self.assertEqual([job.id for job in jobshim.list_jobs(pathlib.Path(self.folder))], ["three"])


class Streams(JobCase):
    def test_follow(self) -> None:
        os.mkfifo(self.path("fifo"))
        script = "echo first; read line < fifo; printf last"
        job = jobshim.spawn_job("sh", ["-c", script], cwd=self.folder)
        lines = job.logs(follow=True)
        self.assertEqual(next(lines), "first\n")
        with open(self.path("fifo"), "w") as file:
            file.write("\n")
        self.assertEqual(list(lines), ["last"])
        self.assertEqual(programs_running(), [])

    def test_stop_following(self) -> None:
        job = jobshim.spawn_job("sh", ["-c", "echo first; exec sleep 1000"])
        lines = job.logs(follow=True)
        next(lines)
        self.assertEqual(len(programs_running()), 1)
        lines.close()
        self.assertEqual(programs_running(), [])
        self.assertEqual(job.refresh().verdict, "running")

    def test_text(self) -> None:
        script = r"printf 'a\rb\xff\n'; head -c 300000 /dev/zero | tr '\0' x; echo"
        job = jobshim.spawn_job("bash", ["-c", script]).wait()
        self.assertEqual(list(job.logs()), ["a\rb\ufffd\n", "x" * 300000 + "\n"])

    def test_no_log(self) -> None:
        subprocess.run([jobshim.jobshim_path(), "--id", "n", "--", "true"], check=True)
        with self.assertRaises(jobshim.JobshimError) as caught:
            list(jobshim.read_job("n").logs())
        self.assertEqual(caught.exception.returncode, 1)

    def test_events(self) -> None:
        needs_events()
        os.mkfifo(self.path("fifo"))
        job = jobshim.spawn_job("sh", ["-c", "read line < fifo; exit 4"], cwd=self.folder)
        events = job.events()
        event = next(events)
        self.assertEqual((event["event"], event["id"]), ("started", job.id))
        self.assertEqual(event["job"]["verdict"]["state"], "running")
        with open(self.path("fifo"), "w") as file:
            file.write("\n")
        *_, last = events
        self.assertEqual((last["event"], last["file"]), ("ended", job.file))
        self.assertEqual(jobshim.Job(last["job"]).returncode, 4)

    def test_stop_listening(self) -> None:
        needs_events()
        job = jobshim.spawn_job("sleep", ["1000"])
        for _ in job.events():
            break
        self.assertEqual(programs_running(), [])
        self.assertEqual(job.refresh().verdict, "running")


class Errors(JobCase):
    def test_pickle(self) -> None:
        jobshim.spawn_job("false", id="f")
        with self.assertRaises(jobshim.JobError) as failed:
            jobshim.wait_job("f")
        with self.assertRaises(jobshim.JobError) as missing:
            jobshim.read_job("nobody")
        jobshim.spawn_job("sleep", ["1000"], id="s")
        with self.assertRaises(jobshim.JobError) as late:
            jobshim.wait_job("s", timeout=0.1)
        with self.assertRaises(jobshim.JobError) as launch:
            jobshim.spawn_job("no-such-command")
        for error in failed, missing, late, launch:
            with self.subTest(type(error.exception).__name__):
                copy = pickle.loads(pickle.dumps(error.exception))
                self.assertEqual(str(copy), str(error.exception))
                self.assertEqual(repr(vars(copy)), repr(vars(error.exception)))

    def test_report_is_what_jobctl_prints(self) -> None:
        job = jobshim.spawn_job("true").wait()
        printed = subprocess.run(
            [jobshim.jobctl_path(), "status", "--json", job.id], capture_output=True, check=True
        )
        self.assertEqual([job.refresh().report], json.loads(printed.stdout))


if __name__ == "__main__":
    unittest.main()
