// Made by packages/schema/types.sh from the schemas beside it: do not edit.

/**
 * What happened.
 */
export type JobEventName =
  "appeared" | "started" | "stalled" | "resumed" | "orphaned" | "ended" | "settled" | "unknown";
/**
 * The verdict in one word.
 */
export type JobState =
  "queued" | "running" | "stalled" | "orphaned" | "lost" | "unknown" | "completed" | "failed" | "cancelled";
/**
 * Where the job stands, as far as its record says.
 */
export type JobStatus = "queued" | "running" | "completed" | "failed" | "cancelled";
/**
 * The same in more detail.
 */
export type JobPhase = "queued" | "starting" | "running" | "done" | "failed" | "cancelled";
/**
 * A process id.
 */
export type Pid = number;
/**
 * ISO 8601, UTC, with milliseconds.
 */
export type Time = string;
/**
 * When a process was started, in clock ticks since boot; null if unknown.
 */
export type StartTime = number | null;
/**
 * A user id; null if unknown.
 */
export type Uid = number | null;
/**
 * The name of a process; null if unknown.
 */
export type ProcessName = string | null;
/**
 * Exact bytes, in base64.
 */
export type Base64 = string;
/**
 * Why the job ended.
 */
export type ExitReason =
  | "success"
  | "exit-code"
  | "signal"
  | "core-dump"
  | "oom-kill"
  | "timeout"
  | "cancelled"
  | "spawn-failed"
  | "no-result"
  | "shim-lost"
  | "host-rebooted"
  | "unknown";
/**
 * How the end is known.
 */
export type Certainty = "observed" | "inferred" | "told" | "presumed" | "unknown";
/**
 * What jobctl prints with --json: one report for result, an array of findings for doctor, and an array of reports for every other command. With list --watch, one array after another.
 */
export type JobctlOutput = JobReport | JobReport[] | DoctorFinding[];

/**
 * One line of jobctl events.
 */
export interface JobEvent {
  /**
   * The version of this schema.
   */
  schema: 1;
  event: JobEventName;
  /**
   * When it happened, or when it was noticed if that is all that is known.
   */
  time: string;
  /**
   * The job's id.
   */
  id: string;
  /**
   * The absolute path of the job file.
   */
  file: string;
  /**
   * For --since: to go on after this event.
   */
  cursor: string;
  job: JobReport;
  [k: string]: unknown;
}
/**
 * One job.
 */
export interface JobReport {
  /**
   * The job's id; without one in the record, it is made from the file's name.
   */
  id: string;
  /**
   * The path of the job file.
   */
  file: string;
  /**
   * What the record says: a JobStatus, or a word that only the file's owner knows; null if the record has none.
   */
  status: string | null;
  verdict: JobVerdict;
  /**
   * The record; null if it cannot be read, or is not for every JSON parser. A file that jobshim has not written is printed as it is.
   */
  job: JobRecord | null;
  [k: string]: unknown;
}
/**
 * What jobctl found.
 */
export interface JobVerdict {
  state: JobState;
  /**
   * The reason, in one sentence.
   */
  because: string;
  /**
   * How long ago the last heartbeat was, negative if it is dated in the future; null if no heartbeat was examined.
   */
  lastBeatAgeMs: number | null;
  /**
   * Only if the end could not be written into the record: why.
   */
  notRecorded?: string;
  [k: string]: unknown;
}
/**
 * A job file: what jobshim records about one job. Other members belong to the program that owns the file.
 */
export interface JobRecord {
  /**
   * The job's id.
   */
  id?: string;
  /**
   * For people: --title, or the command.
   */
  title?: string;
  status: JobStatus;
  phase?: JobPhase;
  /**
   * The worker's pid; null until the worker exists, and after its end.
   */
  pid?: Pid | null;
  /**
   * The worker's arguments. If the file has been used before, possibly those of an earlier run: see jobshim.command.
   */
  command?: string[];
  /**
   * The worker's working directory.
   */
  cwd?: string;
  /**
   * The log; absent if none was asked for.
   */
  logFile?: string;
  /**
   * When the record was made.
   */
  createdAt?: string;
  /**
   * When this run began.
   */
  startedAt?: Time | null;
  updatedAt?: Time;
  /**
   * When the job ended; null until then.
   */
  completedAt?: Time | null;
  /**
   * One sentence for people about how the job failed; null if it did not.
   */
  errorMessage?: string | null;
  jobshim?: JobRun;
  [k: string]: unknown;
}
/**
 * What only jobshim and jobctl write: the job's last run.
 */
export interface JobRun {
  /**
   * The version of this schema.
   */
  schema: 1;
  /**
   * The version of jobshim or jobctl that wrote this.
   */
  version: string;
  /**
   * Null if the job was settled without ever having had a shim.
   */
  shim: ShimIdentity | null;
  /**
   * Null until the worker exists.
   */
  worker: WorkerIdentity | null;
  /**
   * The heartbeat file.
   */
  heartbeat: {
    /**
     * Its path; empty if the job never had a shim.
     */
    file: string;
    /**
     * How often the shim touches it.
     */
    intervalMs: number;
    /**
     * --stall-after; absent without it.
     */
    stallAfterMs?: number;
  };
  /**
   * What becomes of the worker if the shim dies.
   */
  onShimDeath: "kill" | "keep";
  /**
   * With --expect-record: the worker must record a final status itself. Otherwise absent.
   */
  expectRecord?: true;
  /**
   * This run's command, only if it differs from the top-level one.
   */
  command?: string[];
  /**
   * Null if this run keeps no log.
   */
  log: RunLog | null;
  /**
   * The request to cancel this run; null if there was none.
   */
  cancel: CancelRequest | null;
  /**
   * With --companion: the id of the plugin's job.
   */
  companionJob?: string;
  /**
   * Exact bytes, only of what is not UTF-8.
   */
  raw?: {
    command?: Base64[];
    cwd?: Base64;
    log?: Base64;
  };
  /**
   * The end of the previous run; null if there was none.
   */
  previous: ExitRecord | null;
  /**
   * Null until the end.
   */
  exit: ExitRecord | null;
}
/**
 * Which process the shim is.
 */
export interface ShimIdentity {
  pid: Pid;
  startTime: StartTime;
  /**
   * As in /proc/sys/kernel/random/boot_id; null if unknown.
   */
  bootId: string | null;
  /**
   * As in /etc/machine-id; null if unknown.
   */
  machineId: string | null;
  /**
   * The inode of its pid namespace; null if unknown.
   */
  pidNamespace: number | null;
  /**
   * The name of the host; null if unknown.
   */
  host: string | null;
  /**
   * The inode of its time namespace, only if it is not the initial one.
   */
  timeNamespace?: number;
}
/**
 * Which process the worker is.
 */
export interface WorkerIdentity {
  pid: Pid;
  startTime: StartTime;
  /**
   * Its process group.
   */
  group: "own" | "share";
  /**
   * The session in which it was started, only with a group of its own; otherwise null.
   */
  session: number | null;
}
/**
 * Where this run's log is.
 */
export interface RunLog {
  /**
   * Its path.
   */
  file: string;
  /**
   * The byte at which this run begins.
   */
  offset: number;
  /**
   * Its size when the run ended; absent until then, and if unknown.
   */
  end?: number;
}
/**
 * Who asked for the job to be cancelled, and how.
 */
export interface CancelRequest {
  /**
   * The process that asked.
   */
  by: {
    pid: Pid | null;
    uid: Uid;
    command: ProcessName;
  };
  /**
   * --reason; null without it.
   */
  reason: string | null;
  at: Time;
  /**
   * --signal: a name, or a number if it has none.
   */
  signal?: string;
  /**
   * --kill-after.
   */
  killAfterMs?: number;
  startTime?: StartTime;
  run?: ShimIdentity;
}
/**
 * How a run ended.
 */
export interface ExitRecord {
  reason: ExitReason;
  certainty: Certainty;
  /**
   * The exit code; null if there is none, or it is unknown.
   */
  code: number | null;
  /**
   * The signal that killed the worker, or null.
   */
  signal: number | null;
  /**
   * Its name.
   */
  signalName: string | null;
  /**
   * Whether it dumped core; null if unknown.
   */
  coreDumped: boolean | null;
  /**
   * The raw status from wait(2); null if unknown.
   */
  waitStatus: number | null;
  /**
   * With spawn-failed: the name of the error, such as ENOENT.
   */
  errno?: string;
  /**
   * Sentences: which signals were sent and when, what the OOM counters said.
   */
  evidence: string[];
  /**
   * What ended or settled the job; null if nothing is known to have.
   */
  requestedBy: Requester | null;
  /**
   * When it ended; null if unknown.
   */
  endedAt: Time | null;
  /**
   * How long it took; null if unknown.
   */
  durationMs: number | null;
  /**
   * What the worker used; null if unknown.
   */
  resources: Resources | null;
  /**
   * The processes that were still in the worker's process group at its end.
   */
  leftovers: Leftover[];
  /**
   * The last lines of the log; null if there are none.
   */
  tail: string | null;
}
/**
 * What ended or settled the job, and the process behind it.
 */
export interface Requester {
  how: "jobctl cancel" | "signal to the shim" | "timeout" | "jobctl settle" | "jobctl reap --presume-dead";
  pid: Pid | null;
  uid: Uid;
  command: ProcessName;
}
/**
 * What the worker used, with the children that it waited for.
 */
export interface Resources {
  /**
   * CPU time in user mode.
   */
  userMs: number;
  /**
   * CPU time in the kernel.
   */
  systemMs: number;
  /**
   * The peak of the largest process.
   */
  maxRssKiB: number;
  /**
   * The peak of the whole cgroup, only if it was reached during this run.
   */
  groupPeakKiB?: number;
}
export interface Leftover {
  pid: Pid;
  /**
   * The name of the process.
   */
  command: string;
}
/**
 * One thing that jobctl doctor tried.
 */
export interface DoctorFinding {
  /**
   * What was tried.
   */
  what: string;
  /**
   * Whether it works here.
   */
  works: boolean;
  /**
   * Whether a job may become unknown because it does not.
   */
  mayEndInUnknown: boolean;
  /**
   * What was found and, if it does not work, what that costs.
   */
  because: string;
  [k: string]: unknown;
}
