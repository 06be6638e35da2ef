from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import subprocess
import sys
import unittest

from support import JobCase, needs_events, programs_running, until

import jobshim
from jobshim import aio

# unittest runs the loop in its debug mode, which reports every slow step.
logging.getLogger("asyncio").setLevel(logging.ERROR)


class Twin(JobCase, unittest.IsolatedAsyncioTestCase):
    async def test_whole_life(self) -> None:
        os.mkfifo(self.path("fifo"))
        job = await aio.spawn_job(
            "sh",
            ["-c", "echo begun; read line < fifo; exit $line"],
            job=self.path("a.json"),
            log=self.path("a.log"),
            title="a title",
            cwd=self.folder,
            env={**os.environ, "LANG": "C"},
            timeout=100,
            kill_signal="USR1",
            force_kill_after_delay=1,
            on_shim_death="keep",
        )
        self.assertEqual((job.id, job.title, job.verdict), ("a", "a title", "running"))
        lines = job.logs(follow=True)
        self.assertEqual(await lines.__anext__(), "begun\n")
        with self.assertRaises(jobshim.WaitTimeout):
            await job.wait(timeout=0.1)
        with open(self.path("fifo"), "w") as file:
            file.write("3\n")
        with self.assertRaises(jobshim.JobFailed) as caught:
            await job.wait()
        self.assertEqual((caught.exception.returncode, job.returncode), (3, 3))
        self.assertEqual([line async for line in lines], [])
        self.assertEqual((await job.refresh()).reason, "exit-code")
        self.assertEqual([j.id for j in await aio.list_jobs(self.folder)], ["a"])
        self.assertEqual([line async for line in job.logs(lines=1)], ["begun\n"])

    async def test_deaths(self) -> None:
        killed = await aio.spawn_job("sleep", ["1000"])
        lost = await aio.spawn_job("sleep", ["1000"])
        assert killed.pid is not None
        os.kill(killed.pid, signal.SIGKILL)
        os.kill(self.shim_pid(lost), signal.SIGKILL)
        ended = await aio.wait_job([killed, lost], check=False)
        self.assertEqual([job.reason for job in ended], ["signal", "shim-lost"])
        self.assertEqual([job.returncode for job in ended], [-9, None])

    async def test_cancel(self) -> None:
        job = await aio.spawn_job("sleep", ["1000"])
        self.assertEqual((await job.cancel(reason="enough")).verdict, "cancelled")
        with self.assertRaises(jobshim.JobCancelled) as caught:
            await aio.wait_job([job.id])
        self.assertEqual([job.id for job in caught.exception.results], [job.id])
        jobs = await asyncio.gather(*(aio.spawn_job("sleep", ["1000"]) for _ in range(2)))
        with self.assertRaises(jobshim.WaitTimeout):
            await aio.cancel_job(jobs, signal=0, kill_after=math.inf, timeout=0)
        for job in await aio.cancel_job(jobs):
            self.assertEqual(job.verdict, "cancelled")

    async def test_errors(self) -> None:
        with self.assertRaises(jobshim.JobNotFound):
            await aio.read_job("nobody")
        with self.assertRaises(jobshim.JobshimError) as caught:
            await aio.spawn_job("no-such-command")
        self.assertEqual(caught.exception.returncode, 127)
        with self.assertRaises(ValueError):
            await aio.wait_job([], any=True)
        self.assertEqual(await aio.wait_job([]), [])

    async def test_any(self) -> None:
        long = await aio.spawn_job("sleep", ["1000"])
        short = await aio.spawn_job("true")
        self.assertEqual((await aio.wait_job([long, short], any=True)).id, short.id)

    async def test_200_jobs_at_once(self) -> None:
        async def one(number: int) -> int | None:
            job = await aio.spawn_job("sh", ["-c", f"exit {number}"])
            return (await job.wait(check=False)).returncode

        open_before = len(os.listdir("/proc/self/fd"))
        codes = await asyncio.gather(*(one(number) for number in range(200)))
        self.assertEqual(codes, list(range(200)))
        self.assertEqual(len(os.listdir("/proc/self/fd")), open_before)
        self.assertEqual(programs_running(), [])
        self.assertEqual(len(await aio.list_jobs()), 200)

    async def test_one_process_waits_for_200_jobs(self) -> None:
        jobs = await asyncio.gather(*(aio.spawn_job("true") for _ in range(200)))
        ended = await aio.wait_job(jobs)
        self.assertEqual([job.id for job in ended], [job.id for job in jobs])

    async def test_cancelling_the_waiter(self) -> None:
        job = await aio.spawn_job("sleep", ["1000"])
        waiter = asyncio.ensure_future(job.wait())
        await self.until_running(1)
        waiter.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiter
        self.assertEqual(programs_running(), [])
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(job.wait(), 0.1)
        self.assertEqual(programs_running(), [])
        self.assertEqual((await job.refresh()).verdict, "running")

    async def test_cancelling_the_launch(self) -> None:
        # Wherever the launch is interrupted: either nothing is known of the job, or it runs.
        for turns in range(8):
            launch = asyncio.ensure_future(aio.spawn_job("sleep", ["1000"], id=f"t{turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            launch.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await launch
            self.assertEqual(programs_running(), [])
        states = {job.id: job.verdict for job in await aio.list_jobs()}
        self.assertEqual(set(states.values()), {"running"}, states)
        self.assertIn("t7", states)

    async def test_stop_following(self) -> None:
        job = await aio.spawn_job("sh", ["-c", "echo first; exec sleep 1000"])

        async def follow() -> None:
            async for _ in job.logs(follow=True):
                seen.set()

        seen = asyncio.Event()
        follower = asyncio.ensure_future(follow())
        await seen.wait()
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower
        lines = job.logs(follow=True)
        await lines.__anext__()
        await lines.aclose()
        self.assertEqual(programs_running(), [])
        self.assertEqual((await job.refresh()).verdict, "running")

    async def test_stop_reading_a_large_log(self) -> None:
        # The pipe from jobctl is full then, and waiting for jobctl alone would never end.
        job = await aio.spawn_job("sh", ["-c", "yes | head -c 5000000"])
        await job.wait()
        lines = job.logs()
        self.assertEqual(await lines.__anext__(), "y\n")
        await asyncio.sleep(0)
        await asyncio.wait_for(lines.aclose(), 20)
        self.assertEqual(programs_running(), [])

    async def test_long_lines(self) -> None:
        script = r"head -c 300000 /dev/zero | tr '\0' x; echo; printf 'a\n\nlast'"
        job = await aio.spawn_job("sh", ["-c", script])
        await job.wait()
        lines = [line async for line in job.logs()]
        self.assertEqual(lines, ["x" * 300000 + "\n", "a\n", "\n", "last"])

    async def test_events(self) -> None:
        needs_events()
        os.mkfifo(self.path("fifo"))
        job = await aio.spawn_job("sh", ["-c", "read line < fifo"], cwd=self.folder)
        events = job.events()
        first = await events.__anext__()
        self.assertEqual((first["event"], first["id"]), ("started", job.id))
        with open(self.path("fifo"), "w") as file:
            file.write("\n")
        last = [event async for event in events][-1]
        self.assertEqual((last["event"], last["job"]["verdict"]["state"]), ("ended", "completed"))

    async def until_running(self, count: int) -> None:
        while len(programs_running()) != count:
            await asyncio.sleep(0.01)


class Interrupt(JobCase):
    def test_ctrl_c_ends_the_waiting_alone(self) -> None:
        job = jobshim.spawn_job("sleep", ["1000"])
        code = (
            "import asyncio, jobshim.aio\n"
            f"asyncio.run(jobshim.aio.wait_job({job.file!r}))\n"
        )  # fmt: skip
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        waiter = subprocess.Popen(
            [sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL, start_new_session=True
        )
        children = f"/proc/{waiter.pid}/task/{waiter.pid}/children"

        def waits() -> bool:
            with open(children) as file:
                return any(_program(pid) == "jobctl" for pid in file.read().split())

        until(waits, "jobctl waits")
        os.killpg(waiter.pid, signal.SIGINT)
        self.assertNotEqual(waiter.wait(30), 0)
        self.assertEqual(job.refresh().verdict, "running")


def _program(pid: str) -> str:
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return ""


if __name__ == "__main__":
    unittest.main()
