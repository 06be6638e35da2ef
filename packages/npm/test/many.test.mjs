// 500 jobs at once.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import { descriptors, inFolder, jobshim, library, start, until } from "./support.mjs";

const { cancelJob, waitJob } = jobshim;
const many = 500;

test("500 jobs at once: each has its own end, and nothing is leaked", async () => {
  const before = descriptors();
  const began = performance.now();
  const go = inFolder("go-all");
  const script = `while ! test -e ${go}; do sleep 0.5; done; exit $1`;
  const codes = Array.from({ length: many }, (_, i) => i % 4);
  const jobs = await Promise.all(
    codes.map((code) => start("sh", ["-c", script, "sh", String(code)])),
  );
  const startedAll = performance.now();
  assert.equal(new Set(jobs.map((job) => job.id)).size, many);
  assert.ok(jobs.every((job) => job.pid !== null));

  const together = waitJob(jobs, { reject: false });
  const oneByOne = jobs.slice(0, 100).map((job) => job.wait({ reject: false }));
  await (await start("touch", [go])).wait();
  const results = await together;
  assert.deepEqual(
    results.map((each) => each.exitCode),
    codes,
  );
  assert.deepEqual(
    (await Promise.all(oneByOne)).map((each) => each.exitCode),
    codes.slice(0, 100),
  );
  const endedAll = performance.now();
  await until(() => descriptors() <= before);
  const rss = Math.round(process.memoryUsage().rss / 2 ** 20);
  console.log(
    `${many} jobs: started in ${Math.round(startedAll - began)} ms, ` +
      `all ended ${Math.round(endedAll - startedAll)} ms later; this process has ${rss} MiB`,
  );
});

test("500 jobs cancelled in one call", async () => {
  const starting = Array.from({ length: many }, () => start("sleep", ["300"]));
  const jobs = await Promise.all(starting);
  const began = performance.now();
  const results = await cancelJob(jobs);
  console.log(`${many} jobs: cancelled in ${Math.round(performance.now() - began)} ms`);
  assert.equal(results.filter((each) => each.isCanceled).length, many);
});

test("too few descriptors: an error, and not a crash", () => {
  const script = `
    const { JobshimError, spawnJob, Job } = require(${JSON.stringify(library)});
    const fs = require("node:fs");
    const held = [];
    try { for (;;) held.push(fs.openSync("/dev/null")); } catch {}
    (async () => {
      const logs = Object.assign(Object.create(Job.prototype), { file: "/none.json" }).logs();
      const ends = await Promise.allSettled([spawnJob("true"), logs.next()]);
      process.exit(ends.every((end) => end.reason instanceof JobshimError) ? 42 : 1);
    })();`;
  const { status, stderr } = spawnSync("sh", [
    "-c",
    'ulimit -n 64; exec "$@"',
    "sh",
    process.execPath,
    "-e",
    script,
  ]);
  assert.equal(status, 42, String(stderr));
});
