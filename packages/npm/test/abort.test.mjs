// AbortSignals: `signal` stops the waiting, `cancelSignal` the job.
import assert from "node:assert/strict";
import { test } from "node:test";

import { descriptors, inFolder, jobshim, start, until } from "./support.mjs";

const { waitJob } = jobshim;

function isAbort(error) {
  assert.equal(error.name, "AbortError");
  assert.equal(error.code, "ABORT_ERR");
  assert.equal(error instanceof jobshim.JobError, false);
  return true;
}

test("signal stops the waiting; the job goes on", async () => {
  const job = await start("sleep", ["60"]);
  const before = descriptors();
  const controller = new AbortController();
  const waiting = job.wait({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, (error) => {
    assert.equal(error.cause.message, "enough");
    return isAbort(error);
  });
  await assert.rejects(job.wait({ signal: controller.signal }), isAbort);
  assert.equal((await job.read()).verdict, "running");
  await until(() => descriptors() <= before);
  await job.cancel();
});

test("a signal that comes too late changes nothing", async () => {
  const job = await start("true");
  const controller = new AbortController();
  assert.equal((await job.wait({ signal: controller.signal })).verdict, "completed");
  controller.abort();
});

test("cancelSignal cancels the job", async () => {
  const controller = new AbortController();
  const job = await start("sleep", ["60"], { cancelSignal: controller.signal });
  controller.abort();
  await assert.rejects(job.wait(), jobshim.JobCancelledError);
  const { cancel } = (await job.read()).report.job.jobshim;
  assert.equal(cancel.reason, "aborted by the program that started it");
});

test("cancelSignal, aborted before: nothing starts", async () => {
  const file = inFolder("never.json");
  const options = { job: file, cancelSignal: AbortSignal.abort() };
  await assert.rejects(start("true", options), isAbort);
  await assert.rejects(waitJob(file), jobshim.JobNotFoundError);
});

test("cancelSignal, aborted while the job starts", async () => {
  const controller = new AbortController();
  const starting = start("sleep", ["60"], { cancelSignal: controller.signal });
  controller.abort();
  await assert.rejects((await starting).wait(), jobshim.JobCancelledError);
});

test("one signal for many that wait: it stops all, and Node warns of no leak", async () => {
  const warnings = [];
  const listener = (warning) => warnings.push(warning);
  process.on("warning", listener);
  const job = await start("sleep", ["60"]);
  const controller = new AbortController();
  const waiting = Array.from({ length: 20 }, () => job.wait({ signal: controller.signal }));
  controller.abort();
  for (const each of waiting) await assert.rejects(each, isAbort);
  process.off("warning", listener);
  assert.deepEqual(warnings, []);
  await job.cancel();
});

test("one cancelSignal for many jobs cancels all, and Node warns of no leak", async () => {
  const warnings = [];
  const listener = (warning) => warnings.push(warning);
  process.on("warning", listener);
  const controller = new AbortController();
  const options = { cancelSignal: controller.signal };
  const starting = Array.from({ length: 20 }, () => start("sleep", ["60"], options));
  const jobs = await Promise.all(starting);
  controller.abort();
  const ended = await waitJob(jobs, { reject: false });
  assert.deepEqual(
    ended.map((each) => each.verdict),
    jobs.map(() => "cancelled"),
  );
  process.off("warning", listener);
  assert.deepEqual(warnings, []);
});

test("cancelSignal does not cancel another run in the same job file", async () => {
  const file = inFolder("again.json");
  const controller = new AbortController();
  // Not waited for by its Job, so that only the look at the record can tell.
  await start("true", { job: file, cancelSignal: controller.signal });
  await waitJob(file);
  const other = await start("sleep", ["60"], { job: file });
  const witness = await start("sleep", ["60"], { cancelSignal: controller.signal });
  controller.abort();
  // The witness was cancelled by the same call.
  await witness.wait({ reject: false });
  assert.equal((await other.read()).verdict, "running");
  await other.cancel();
});

test("cancelSignal after the end is ignored", async () => {
  const controller = new AbortController();
  const job = await start("true", { cancelSignal: controller.signal });
  await job.wait();
  controller.abort();
  assert.equal((await job.read()).verdict, "completed");
});
