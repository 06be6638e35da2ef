"""The API for asyncio: the same names, to be awaited. Cancelling the task stops the waiting, never
the job."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import (
    AsyncGenerator,
    AsyncIterator,
    Iterable,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Union,
    overload,
)

from . import _commands
from ._commands import BaseJob, Duration, Outcome, Ref, Signal, StrPath
from ._errors import JobError
from ._record import JobEvent

__all__ = ["Job", "cancel_job", "list_jobs", "read_job", "spawn_job", "wait_job"]


class Job(BaseJob):
    """A job, as it was when it was last looked at. Each method looks again."""

    async def refresh(self, *, settle: bool = True) -> Job:
        """Look at the job again, and return it."""
        self.report = (await read_job(self, settle=settle)).report
        return self

    async def wait(self, *, timeout: Optional[Duration] = None, check: bool = True) -> Job:
        """Wait for the end, as wait_job does, and return the job."""
        try:
            self.report = (await wait_job(self, timeout=timeout, check=check)).report
        except JobError as error:
            self.report = error.report or self.report
            raise
        return self

    async def cancel(
        self,
        *,
        reason: Optional[str] = None,
        signal: Optional[Signal] = None,
        kill_after: Optional[Duration] = None,
        timeout: Optional[Duration] = None,
    ) -> Job:
        """Cancel the job, as cancel_job does, and return it."""
        job = await cancel_job(
            self, reason=reason, signal=signal, kill_after=kill_after, timeout=timeout
        )
        self.report = job.report
        return self

    async def logs(
        self, *, follow: bool = False, lines: Optional[int] = None
    ) -> AsyncGenerator[str, None]:
        """The lines that this run wrote to its log, or the last `lines` of them, each with its line
        feed. With `follow`, go on until the job has ended."""
        async with _output(_commands.logs(self, follow=follow, lines=lines)) as stream:
            while line := await _line(stream):
                yield line.decode(errors="replace")

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """What happens to the job: first its present state, at last its end."""
        async with _output(_commands.events(self)) as stream:
            while line := await _line(stream):
                event: JobEvent = json.loads(line)
                yield event


async def spawn_job(
    command: StrPath,
    args: Iterable[StrPath] = (),
    *,
    job: Optional[StrPath] = None,
    id: Optional[str] = None,
    title: Optional[str] = None,
    log: Optional[StrPath] = None,
    cwd: Optional[StrPath] = None,
    env: Optional[Mapping[str, str]] = None,
    timeout: Optional[Duration] = None,
    kill_signal: Optional[Signal] = None,
    force_kill_after_delay: Optional[Duration] = None,
    on_shim_death: Literal["kill", "keep"] = "kill",
    expect_record: bool = False,
) -> Job:
    """Start a command in the background, in a session of its own, and return once it has started.
    The job goes on whatever becomes of this process."""
    argv = _commands.spawn(
        command,
        args,
        job=job,
        id=id,
        title=title,
        log=log,
        timeout=timeout,
        kill_signal=kill_signal,
        force_kill_after_delay=force_kill_after_delay,
        on_shim_death=on_shim_death,
        expect_record=expect_record,
    )
    # A ^C while the shim is about to leave the terminal's session is not meant for the job.
    launch = asyncio.ensure_future(_run(argv, cwd=cwd, env=env, start_new_session=True))
    try:
        outcome = await asyncio.shield(launch)
    except asyncio.CancelledError:
        # A launcher that is killed halfway could leave a job that nobody knows of. It is soon done.
        await asyncio.gather(launch, return_exceptions=True)
        raise
    started = _commands.spawned(outcome)
    ref = started if job is None else os.path.abspath(job)
    # Where jobs are by default depends on the environment that jobshim got.
    (report,) = _commands.looked(await _run(_commands.status([ref], settle=False), env=env))
    return Job(report)


async def read_job(ref: Ref, *, settle: bool = True) -> Job:
    """Look at a job. If it is dead and its end is not on record, record it, unless `settle` is
    false."""
    (report,) = _commands.looked(await _run(_commands.status([ref], settle=settle)))
    return Job(report)


@overload
async def wait_job(  # type: ignore[misc] # a string is one job, although it can be iterated over
    ref: Ref, *, timeout: Optional[Duration] = ..., any: bool = ..., check: bool = ...
) -> Job: ...


@overload
async def wait_job(
    ref: Iterable[Ref],
    *,
    timeout: Optional[Duration] = ...,
    any: Literal[True],
    check: bool = ...,
) -> Job: ...


@overload
async def wait_job(
    ref: Iterable[Ref],
    *,
    timeout: Optional[Duration] = ...,
    any: Literal[False] = ...,
    check: bool = ...,
) -> List[Job]: ...


async def wait_job(
    ref: Union[Ref, Iterable[Ref]],
    *,
    timeout: Optional[Duration] = None,
    any: bool = False,
    check: bool = True,
) -> Union[Job, List[Job]]:
    """Wait until the job has ended; of several jobs, until all have, or with `any` the first.
    With `check`, raise an exception unless it completed. One process waits for all of them."""
    refs, single = _commands.refs_of(ref)
    if not refs:
        if any:
            raise ValueError("no jobs to wait for")
        return []
    argv = _commands.wait(refs, timeout=timeout, any=any)
    reports = _commands.waited(await _run(argv), timeout=timeout, any=any)
    jobs = [Job(report) for report in reports]
    error = _commands.error_in(reports) if check else None
    if error is not None:
        error.results = jobs
        raise error
    return jobs[0] if single or any else jobs


async def list_jobs(dir: Optional[StrPath] = None, *, settle: bool = True) -> List[Job]:
    """The jobs in a directory, newest first; by default in the state directory."""
    outcome = await _run(_commands.list_jobs(dir, settle=settle))
    return [Job(report) for report in _commands.listed(outcome)]


@overload
async def cancel_job(  # type: ignore[misc] # see wait_job
    ref: Ref,
    *,
    reason: Optional[str] = ...,
    signal: Optional[Signal] = ...,
    kill_after: Optional[Duration] = ...,
    timeout: Optional[Duration] = ...,
) -> Job: ...


@overload
async def cancel_job(
    ref: Iterable[Ref],
    *,
    reason: Optional[str] = ...,
    signal: Optional[Signal] = ...,
    kill_after: Optional[Duration] = ...,
    timeout: Optional[Duration] = ...,
) -> List[Job]: ...


async def cancel_job(
    ref: Union[Ref, Iterable[Ref]],
    *,
    reason: Optional[str] = None,
    signal: Optional[Signal] = None,
    kill_after: Optional[Duration] = None,
    timeout: Optional[Duration] = None,
) -> Union[Job, List[Job]]:
    """Cancel a job, or several at once, and wait for the records. A job that has ended otherwise is
    returned as it is, and one that is named twice only once."""
    refs, single = _commands.refs_of(ref)
    if not refs:
        return []
    argv = _commands.cancel(
        refs, reason=reason, signal=signal, kill_after=kill_after, timeout=timeout
    )
    outcome = await _run(argv)
    if _commands.is_late(outcome):
        now = _commands.looked(await _run(_commands.status(refs, settle=False)))
        raise _commands.late(outcome, now, timeout)
    jobs = [Job(report) for report in _commands.cancelled(outcome)]
    return jobs[0] if single else jobs


async def _run(
    argv: Sequence[str],
    *,
    cwd: Optional[StrPath] = None,
    env: Optional[Mapping[str, str]] = None,
    start_new_session: bool = False,
) -> Outcome:
    async with _started(argv, cwd, env, start_new_session) as process:
        stdout, stderr = await process.communicate()
    return _outcome(argv, process, stdout, stderr)


@contextlib.asynccontextmanager
async def _output(argv: Sequence[str]) -> AsyncIterator[asyncio.StreamReader]:
    """What a program prints, to be read to its end; then it must have exited with 0."""
    async with _started(argv) as process:
        assert process.stdout is not None and process.stderr is not None
        yield process.stdout
        said = await process.stderr.read()
        await process.wait()
    _commands.streamed(_outcome(argv, process, b"", said))


@contextlib.asynccontextmanager
async def _started(
    argv: Sequence[str],
    cwd: Optional[StrPath] = None,
    env: Optional[Mapping[str, str]] = None,
    start_new_session: bool = False,
) -> AsyncIterator[Process]:
    """A program that does not outlive the interest in it."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        cwd=cwd,
        env=env,
        start_new_session=start_new_session,
    )
    try:
        yield process
    except BaseException:
        # Also when the task is cancelled, and when the caller stops iterating.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Not wait(), which may never return if a pipe is full.
        await process.communicate()
        raise


def _outcome(argv: Sequence[str], process: Process, stdout: bytes, stderr: bytes) -> Outcome:
    assert process.returncode is not None
    return Outcome(os.path.basename(argv[0]), process.returncode, stdout, stderr)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, however long it is; empty at the end."""
    parts = []
    while True:
        try:
            parts.append(await stream.readuntil(b"\n"))
        except asyncio.IncompleteReadError as error:
            parts.append(error.partial)
        except asyncio.LimitOverrunError as error:
            parts.append(await stream.readexactly(error.consumed))
            continue
        return b"".join(parts)
