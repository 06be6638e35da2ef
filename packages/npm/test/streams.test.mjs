// logs and events.
import assert from "node:assert/strict";
import { test } from "node:test";

import { descriptors, inFolder, jobshim, lacksEvents, start, until } from "./support.mjs";

async function all(iterator) {
  const values = [];
  for await (const value of iterator) values.push(value);
  return values;
}

test("logs: the lines of this run, the last one without a newline too", async () => {
  const options = { job: inFolder("lines.json"), log: inFolder("lines.log") };
  await (await start("echo", ["an earlier run"], options)).wait();
  const job = await start("printf", ["one\\n\\nthree \\303\\244\\r\\nfour"], options);
  await job.wait();
  assert.deepEqual(await all(job.logs()), ["one", "", "three ä\r", "four"]);
  assert.deepEqual(await all(job.logs({ lines: 2 })), ["three ä\r", "four"]);
  assert.deepEqual(await all(job.logs({ lines: 0 })), []);
});

test("logs: follow yields lines as they come, and ends with the job", async () => {
  const go = inFolder("go-on");
  const script = `echo first; while ! test -e ${go}; do sleep 0.01; done; echo last`;
  const job = await start("sh", ["-c", script]);
  const lines = [];
  for await (const line of job.logs({ follow: true })) {
    lines.push(line);
    if (line === "first") await (await start("touch", [go])).wait();
  }
  assert.deepEqual(lines, ["first", "last"]);
});

test("logs: a line of several MiB", async () => {
  const script = "head -c 8388608 /dev/zero | tr '\\0' x; echo; echo end";
  const job = await start("sh", ["-c", script]);
  await job.wait();
  const lines = await all(job.logs());
  assert.deepEqual(
    lines.map((line) => line.length),
    [8388608, 3],
  );
});

test("logs: whoever stops iterating leaves nothing behind", async () => {
  const job = await start("sh", ["-c", "echo first; sleep 60"]);
  const before = descriptors();
  for await (const line of job.logs({ follow: true })) {
    assert.equal(line, "first");
    break;
  }
  await until(() => descriptors() <= before);
  await job.cancel();
});

test("logs: signal ends the iteration, while it waits and between two lines", async () => {
  const job = await start("sh", ["-c", "echo first; sleep 60"]);
  const before = descriptors();
  for (const abortAtOnce of [true, false]) {
    const controller = new AbortController();
    await assert.rejects(
      async () => {
        for await (const line of job.logs({ follow: true, signal: controller.signal })) {
          assert.equal(line, "first");
          if (abortAtOnce) controller.abort();
          else setImmediate(() => controller.abort());
        }
      },
      { name: "AbortError" },
    );
  }
  await assert.rejects(all(job.logs({ signal: AbortSignal.abort() })), { name: "AbortError" });
  await until(() => descriptors() <= before);
  assert.equal((await job.read()).verdict, "running");
  await job.cancel();
});

test("logs: none kept, or no such job", async () => {
  const job = await start("true", { log: "/dev/null" });
  await job.wait();
  await assert.rejects(all(job.logs()), jobshim.JobshimError);
  const gone = Object.assign(Object.create(jobshim.Job.prototype), { file: inFolder("gone.json") });
  await assert.rejects(all(gone.logs()), jobshim.JobNotFoundError);
});

test("events: from the present state to the end", async (t) => {
  if (lacksEvents(t)) return;
  const go = inFolder("go-end");
  const script = `while ! test -e ${go}; do sleep 0.01; done; exit 3`;
  const job = await start("sh", ["-c", script]);
  const seen = [];
  for await (const event of job.events()) {
    seen.push(event);
    if (event.event === "started") await (await start("touch", [go])).wait();
  }
  assert.deepEqual(
    seen.map((event) => event.event),
    ["started", "ended"],
  );
  for (const event of seen) {
    assert.equal(event.schema, 1);
    assert.equal(event.id, job.id);
    assert.equal(event.file, job.file);
    assert.equal(typeof event.cursor, "string");
    assert.ok(!Number.isNaN(Date.parse(event.time)));
  }
  assert.equal(seen[1].job.verdict.state, "failed");
  assert.equal(seen[1].job.job.jobshim.exit.code, 3);
  assert.deepEqual(
    (await all(job.events())).map((event) => event.event),
    ["ended"],
  );
});

test("events: signal ends the iteration", async (t) => {
  if (lacksEvents(t)) return;
  const job = await start("sleep", ["60"]);
  const controller = new AbortController();
  await assert.rejects(
    async () => {
      for await (const event of job.events({ signal: controller.signal })) {
        assert.equal(event.event, "started");
        controller.abort();
      }
    },
    { name: "AbortError" },
  );
  await job.cancel();
});
