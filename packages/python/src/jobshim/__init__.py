"""Run commands in the background, and know how they ended, whatever ended them.

`spawn_job` starts a command under the program jobshim, which records its end in a job file. The
other functions read that file through the program jobctl. `jobshim.aio` has the same for asyncio.
"""

from ._errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    JobshimError,
    JobUnknown,
    WaitTimeout,
)
from ._find import jobctl_path, jobshim_path
from ._record import JobEvent, JobRecord, JobReport
from ._sync import Job, cancel_job, list_jobs, read_job, spawn_job, wait_job

__all__ = [
    "Job",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobFailed",
    "JobNotFound",
    "JobRecord",
    "JobReport",
    "JobUnknown",
    "JobshimError",
    "WaitTimeout",
    "cancel_job",
    "jobctl_path",
    "jobshim_path",
    "list_jobs",
    "read_job",
    "spawn_job",
    "wait_job",
]
