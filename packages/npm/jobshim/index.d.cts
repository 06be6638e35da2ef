import type { JobEvent, JobRecord, JobReport } from "./record";

export type { JobEvent, JobRecord, JobReport };

/** A job: its id or the path of its job file (with a slash in it or ending in .json), or an object with its file. */
export type JobRef = string | { readonly file: string };

/** What jobctl found: see "Verdicts" in jobctl(1). */
export type JobVerdict = JobReport["verdict"]["state"];

/** Where the program is, or null if there is no package for this platform. */
export const jobshimPath: string | null;
export const jobctlPath: string | null;

export interface SpawnJobOptions {
  /** The job file. The default is `ID.json` in the state directory. */
  job?: string | URL;
  /** The job's id. The default is the one in the job file, its name, or a generated one. */
  id?: string;
  /** A title for people to read. The default is the command. */
  title?: string;
  /** The file that stdout and stderr are appended to. The default is `ID.log` beside the job file. */
  log?: string | URL;
  /** The command's working directory. The default is this process's. */
  cwd?: string | URL;
  /** The command's whole environment. The default is this process's. */
  env?: Record<string, string | undefined>;
  /** Send `killSignal` after so many milliseconds. The default, 0, is never. */
  timeout?: number;
  /** The signal to send on a timeout. The default is `SIGTERM`. */
  killSignal?: string | number;
  /**
   * Send SIGKILL if the command is still there so many milliseconds after the first signal. The
   * default is 10000; `false` and 0 are never.
   */
  forceKillAfterDelay?: number | false;
  /** What happens to the command if jobshim itself dies. The default is `kill`. */
  onShimDeath?: "kill" | "keep";
  /** The command must write a final `status` into the job file itself. The default is false. */
  expectRecord?: boolean;
  /** Cancels the job, for as long as this process is there. */
  cancelSignal?: AbortSignal;
}

export interface ReadJobOptions {
  /** Record the end of a job that is found dead. The default is true. */
  settle?: boolean;
}

export interface WaitOptions {
  /** Stops the waiting, not the job: the promise rejects with an AbortError. */
  signal?: AbortSignal;
  /** Give up after so many milliseconds, with a WaitTimeoutError. The default, 0, is never. */
  timeout?: number;
  /** Reject if a job did not complete. The default is true. */
  reject?: boolean;
}

export interface WaitJobsOptions extends WaitOptions {
  /** Wait for all jobs (false, the default) or for the first that ends. */
  any?: boolean;
}

export interface CancelOptions {
  /** Why; it is kept in the record. */
  reason?: string;
  /** The first signal to send, by name or number: not an AbortSignal. The default is `SIGTERM`. */
  signal?: string | number;
  /**
   * Send SIGKILL so many milliseconds later; `false` and 0 are never. The default is the job's own
   * `forceKillAfterDelay`.
   */
  killAfter?: number | false;
  /**
   * Give up waiting for the end after so many milliseconds; the request stays. The default is 60000
   * and the grace period; 0 is never.
   */
  timeout?: number;
}

export interface ListJobsOptions extends ReadJobOptions {
  /** The directories to look in. The default is the state directory's `jobs`. */
  dir?: string | URL | readonly (string | URL)[];
  /** Only jobs with one of these verdicts. */
  status?: JobVerdict | readonly JobVerdict[];
}

export interface LogsOptions {
  /** Go on until the job has ended. The default is false. */
  follow?: boolean;
  /** Begin with the last so many lines. The default is all that this run wrote. */
  lines?: number;
  /** Ends the iteration with an AbortError. */
  signal?: AbortSignal;
}

export interface EventsOptions {
  /** Ends the iteration with an AbortError. */
  signal?: AbortSignal;
}

export class Job {
  protected constructor();
  readonly id: string;
  /** The absolute path of the job file. */
  readonly file: string;
  readonly title: string | null;
  /** The pid that the command had when the job was read; null if it was not running. */
  readonly pid: number | null;
  /** The job as it is now. */
  read(options?: ReadJobOptions): Promise<JobSnapshot>;
  /** Waits for the end. Rejects as `waitJob` does. */
  wait(options?: WaitOptions): Promise<JobSnapshot>;
  /** Cancels the job and waits for its end. */
  cancel(options?: CancelOptions): Promise<JobSnapshot>;
  /** The lines that this run wrote to its log, without their newlines. */
  logs(options?: LogsOptions): AsyncGenerator<string, void, undefined>;
  /** What happens to the job, beginning with its present state, until it has ended. */
  events(options?: EventsOptions): AsyncGenerator<JobEvent, void, undefined>;
}

/** A job as it was when jobctl looked. What is not known, or not yet, is null. */
export class JobSnapshot extends Job {
  private constructor();
  /** What the record says. */
  readonly status: JobReport["status"];
  /** What jobctl found. */
  readonly verdict: JobVerdict;
  /** The reason for the verdict, as a sentence. */
  readonly because: string;
  /** How it ended, in a word: see docs/record.md. */
  readonly reason: string | null;
  /** Null if a signal killed the command. */
  readonly exitCode: number | null;
  /** The name of the signal that killed the command. */
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly durationMs: number | null;
  /** All that jobctl said, with the record as `job`. */
  readonly report: JobReport;
}

export class JobError extends Error {
  readonly code:
    | "ERR_JOB_FAILED"
    | "ERR_JOB_CANCELLED"
    | "ERR_JOB_UNKNOWN"
    | "ERR_JOB_NOT_FOUND"
    | "ERR_WAIT_TIMEOUT"
    | "ERR_JOBSHIM";
  /** The job that the error is about, if jobctl could say something about it. */
  readonly report: JobReport | null;
  /** From `waitJob`: all the jobs that it waited for. */
  readonly results?: JobSnapshot[];
}

/** The job ended without completing. */
export class JobFailedError extends JobError {
  readonly code: "ERR_JOB_FAILED";
  readonly report: JobReport;
}

/** The job was cancelled. */
export class JobCancelledError extends JobError {
  readonly code: "ERR_JOB_CANCELLED";
  readonly report: JobReport;
}

/** Whether the job is alive cannot be determined from here. */
export class JobUnknownError extends JobError {
  readonly code: "ERR_JOB_UNKNOWN";
  readonly report: JobReport;
}

/** There is no such job. */
export class JobNotFoundError extends JobError {
  readonly code: "ERR_JOB_NOT_FOUND";
}

/** The job has not ended in time. It goes on. */
export class WaitTimeoutError extends JobError {
  readonly code: "ERR_WAIT_TIMEOUT";
}

/** jobshim or jobctl failed, or is not there. */
export class JobshimError extends JobError {
  readonly code: "ERR_JOBSHIM";
  /** From jobshim: 126 if the command cannot be executed, 127 if it was not found, else 125. */
  readonly exitCode: number | null;
  readonly stderr: string;
}

/**
 * Starts a command in the background, in a session of its own, with jobshim to record its end.
 * Resolves once the command has started. This process may end at once; the job goes on.
 */
export function spawnJob(
  command: string,
  args?: readonly string[],
  options?: SpawnJobOptions,
): Promise<Job>;
export function spawnJob(command: string, options?: SpawnJobOptions): Promise<Job>;

/** Looks at a job. */
export function readJob(ref: JobRef, options?: ReadJobOptions): Promise<JobSnapshot>;

/**
 * Waits until a job has ended, or all of several, or with `any` the first of them. Rejects with a
 * JobFailedError, JobCancelledError or JobUnknownError unless all have completed; with `reject:
 * false` it resolves however they ended.
 */
export function waitJob(
  refs: readonly JobRef[],
  options: WaitJobsOptions & { any: true },
): Promise<JobSnapshot>;
export function waitJob(
  refs: readonly JobRef[],
  options?: WaitJobsOptions & { any?: false },
): Promise<JobSnapshot[]>;
export function waitJob(ref: JobRef, options?: WaitJobsOptions): Promise<JobSnapshot>;

/** The jobs of a directory, newest first. */
export function listJobs(options?: ListJobsOptions): Promise<JobSnapshot[]>;

/**
 * Cancels jobs and waits for their ends. It resolves however they ended: one that was over before is
 * left as it was. Each job is in the result once.
 */
export function cancelJob(refs: readonly JobRef[], options?: CancelOptions): Promise<JobSnapshot[]>;
export function cancelJob(ref: JobRef, options?: CancelOptions): Promise<JobSnapshot>;
