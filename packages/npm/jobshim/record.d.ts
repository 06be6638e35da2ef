/** The job file: one JSON object. */
export interface JobRecord {
  id?: string;
  status: string;
  title?: string;
  pid?: number | null;
  jobshim?: Record<string, unknown>;
  [key: string]: unknown;
}

/** What `jobctl … --json` prints for a job. */
export interface JobReport {
  id: string;
  file: string;
  status: string | null;
  verdict: {
    state:
      | "queued"
      | "running"
      | "stalled"
      | "orphaned"
      | "lost"
      | "unknown"
      | "completed"
      | "failed"
      | "cancelled";
    because: string;
    lastBeatAgeMs: number | null;
    notRecorded?: string;
  };
  job: JobRecord | null;
}

/** One line of `jobctl events`. */
export interface JobEvent {
  schema: number;
  event:
    | "appeared"
    | "started"
    | "stalled"
    | "resumed"
    | "orphaned"
    | "ended"
    | "settled"
    | "unknown";
  time: string;
  id: string;
  file: string;
  cursor: string;
  job: JobReport;
}
