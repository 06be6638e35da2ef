"""The types of what `jobctl --json` prints. docs/record.md explains the fields.

A record may hold more than is listed here (the owning program's members), and may lack any of it:
another program may have written it. What is not known is None.
"""

from __future__ import annotations

from typing import List, Literal, Optional, TypedDict

Status = Literal["queued", "running", "completed", "failed", "cancelled"]

VerdictState = Literal[
    "queued",
    "running",
    "stalled",
    "orphaned",
    "lost",
    "unknown",
    "completed",
    "failed",
    "cancelled",
]

Reason = Literal[
    "success",
    "exit-code",
    "signal",
    "core-dump",
    "oom-kill",
    "timeout",
    "cancelled",
    "spawn-failed",
    "no-result",
    "shim-lost",
    "host-rebooted",
    "unknown",
]


class ShimIdentity(TypedDict, total=False):
    pid: int
    startTime: int
    bootId: str
    machineId: str
    pidNamespace: int
    timeNamespace: int
    host: str


class WorkerIdentity(TypedDict, total=False):
    pid: int
    startTime: int
    group: Literal["own", "share"]
    session: int


class Heartbeat(TypedDict, total=False):
    file: str
    intervalMs: int
    stallAfterMs: int


class LogRange(TypedDict, total=False):
    file: str
    offset: int
    end: int


class Requester(TypedDict, total=False):
    pid: Optional[int]
    uid: Optional[int]
    command: Optional[str]


class CancelRequest(TypedDict, total=False):
    by: Requester
    reason: Optional[str]
    at: str
    signal: str
    killAfterMs: int
    startTime: int


class EndRequest(Requester, total=False):
    how: str


class Resources(TypedDict, total=False):
    userMs: Optional[int]
    systemMs: Optional[int]
    maxRssKiB: Optional[int]
    groupPeakKiB: int


class Leftover(TypedDict, total=False):
    pid: int
    command: str


class Exit(TypedDict, total=False):
    reason: Reason
    certainty: Literal["observed", "inferred", "told", "presumed", "unknown"]
    code: Optional[int]
    signal: Optional[int]
    signalName: Optional[str]
    coreDumped: Optional[bool]
    waitStatus: Optional[int]
    errno: str
    evidence: List[str]
    requestedBy: Optional[EndRequest]
    endedAt: Optional[str]
    durationMs: Optional[int]
    resources: Optional[Resources]
    leftovers: List[Leftover]
    tail: Optional[str]


class Raw(TypedDict, total=False):
    command: List[str]
    cwd: str
    log: str


class JobshimMember(TypedDict, total=False):
    schema: int
    version: str
    shim: Optional[ShimIdentity]
    worker: Optional[WorkerIdentity]
    heartbeat: Heartbeat
    onShimDeath: Literal["kill", "keep"]
    expectRecord: bool
    command: List[str]
    log: Optional[LogRange]
    cancel: Optional[CancelRequest]
    companionJob: str
    raw: Raw
    previous: Optional[Exit]
    exit: Optional[Exit]


class JobRecord(TypedDict, total=False):
    """The job file."""

    id: str
    title: str
    status: Status
    phase: Literal["queued", "starting", "running", "done", "failed", "cancelled"]
    pid: Optional[int]
    command: List[str]
    cwd: str
    logFile: Optional[str]
    createdAt: str
    startedAt: Optional[str]
    updatedAt: Optional[str]
    completedAt: Optional[str]
    errorMessage: Optional[str]
    jobshim: JobshimMember


class _Verdict(TypedDict):
    state: VerdictState
    because: str
    lastBeatAgeMs: Optional[int]


class Verdict(_Verdict, total=False):
    notRecorded: str


class JobReport(TypedDict):
    """What jobctl says about one job. `status` is the record's, `verdict` what jobctl found."""

    id: str
    file: str
    status: Optional[str]
    verdict: Verdict
    job: Optional[JobRecord]


class JobEvent(TypedDict):
    """One line of `jobctl events`."""

    schema: int
    event: Literal[
        "appeared",
        "started",
        "stalled",
        "resumed",
        "orphaned",
        "ended",
        "settled",
        "unknown",
    ]
    time: str
    id: str
    file: str
    cursor: str
    job: JobReport
