"""The exceptions. They are made from positional arguments alone, so that they can be pickled."""

from __future__ import annotations

import subprocess
from typing import List, Optional

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

    code = "JOB_ERROR"
    """Says which of the errors this is, for logs; the same words as in the API for Node."""

    report: Optional[JobReport]
    """What jobctl said about the job, if it said anything."""

    def __init__(self, message: str, report: Optional[JobReport] = None) -> None:
        self.message = message
        self.report = report

    def __str__(self) -> str:
        return self.message


class JobFailed(JobError, subprocess.CalledProcessError):
    """The job has ended, and neither successfully nor by a cancellation."""

    code = "JOB_FAILED"
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

    code = "JOB_CANCELLED"


class JobNotFound(JobError):
    """There is no such job."""

    code = "JOB_NOT_FOUND"


class JobUnknown(JobError):
    """What became of the job cannot be determined from here."""

    code = "JOB_UNKNOWN"


class WaitTimeout(JobError, subprocess.TimeoutExpired):
    """The job had not ended when the waiting ended. The job goes on."""

    code = "WAIT_TIMEOUT"
    # None if it was cancel_job that waited, as long as jobctl cancel does.
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

    code = "JOBSHIM_ERROR"

    def __init__(
        self, message: str, returncode: Optional[int] = None, report: Optional[JobReport] = None
    ) -> None:
        JobError.__init__(self, message, report)
        self.returncode = returncode
        """The exit status of the program; None if it was not run."""
