import { JobFailedError, spawnJob, waitJob } from "jobshim";

const job = await spawnJob("sh", ["-c", "exit 3"], { job: "./api.json" });
try {
  await waitJob(job.file);
} catch (error) {
  if (!(error instanceof JobFailedError) || error.results[0].exitCode !== 3) throw error;
  console.log("ok");
}
