"""The exceptions. They are made from positional arguments alone, so that they can be pickled."""

from __future__ import annotations

import subprocess
from typing import Any, List, Optional, Sequence

from ._record import Exit, JobReport


def exit_of(report: JobReport) -> Exit:
    """How the job ended; empty if it has not, or if that is not on record."""
    member = (report["job"] or {}).get("jobshim")
    found = member.get("exit") if isinstance(member, dict) else None
    return found if isinstance(found, dict) else {}


def returncode_of(report: JobReport) -> Optional[int]:
    """As in subprocess: the exit code, -N if signal N killed the worker, None if not known."""
    found = exit_of(report)
    code, number = found.get("code"), found.get("signal")
    if isinstance(code, int):
        return code
    return -number if isinstance(number, int) else None


def _command_of(report: JobReport) -> Optional[List[str]]:
    record = report["job"] or {}
    member = record.get("jobshim")
    own = member.get("command") if isinstance(member, dict) else None
    return own or record.get("command")


class JobError(Exception):
    """Something is wrong with a job, or with jobshim itself."""

    code = "ERR_JOB"
    """Says which of the errors this is, for logs; the same words as in the API for Node."""

    report: Optional[JobReport]
    """What jobctl said about the job, if it said anything."""

    results: Sequence[Any] = ()
    """From wait_job: a Job for each job that was waited for."""

    def __init__(self, message: str, report: Optional[JobReport] = None) -> None:
        self.message = message
        self.report = report

    def __str__(self) -> str:
        return self.message


class JobFailed(JobError, subprocess.CalledProcessError):
    """The job has ended, and neither successfully nor by a cancellation."""

    code = "ERR_JOB_FAILED"
    # None if nobody saw the end: no number is invented.
    returncode: Optional[int]  # type: ignore[assignment]

    def __init__(self, message: str, report: JobReport) -> None:
        JobError.__init__(self, message, report)
        self.returncode = returncode_of(report)
        self.cmd = _command_of(report)
        self.output = exit_of(report).get("tail")
        self.stderr = None


class JobCancelled(JobError):
    """The job was cancelled."""

    code = "ERR_JOB_CANCELLED"


class JobNotFound(JobError):
    """There is no such job."""

    code = "ERR_JOB_NOT_FOUND"


class JobUnknown(JobError):
    """What became of the job cannot be determined from here."""

    code = "ERR_JOB_UNKNOWN"


class WaitTimeout(JobError, subprocess.TimeoutExpired):
    """The job had not ended when the waiting ended. The job goes on."""

    code = "ERR_WAIT_TIMEOUT"
    # None if cancel_job waited as long as it does by default.
    timeout: Optional[float]  # type: ignore[assignment]

    def __init__(
        self, message: str, report: Optional[JobReport] = None, timeout: Optional[float] = None
    ) -> None:
        JobError.__init__(self, message, report)
        self.timeout = timeout
        self.cmd = _command_of(report) if report else None
        self.output = None
        self.stderr = None


class JobshimError(JobError):
    """jobshim or jobctl failed, or could not be found."""

    code = "ERR_JOBSHIM"

    def __init__(
        self, message: str, returncode: Optional[int] = None, stderr: str = ""
    ) -> None:
        JobError.__init__(self, message)
        self.returncode = returncode
        """The exit status of the program; None if it was not run."""
        self.stderr = stderr
        """What it wrote to standard error."""
