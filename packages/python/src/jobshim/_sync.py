"""The API for ordinary programs. `jobshim.aio` is its twin."""

from __future__ import annotations

import json
import os
import subprocess
from typing import (
    Generator,
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


class Job(BaseJob):
    """A job, as it was when it was last looked at. Each method looks again."""

    def refresh(self, *, settle: bool = True) -> Job:
        """Look at the job again, and return it."""
        self.report = read_job(self, settle=settle).report
        return self

    def wait(self, *, timeout: Optional[Duration] = None, check: bool = True) -> Job:
        """Wait for the end, as wait_job does, and return the job."""
        try:
            self.report = wait_job(self, timeout=timeout, check=check).report
        except JobError as error:
            self.report = error.report or self.report
            raise
        return self

    def cancel(
        self,
        *,
        reason: Optional[str] = None,
        signal: Optional[Signal] = None,
        kill_after: Optional[Duration] = None,
        timeout: Optional[Duration] = None,
    ) -> Job:
        """Cancel the job, as cancel_job does, and return it."""
        job = cancel_job(
            self, reason=reason, signal=signal, kill_after=kill_after, timeout=timeout
        )
        self.report = job.report
        return self

    def logs(
        self, *, follow: bool = False, lines: Optional[int] = None
    ) -> Generator[str, None, None]:
        """The lines that this run wrote to its log, or the last `lines` of them, each with its line
        feed. With `follow`, go on until the job has ended."""
        for line in _stream(_commands.logs(self, follow=follow, lines=lines)):
            yield line.decode(errors="replace")

    def events(self) -> Generator[JobEvent, None, None]:
        """What happens to the job: first its present state, at last its end."""
        for line in _stream(_commands.events(self)):
            event: JobEvent = json.loads(line)
            yield event


def spawn_job(
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
    started = _commands.spawned(_run(argv, cwd=cwd, env=env, start_new_session=True))
    ref = started if job is None else os.path.abspath(job)
    # Where jobs are by default depends on the environment that jobshim got.
    (report,) = _commands.looked(_run(_commands.status([ref], settle=False), env=env))
    return Job(report)


def read_job(ref: Ref, *, settle: bool = True) -> Job:
    """Look at a job. If it is dead and its end is not on record, record it, unless `settle` is
    false."""
    (report,) = _commands.looked(_run(_commands.status([ref], settle=settle)))
    return Job(report)


@overload
def wait_job(  # type: ignore[misc] # a string is one job, although it can be iterated over
    ref: Ref, *, timeout: Optional[Duration] = ..., any: bool = ..., check: bool = ...
) -> Job: ...


@overload
def wait_job(
    ref: Iterable[Ref],
    *,
    timeout: Optional[Duration] = ...,
    any: Literal[True],
    check: bool = ...,
) -> Job: ...


@overload
def wait_job(
    ref: Iterable[Ref],
    *,
    timeout: Optional[Duration] = ...,
    any: Literal[False] = ...,
    check: bool = ...,
) -> List[Job]: ...


def wait_job(
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
    reports = _commands.waited(_run(argv), timeout=timeout, any=any)
    jobs = [Job(report) for report in reports]
    error = _commands.error_in(reports) if check else None
    if error is not None:
        error.results = jobs
        raise error
    return jobs[0] if single or any else jobs


def list_jobs(dir: Optional[StrPath] = None, *, settle: bool = True) -> List[Job]:
    """The jobs in a directory, newest first; by default in the state directory."""
    return [Job(report) for report in _commands.listed(_run(_commands.list_jobs(dir, settle=settle)))]


@overload
def cancel_job(  # type: ignore[misc] # see wait_job
    ref: Ref,
    *,
    reason: Optional[str] = ...,
    signal: Optional[Signal] = ...,
    kill_after: Optional[Duration] = ...,
    timeout: Optional[Duration] = ...,
) -> Job: ...


@overload
def cancel_job(
    ref: Iterable[Ref],
    *,
    reason: Optional[str] = ...,
    signal: Optional[Signal] = ...,
    kill_after: Optional[Duration] = ...,
    timeout: Optional[Duration] = ...,
) -> List[Job]: ...


def cancel_job(
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
    outcome = _run(argv)
    if _commands.is_late(outcome):
        now = _commands.looked(_run(_commands.status(refs, settle=False)))
        raise _commands.late(outcome, now, timeout)
    jobs = [Job(report) for report in _commands.cancelled(outcome)]
    return jobs[0] if single else jobs


def _run(
    argv: Sequence[str],
    *,
    cwd: Optional[StrPath] = None,
    env: Optional[Mapping[str, str]] = None,
    start_new_session: bool = False,
) -> Outcome:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env=env,
        start_new_session=start_new_session,
    )
    return Outcome(os.path.basename(argv[0]), done.returncode, done.stdout, done.stderr)


def _stream(argv: Sequence[str]) -> Generator[bytes, None, None]:
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            yield from process.stdout
            said = process.stderr.read()
        except BaseException:
            # Also when the caller stops iterating.
            process.kill()
            raise
    _commands.streamed(Outcome(os.path.basename(argv[0]), process.returncode, b"", said))
