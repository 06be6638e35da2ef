// All of the API, for tsc --strict; it is not run.
import {
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
  type JobEvent,
  type JobRecord,
  type JobRef,
  type JobReport,
  type JobVerdict,
  type SpawnJobOptions,
} from "jobshim";

export async function everything(): Promise<void> {
  const controller = new AbortController();
  const options: SpawnJobOptions = {
    job: new URL("file:///tmp/job.json"),
    id: "id",
    title: "title",
    log: "log",
    cwd: "/",
    env: process.env,
    timeout: 1,
    killSignal: "SIGINT",
    forceKillAfterDelay: false,
    onShimDeath: "keep",
    expectRecord: true,
    cancelSignal: controller.signal,
  };
  const job: Job = await spawnJob("make", ["-j4"] as const, options);
  await spawnJob("make", { title: "no arguments" });
  const pid: number | null = job.pid;
  // @ts-expect-error: a job is not made, but started or read
  new Job();
  // @ts-expect-error: what was read does not change
  job.id = "x";

  const seen: JobSnapshot = await job.read({ settle: false });
  const verdict: JobVerdict = seen.verdict;
  const record: JobRecord | null = seen.report.job;
  // @ts-expect-error: an exit code may be null
  const code: number = seen.exitCode;
  const refs: JobRef[] = [job, seen, job.id, seen.report];

  const one: JobSnapshot = await waitJob("id", { signal: controller.signal, timeout: 5 });
  const all: JobSnapshot[] = await waitJob(refs, { reject: false });
  const first: JobSnapshot = await waitJob(refs, { any: true });
  const listed: JobSnapshot[] = await listJobs({ dir: ["/a", "/b"], status: ["failed", "lost"] });
  const done: JobSnapshot = await cancelJob(job, { reason: "why", signal: 2, killAfter: 1 });
  const both: JobSnapshot[] = await cancelJob([job, job.file], { timeout: 0 });
  // @ts-expect-error: the signal to send, not an AbortSignal
  await cancelJob(job, { signal: controller.signal });

  for await (const line of job.logs({ follow: true, lines: 10, signal: controller.signal }))
    line.trim();
  for await (const event of job.events({ signal: controller.signal })) {
    const e: JobEvent = event;
    const report: JobReport = e.job;
    await readJob(report);
  }

  try {
    await job.wait();
  } catch (error) {
    if (error instanceof JobFailedError || error instanceof JobCancelledError) {
      const report: JobReport = error.report;
      const results: JobSnapshot[] | undefined = error.results;
    } else if (error instanceof JobshimError) {
      const exitCode: number | null = error.exitCode;
      const text: string = error.stderr;
    } else if (error instanceof JobError) {
      const report: JobReport | null = error.report;
      const isOne =
        error instanceof JobUnknownError ||
        error instanceof JobNotFoundError ||
        error instanceof WaitTimeoutError;
    }
  }
  const paths: (string | null)[] = [jobshimPath, jobctlPath];
}
