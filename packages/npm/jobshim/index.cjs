// The API on top of the two programs. It starts `jobshim --detach` and asks `jobctl … --json`; what
// a job is, and when it counts as dead, is theirs to say.
"use strict";

const { spawn } = require("node:child_process");
const { existsSync } = require("node:fs");
const { resolve } = require("node:path");
const { fileURLToPath } = require("node:url");

const platformPackage = `@jobshim/${process.platform}-${process.arch}`;

// JOBSHIM_BINARY_DIR names a folder with other programs than the package's: the tests use it.
function findProgram(name) {
  if (process.env.JOBSHIM_BINARY_DIR) return resolve(process.env.JOBSHIM_BINARY_DIR, name);
  try {
    return require.resolve(`${platformPackage}/bin/${name}`);
  } catch {
    return null;
  }
}

const jobshimPath = findProgram("jobshim");
const jobctlPath = findProgram("jobctl");

function whyMissing() {
  if (!(platformPackage in require("./package.json").optionalDependencies))
    return `there are no programs for this platform (${process.platform}-${process.arch})`;
  return (
    `the package ${platformPackage}, which contains the programs, is not installed; it is an ` +
    "optional dependency of jobshim: install again without --omit=optional or --no-optional"
  );
}

// --- Errors -------------------------------------------------------------------------------------

class JobError extends Error {
  constructor(code, message, { report = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.report = report;
  }
}

class JobFailedError extends JobError {
  constructor(report) {
    super("ERR_JOB_FAILED", sentence(report), { report });
  }
}

class JobCancelledError extends JobError {
  constructor(report) {
    super("ERR_JOB_CANCELLED", sentence(report), { report });
  }
}

class JobUnknownError extends JobError {
  constructor(report) {
    super("ERR_JOB_UNKNOWN", sentence(report), { report });
  }
}

class JobNotFoundError extends JobError {
  constructor(message) {
    super("ERR_JOB_NOT_FOUND", message);
  }
}

class WaitTimeoutError extends JobError {
  constructor(message, report) {
    super("ERR_WAIT_TIMEOUT", message, { report });
  }
}

// One of the programs failed, or could not be started.
class JobshimError extends JobError {
  constructor(message, { exitCode = null, stderr = "", cause } = {}) {
    super("ERR_JOBSHIM", message, { cause });
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

function sentence(report) {
  return `${report.id}: ${report.verdict.because}`;
}

// As Node's own functions reject.
function abortError(signal) {
  const error = new Error("The operation was aborted", { cause: signal.reason });
  return Object.assign(error, { name: "AbortError", code: "ABORT_ERR" });
}

const callbacksOf = new WeakMap();

// Calls back once if the signal is aborted, until the function that it returns is called. One listener
// for each signal, however many wait with it: from the eleventh on, Node warns of a leak.
function onAbort(signal, callback) {
  if (signal === undefined) return () => {};
  let callbacks = callbacksOf.get(signal);
  if (callbacks === undefined) {
    callbacks = new Set();
    callbacksOf.set(signal, callbacks);
    signal.addEventListener("abort", () => callbacks.forEach((each) => each()), { once: true });
  }
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

// What a program wrote on stderr, without its name before each line.
function complaint(stderr) {
  return stderr.trim().replace(/^(jobshim|jobctl): /gm, "");
}

function failureOf({ name, exitCode, killedBy, stderr }) {
  const how = killedBy === null ? `${name} exited with ${exitCode}` : `${name} died of ${killedBy}`;
  return new JobshimError(complaint(stderr) || how, { exitCode, stderr });
}

// --- Options ------------------------------------------------------------------------------------

function duration(ms, name) {
  if (typeof ms !== "number" || !Number.isFinite(ms) || ms < 0)
    throw new TypeError(`${name} must be a number of milliseconds, not ${String(ms)}`);
  return `${ms.toFixed(3)}ms`;
}

function gracePeriod(ms, name) {
  return ms === false ? "0" : duration(ms, name);
}

function path(value) {
  return resolve(value instanceof URL ? fileURLToPath(value) : value);
}

// Each [option, value]: undefined and false leave it out, true is for an option without a value.
function argumentsOf(pairs) {
  return pairs
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([option, value]) => (value === true ? option : `${option}=${value}`));
}

function optional(value, convert, name) {
  return value === undefined ? undefined : convert(value, name);
}

function listOf(value) {
  return value === undefined ? [] : [].concat(value);
}

function nameOf(ref) {
  const name = typeof ref === "string" ? ref : ref?.file;
  if (typeof name !== "string")
    throw new TypeError("a job is given as an id, as a path or as an object with a file");
  return name;
}

// --- Running the programs -----------------------------------------------------------------------

function startProgram(name, args, options) {
  const program = name === "jobshim" ? jobshimPath : jobctlPath;
  if (program === null) throw new JobshimError(whyMissing());
  return spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
}

// Why a program could not be started. Node says ENOENT of the program if it is the folder.
function startError(name, error, cwd) {
  const missing = error.code === "ENOENT" && cwd !== undefined && !existsSync(cwd);
  const why = missing ? `the working directory ${cwd} does not exist` : error.message;
  return new JobshimError(`${name} could not be started: ${why}`, { cause: error });
}

// Resolves when the program has ended, however it did: {name, exitCode, killedBy, stdout, stderr}.
function runProgram(name, args, { signal, ...options } = {}) {
  return new Promise((fulfil, reject) => {
    if (signal?.aborted) throw abortError(signal);
    const child = startProgram(name, args, options);
    const out = [];
    const err = [];
    const settled = onAbort(signal, () => {
      child.kill();
      reject(abortError(signal));
    });
    child.on("error", (error) => {
      settled();
      reject(startError(name, error, options.cwd));
    });
    // Without a descriptor left (EMFILE) there are no pipes either.
    child.stdout?.on("data", (chunk) => out.push(chunk));
    child.stderr?.on("data", (chunk) => err.push(chunk));
    child.on("close", (exitCode, killedBy) => {
      settled();
      const stdout = Buffer.concat(out).toString();
      const stderr = Buffer.concat(err).toString();
      fulfil({ name, exitCode, killedBy, stdout, stderr });
    });
  });
}

// Runs jobctl and resolves to its exit code, the reports that it printed and what it said besides.
// Rejects for what means the same after every command.
async function ask(args, options) {
  const run = await runProgram("jobctl", args, options);
  if (run.exitCode === 4) throw new JobNotFoundError(complaint(run.stderr));
  if ([null, 2, 125].includes(run.exitCode) || run.stdout === "") throw failureOf(run);
  return { ...run, reports: JSON.parse(run.stdout) };
}

// The lines that jobctl writes, each as soon as it is complete; what is left without a newline at
// the end is a line as well. Whoever stops iterating ends jobctl.
async function* linesOf(args, signal) {
  if (signal?.aborted) throw abortError(signal);
  const child = startProgram("jobctl", args);
  let stderr = "";
  let failure = null;
  const closed = new Promise((fulfil) => {
    child.on("error", (error) => {
      failure = startError("jobctl", error);
    });
    child.on("close", (exitCode, killedBy) => fulfil({ exitCode, killedBy }));
  });
  const settled = onAbort(signal, () => {
    child.kill();
    child.stdout?.destroy(abortError(signal));
  });
  child.stderr?.setEncoding("utf8").on("data", (chunk) => (stderr += chunk));
  try {
    let rest = "";
    for await (const chunk of child.stdout?.setEncoding("utf8") ?? []) {
      // Not (rest + chunk).split: a long line would be searched again with every chunk.
      const parts = chunk.split("\n");
      parts[0] = rest + parts[0];
      rest = parts.pop();
      if (parts.length > 0) yield* parts;
    }
    const { exitCode, killedBy } = await closed;
    if (signal?.aborted) throw abortError(signal);
    if (failure !== null) throw failure;
    if (rest !== "") yield rest;
    if (exitCode === 4) throw new JobNotFoundError(complaint(stderr));
    if (exitCode !== 0) throw failureOf({ name: "jobctl", exitCode, killedBy, stderr });
  } finally {
    settled();
    child.kill();
    await closed;
  }
}

// --- Jobs ---------------------------------------------------------------------------------------

class Job {
  constructor(report) {
    this.id = report.id;
    this.file = report.file;
    this.title = report.job?.title ?? null;
    this.pid = report.job?.pid ?? null;
  }

  read(options) {
    return readJob(this, options);
  }

  wait(options) {
    return waitJob(this, options);
  }

  cancel(options) {
    return cancelJob(this, options);
  }

  async *logs({ follow = false, lines, signal } = {}) {
    const options = argumentsOf([
      ["--follow", follow],
      ["--lines", lines],
    ]);
    yield* linesOf(["logs", ...options, "--", this.file], signal);
  }

  async *events({ signal } = {}) {
    for await (const line of linesOf(["events", "--", this.file], signal)) yield JSON.parse(line);
  }
}

// A job as it was when jobctl looked. What is not known is null.
class JobSnapshot extends Job {
  constructor(report) {
    super(report);
    const end = report.job?.jobshim?.exit ?? null;
    this.status = report.status;
    this.verdict = report.verdict.state;
    this.because = report.verdict.because;
    this.reason = end?.reason ?? null;
    this.exitCode = end?.code ?? null;
    this.signal = end?.signalName ?? null;
    this.timedOut = end?.reason === "timeout";
    this.isCanceled = report.verdict.state === "cancelled";
    this.durationMs = end?.durationMs ?? null;
    this.report = report;
  }
}

// What jobctl wait exits with for a job that has ended.
const exitStatusOf = { completed: 0, failed: 1, lost: 1, cancelled: 5 };

function hasEnded(report) {
  return report.verdict.state in exitStatusOf;
}

function errorOf(report) {
  switch (report.verdict.state) {
    case "completed":
      return null;
    case "failed":
    case "lost":
      return new JobFailedError(report);
    case "cancelled":
      return new JobCancelledError(report);
    default:
      return new JobUnknownError(report);
  }
}

function resultsOf(reports, reject) {
  const results = reports.map((report) => new JobSnapshot(report));
  const error = reject ? reports.map(errorOf).find((each) => each !== null) : undefined;
  if (error !== undefined) throw Object.assign(error, { results });
  return results;
}

// --- Cancelling by an AbortSignal ---------------------------------------------------------------

// For each signal the runs that it cancels: one jobctl for all of them.
const runsOfSignal = new WeakMap();
// What to do once it is known that the job, a Job of spawnJob, has ended.
const atEnd = new WeakMap();

// A job file may have been used for another run since; that one is not to be cancelled.
function identityOfRun(report) {
  return JSON.stringify(report.job?.jobshim?.shim ?? null);
}

async function cancelRuns(runs) {
  const files = [...runs.keys()];
  if (files.length === 0) return;
  const now = await runProgram("jobctl", ["status", "--json", "--no-reap", "--", ...files]);
  if (now.stdout === "") throw failureOf(now);
  const same = JSON.parse(now.stdout).filter((r) => runs.get(r.file) === identityOfRun(r));
  if (same.length > 0) await cancelJob(same, { reason: "aborted by the program that started it" });
}

function cancelOnAbort(signal, job, report) {
  const cancel = (runs) =>
    cancelRuns(runs).catch((error) => process.emitWarning(error.message, "JobshimWarning"));
  if (signal.aborted) {
    cancel(new Map([[job.file, identityOfRun(report)]]));
    return;
  }
  let runs = runsOfSignal.get(signal);
  if (runs === undefined) {
    runs = new Map();
    runsOfSignal.set(signal, runs);
    onAbort(signal, () => cancel(runs));
  }
  runs.set(job.file, identityOfRun(report));
  atEnd.set(job, () => runs.delete(job.file));
}

// --- The functions ------------------------------------------------------------------------------

async function spawnJob(command, args = [], options = {}) {
  if (!Array.isArray(args)) return spawnJob(command, [], args);
  const { cancelSignal, cwd, env } = options;
  if (cancelSignal?.aborted) throw abortError(cancelSignal);
  const file = optional(options.job, path);
  const shimArguments = argumentsOf([
    ["--detach", true],
    ["--job", file],
    ["--id", options.id],
    ["--title", options.title],
    ["--log", optional(options.log, path)],
    ["--timeout", optional(options.timeout, duration, "timeout")],
    ["--signal", options.killSignal],
    ["--kill-after", optional(options.forceKillAfterDelay, gracePeriod, "forceKillAfterDelay")],
    ["--on-shim-death", options.onShimDeath],
    ["--expect-record", options.expectRecord],
  ]);
  const shim = await runProgram("jobshim", [...shimArguments, "--", command, ...args], {
    cwd,
    env,
    // A ^C while jobshim is about to leave the terminal's session is not for the job.
    detached: true,
  });
  if (shim.exitCode !== 0) throw failureOf(shim);

  // By the same environment, which decides where a record without `job` is.
  const ref = file ?? shim.stdout.trim();
  const { reports } = await ask(["status", "--json", "--no-reap", "--", ref], { env });
  const job = new Job(reports[0]);
  if (cancelSignal !== undefined) cancelOnAbort(cancelSignal, job, reports[0]);
  return job;
}

async function readJob(ref, { settle = true } = {}) {
  const options = argumentsOf([["--no-reap", !settle]]);
  const { reports } = await ask(["status", "--json", ...options, "--", nameOf(ref)]);
  return new JobSnapshot(reports[0]);
}

async function waitJob(refs, { signal, timeout, any = false, reject = true } = {}) {
  const all = [].concat(refs);
  if (all.length === 0) {
    if (any) throw new TypeError("there is no job to wait for");
    return [];
  }
  const options = argumentsOf([
    ["--any", any],
    ["--timeout", optional(timeout, duration, "timeout")],
  ]);
  // One report for each job, in the same order.
  const { exitCode, reports, stderr } = await ask(
    ["wait", "--json", ...options, "--", ...all.map(nameOf)],
    { signal },
  );
  for (const [i, report] of reports.entries()) if (hasEnded(report)) atEnd.get(all[i])?.();
  if (exitCode === 124)
    throw new WaitTimeoutError(complaint(stderr), reports.find((r) => !hasEnded(r)) ?? null);

  if (any) {
    // If a worker wrote its status itself, its end is not in the record before the shim is gone.
    const ended = reports.filter((r) => exitStatusOf[r.verdict.state] === exitCode);
    return resultsOf([ended.find((r) => r.job?.jobshim?.exit) ?? ended[0]], reject)[0];
  }
  const results = resultsOf(reports, reject);
  return Array.isArray(refs) ? results : results[0];
}

async function listJobs({ dir, status, settle = true } = {}) {
  const options = argumentsOf([
    ["--no-reap", !settle],
    ...listOf(dir).map((each) => ["--dir", path(each)]),
    ...listOf(status).map((each) => ["--status", each]),
  ]);
  const { reports } = await ask(["list", "--json", ...options]);
  return reports.map((report) => new JobSnapshot(report));
}

async function cancelJob(refs, { reason, signal, killAfter, timeout } = {}) {
  const names = [].concat(refs).map(nameOf);
  if (names.length === 0) return [];
  const options = argumentsOf([
    ["--reason", reason],
    ["--signal", signal],
    ["--kill-after", optional(killAfter, gracePeriod, "killAfter")],
    ["--timeout", optional(timeout, duration, "timeout")],
  ]);
  const { exitCode, reports, stderr } = await ask(["cancel", "--json", ...options, "--", ...names]);
  if (exitCode === 124) {
    const now = await ask(["status", "--json", "--no-reap", "--", ...names]);
    throw new WaitTimeoutError(complaint(stderr), now.reports.find((r) => !hasEnded(r)) ?? null);
  }
  const unknown = reports.find((r) => !hasEnded(r));
  if (unknown !== undefined) throw new JobUnknownError(unknown);
  const results = reports.map((report) => new JobSnapshot(report));
  return Array.isArray(refs) ? results : results[0];
}

// Written out for Node's import, which reads the names off the source.
module.exports = {
  Job,
  JobCancelledError,
  JobError,
  JobFailedError,
  JobNotFoundError,
  JobSnapshot,
  JobUnknownError,
  JobshimError,
  WaitTimeoutError,
  cancelJob,
  jobctlPath,
  jobshimPath,
  listJobs,
  readJob,
  spawnJob,
  waitJob,
};
