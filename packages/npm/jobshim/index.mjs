// One implementation for import and require, so that there is one JobError.
export {
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
} from "./index.cjs";
