// What the tests share. JOBSHIM_TEST_BIN is the folder with the programs; without it, the tests use
// those of the installed package.
import { after } from "node:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

if (process.env.JOBSHIM_TEST_BIN) process.env.JOBSHIM_BINARY_DIR = process.env.JOBSHIM_TEST_BIN;

export const folder = mkdtempSync(join(tmpdir(), "jobshim-npm-"));
process.env.XDG_STATE_HOME = join(folder, "state");

// JOBSHIM_TEST_PACKAGE: from a project that has it installed (check.sh).
const require = createRequire(import.meta.url);
export const library = process.env.JOBSHIM_TEST_PACKAGE ?? require.resolve("../jobshim/index.cjs");
export const jobshim = require(library);

const started = [];
after(async () => {
  const alive = (await jobshim.listJobs({ settle: false })).concat(started).map((job) => job.file);
  if (alive.length > 0)
    await jobshim.cancelJob([...new Set(alive)], { killAfter: 100 }).catch(() => {});
  rmSync(folder, { recursive: true });
});

// As spawnJob, for a job whose file is not in the state directory.
export async function start(...args) {
  const job = await jobshim.spawnJob(...args);
  started.push(job);
  return job;
}

export function inFolder(name) {
  return join(folder, name);
}

export async function until(condition) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not in time: ${condition}`);
    await delay(10);
  }
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function descriptors() {
  return readdirSync("/proc/self/fd").length;
}

// Skips the test if jobctl is older than its command `events`.
export function lacksEvents(t) {
  const { stdout } = spawnSync(jobshim.jobctlPath, ["--help"]);
  if (/^ +events /m.test(String(stdout))) return false;
  console.log("test skipped: jobctl has no events command");
  t.skip("jobctl has no events command");
  return true;
}
