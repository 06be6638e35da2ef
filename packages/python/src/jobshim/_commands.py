"""What the API for ordinary programs and the one for asyncio share: which command to run, and what
its outcome means. Nothing here runs anything or waits."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from typing import (
    Any,
    Callable,
    Iterable,
    List,
    Literal,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from ._errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    JobshimError,
    JobUnknown,
    WaitTimeout,
    exit_of,
    returncode_of,
)
from ._find import jobctl_path, jobshim_path
from ._record import JobReport, Reason, VerdictState

StrPath = Union[str, "os.PathLike[str]"]
Duration = Union[float, datetime.timedelta]
Signal = Union[int, str]


class BaseJob:
    """A job, as it was when it was last looked at."""

    report: JobReport
    """What jobctl said then; `report["job"]` is the record."""

    def __init__(self, report: JobReport) -> None:
        self.report = report

    @property
    def id(self) -> str:
        return self.report["id"]

    @property
    def file(self) -> str:
        """The absolute path of the job file."""
        return self.report["file"]

    @property
    def title(self) -> Optional[str]:
        return (self.report["job"] or {}).get("title")

    @property
    def status(self) -> Optional[str]:
        """What the record says. It still says `running` if the job is stalled or orphaned."""
        return self.report["status"]

    @property
    def verdict(self) -> VerdictState:
        """What jobctl found: `running`, `stalled`, `orphaned`, `failed` and so on."""
        return self.report["verdict"]["state"]

    @property
    def because(self) -> str:
        """The reason for the verdict, one sentence."""
        return self.report["verdict"]["because"]

    @property
    def pid(self) -> Optional[int]:
        """The worker's pid; None before it exists and after its end."""
        return (self.report["job"] or {}).get("pid")

    @property
    def returncode(self) -> Optional[int]:
        """As in subprocess: the exit code, or -N if signal N killed the worker. None if the job has
        not ended, and if nobody saw the end."""
        return returncode_of(self.report)

    @property
    def reason(self) -> Optional[Reason]:
        """How the job ended, in one word; None if it has not ended."""
        return exit_of(self.report).get("reason")

    @property
    def duration(self) -> Optional[float]:
        """How long the job took, in seconds; None if that is not known."""
        milliseconds = exit_of(self.report).get("durationMs")
        return None if milliseconds is None else milliseconds / 1000

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self.verdict}: {self.because}>"


Ref = Union[str, "os.PathLike[str]", BaseJob]
"""A job: its id, the path of its job file, or a Job. As for jobctl, a string is a path if it has a
slash in it or ends in .json; a Path is always a path."""


class Outcome(NamedTuple):
    """How a program ended."""

    program: str
    returncode: int
    stdout: bytes
    stderr: bytes


# Commands


def spawn(
    command: StrPath,
    args: Iterable[StrPath],
    *,
    job: Optional[StrPath],
    id: Optional[str],
    title: Optional[str],
    log: Optional[StrPath],
    timeout: Optional[Duration],
    kill_signal: Optional[Signal],
    force_kill_after_delay: Optional[Duration],
    on_shim_death: Literal["kill", "keep"],
    expect_record: bool,
) -> List[str]:
    if isinstance(args, (str, bytes)):
        raise TypeError("args must be a sequence of arguments, not a single one")
    argv = [
        jobshim_path(),
        "--detach",
        f"--on-shim-death={on_shim_death}",
        # Absolute, because jobshim runs in the worker's directory.
        *_option("--job", job, os.path.abspath),
        *_option("--log", log, os.path.abspath),
        *_option("--id", id),
        *_option("--title", title),
        *_option("--timeout", timeout, _duration),
        *_option("--signal", kill_signal, _signal),
        *_option("--kill-after", force_kill_after_delay, _duration),
        *_flag("--expect-record", expect_record),
    ]
    return [*argv, "--", os.fspath(command), *(os.fspath(arg) for arg in args)]


def status(refs: Sequence[Ref], *, settle: bool) -> List[str]:
    return _jobctl("status", ["--json", *_flag("--no-reap", not settle)], refs)


def wait(refs: Sequence[Ref], *, timeout: Optional[Duration], any: bool) -> List[str]:
    options = ["--json", *_flag("--any", any), *_option("--timeout", timeout, _duration)]
    return _jobctl("wait", options, refs)


def list_jobs(dir: Optional[StrPath], *, settle: bool) -> List[str]:
    options = ["--json", *_flag("--no-reap", not settle), *_option("--dir", dir, os.path.abspath)]
    return _jobctl("list", options, [])


def cancel(
    refs: Sequence[Ref],
    *,
    reason: Optional[str],
    signal: Optional[Signal],
    kill_after: Optional[Duration],
    timeout: Optional[Duration],
) -> List[str]:
    options = [
        "--json",
        *_option("--reason", reason),
        *_option("--signal", signal, _signal),
        *_option("--kill-after", kill_after, _duration),
        *_option("--timeout", timeout, _duration),
    ]
    return _jobctl("cancel", options, refs)


def logs(ref: Ref, *, follow: bool, lines: Optional[int]) -> List[str]:
    return _jobctl("logs", [*_flag("--follow", follow), *_option("--lines", lines)], [ref])


def events(ref: Ref) -> List[str]:
    return _jobctl("events", [], [ref])


def _jobctl(command: str, options: Sequence[str], refs: Sequence[Ref]) -> List[str]:
    return [jobctl_path(), command, *options, "--", *map(_text, refs)]


def _flag(name: str, is_set: bool) -> List[str]:
    return [name] if is_set else []


def _option(name: str, value: object, text_of: Callable[[Any], str] = str) -> List[str]:
    """The option with its value, unless that is None."""
    return [] if value is None else [f"{name}={text_of(value)}"]


def _text(ref: Ref) -> str:
    if isinstance(ref, BaseJob):
        return ref.file
    if isinstance(ref, str):
        return ref
    return os.path.abspath(ref)


def refs_of(ref: Union[Ref, Iterable[Ref]]) -> Tuple[List[Ref], bool]:
    """The jobs, and whether it is a single one rather than a collection."""
    if isinstance(ref, (str, os.PathLike, BaseJob)):
        return [ref], True
    return list(ref), False


def _duration(value: Duration) -> str:
    seconds = value.total_seconds() if isinstance(value, datetime.timedelta) else float(value)
    if not seconds >= 0:
        raise ValueError(f"not a duration: {value!r}")
    # For the programs 0 means never; for Python's users it means at once, and infinity never.
    return "0" if math.isinf(seconds) else f"{max(seconds, 0.001):.3f}"


def _signal(value: Signal) -> str:
    # An enum's own text differs between versions of Python.
    return value if isinstance(value, str) else str(int(value))


# Outcomes


def spawned(outcome: Outcome) -> str:
    """The id of the job that was started."""
    if outcome.returncode != 0:
        raise _failure(outcome)
    return os.fsdecode(outcome.stdout).strip()


def looked(outcome: Outcome) -> List[JobReport]:
    return _reports(outcome, 0, 1, 3, 5, 6)


def listed(outcome: Outcome) -> List[JobReport]:
    return _reports(outcome, 0)


def waited(outcome: Outcome, *, timeout: Optional[Duration], any: bool) -> List[JobReport]:
    """What became of the jobs that were waited for; with `any`, of the first that has ended."""
    reports = _reports(outcome, 0, 1, 5, 6, 124)
    if is_late(outcome):
        raise late(outcome, reports, timeout)
    if not any:
        return reports
    ended = [report for report in reports if _ended(report)] or reports
    # A worker may write its final status itself. The job has not ended before its shim says so.
    return [report for report in ended if exit_of(report)][:1] or ended[:1]


def error_in(reports: Iterable[JobReport]) -> Optional[JobError]:
    """About the first job that did not complete; None if all did."""
    for report in reports:
        verdict = report["verdict"]["state"]
        message = f"{report['id']}: {report['verdict']['because']}"
        if verdict == "cancelled":
            return JobCancelled(message, report)
        if verdict in ("failed", "lost"):
            return JobFailed(message, report)
        if verdict != "completed":
            return JobUnknown(message, report)
    return None


def is_late(outcome: Outcome) -> bool:
    """Whether jobctl gave up waiting."""
    return outcome.returncode == 124


def late(
    outcome: Outcome, reports: Iterable[JobReport], timeout: Optional[Duration]
) -> WaitTimeout:
    report = next((report for report in reports if not _ended(report)), None)
    seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else timeout
    return WaitTimeout(_message(outcome), report, seconds)


def cancelled(outcome: Outcome) -> List[JobReport]:
    reports = _reports(outcome, 0, 1, 6)
    for report in reports:
        if not _ended(report):
            raise JobUnknown(_message(outcome), report)
    return reports


def streamed(outcome: Outcome) -> None:
    """Checks how a program ended whose output was read line by line."""
    if outcome.returncode != 0:
        raise _failure(outcome)


def _reports(outcome: Outcome, *expected: int) -> List[JobReport]:
    if outcome.returncode not in expected:
        raise _failure(outcome)
    reports: List[JobReport] = json.loads(outcome.stdout)
    return reports


def _ended(report: JobReport) -> bool:
    return report["verdict"]["state"] in ("completed", "failed", "cancelled", "lost")


def _failure(outcome: Outcome) -> JobError:
    if outcome.program == "jobctl" and outcome.returncode == 4:
        return JobNotFound(_message(outcome))
    stderr = outcome.stderr.decode(errors="replace")
    return JobshimError(_message(outcome), outcome.returncode, stderr)


def _message(outcome: Outcome) -> str:
    """What the program said, without its name before each line."""
    said = outcome.stderr.decode(errors="replace").strip()
    if said:
        return re.sub(f"^{outcome.program}: ", "", said, flags=re.MULTILINE)
    if outcome.returncode < 0:
        return f"{outcome.program} was killed by signal {-outcome.returncode}"
    return f"{outcome.program} exited with status {outcome.returncode}"
