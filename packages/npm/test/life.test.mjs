// The life of a job: it starts, runs, is looked at, and ends in every way that there is.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { folder, inFolder, isAlive, jobshim, library, start, until } from "./support.mjs";

const { cancelJob, listJobs, readJob, waitJob } = jobshim;

function sh(script, options) {
  return start("sh", ["-c", script], options);
}

test("a job runs, is read while it runs, and completes", async () => {
  const go = inFolder("go");
  const job = await sh(`while ! test -e ${go}; do sleep 0.01; done`, { title: "waits" });
  assert.match(job.id, /^job-/);
  assert.equal(job.title, "waits");
  assert.equal(existsSync(job.file), true);
  assert.equal(isAlive(job.pid), true);

  const running = await job.read();
  assert.equal(running.verdict, "running");
  assert.equal(running.status, "running");
  assert.equal(running.exitCode, null);
  assert.equal(running.reason, null);
  assert.equal(running.durationMs, null);
  assert.equal(running.pid, job.pid);
  assert.equal(running.report.job.jobshim.worker.pid, job.pid);

  writeFileSync(go, "");
  const ended = await job.wait();
  assert.equal(ended.verdict, "completed");
  assert.equal(ended.exitCode, 0);
  assert.equal(ended.signal, null);
  assert.equal(ended.pid, null);
  assert.equal(ended.timedOut, false);
  assert.equal(ended.isCanceled, false);
  assert.equal(typeof ended.durationMs, "number");
  assert.equal(ended.id, job.id);
});

test("the options reach jobshim", async () => {
  mkdirSync(inFolder("where"));
  const job = await sh("pwd; echo $GREETING; echo to stderr >&2", {
    job: inFolder("options.json"),
    id: "own-id",
    title: "-a title-",
    log: inFolder("options.txt"),
    cwd: inFolder("where"),
    env: { PATH: process.env.PATH, GREETING: "hello" },
    timeout: 60_000.5,
    killSignal: "SIGINT",
    forceKillAfterDelay: false,
    onShimDeath: "keep",
    expectRecord: true,
  });
  const ended = await job.wait({ reject: false });
  assert.equal(ended.id, "own-id");
  assert.equal(ended.file, inFolder("options.json"));
  assert.equal(ended.title, "-a title-");
  assert.equal(ended.reason, "no-result");
  assert.equal(ended.exitCode, 0);
  assert.equal(ended.report.job.jobshim.onShimDeath, "keep");
  const log = readFileSync(inFolder("options.txt"), "utf8");
  assert.equal(log, `${inFolder("where")}\nhello\nto stderr\n`);
});

test("paths are relative to this process, not to cwd; and may be URLs", async () => {
  const before = process.cwd();
  process.chdir(folder);
  try {
    const job = await start("true", { job: "relative.json", cwd: pathToFileURL("/") });
    assert.equal(job.file, inFolder("relative.json"));
    assert.equal((await job.wait()).report.job.cwd, "/");
  } finally {
    process.chdir(before);
  }
  const job = await start("true", { job: pathToFileURL(inFolder("url.json")) });
  assert.equal(job.file, inFolder("url.json"));
  await job.wait();
});

test("without `job`, the record is where the job's own environment says", async () => {
  const state = inFolder("other-state");
  const job = await start("true", { env: { PATH: process.env.PATH, XDG_STATE_HOME: state } });
  assert.equal(job.file, `${state}/jobshim/jobs/${job.id}.json`);
  assert.equal((await job.wait()).verdict, "completed");
});

test("arguments that look like options are the command's", async () => {
  const job = await start("printf", ["%s\n", "--id", "--", "-x", "", "a b"]);
  await job.wait();
  const lines = [];
  for await (const line of job.logs()) lines.push(line);
  assert.deepEqual(lines, ["--id", "--", "-x", "", "a b"]);
});

test("an exit code: JobFailedError, with the report", async () => {
  const job = await sh("exit 7");
  await assert.rejects(job.wait(), (error) => {
    assert.ok(error instanceof jobshim.JobFailedError);
    assert.ok(error instanceof jobshim.JobError);
    assert.equal(error.name, "JobFailedError");
    assert.equal(error.code, "ERR_JOB_FAILED");
    assert.equal(error.message, `${job.id}: Exited with status 7.`);
    assert.equal(error.report.job.jobshim.exit.code, 7);
    assert.equal(error.results[0].exitCode, 7);
    return true;
  });
  const ended = await job.wait({ reject: false });
  assert.equal(ended.exitCode, 7);
  assert.equal(ended.reason, "exit-code");
});

test("a signal: the exit code stays null", async () => {
  const job = await sh("kill -KILL $$");
  const ended = await job.wait({ reject: false });
  assert.equal(ended.exitCode, null);
  assert.equal(ended.signal, "SIGKILL");
  assert.equal(ended.reason, "signal");
  assert.equal(ended.timedOut, false);
});

test("a timeout, with another signal than SIGTERM", async () => {
  const job = await sh("trap 'exit 3' INT; while :; do sleep 0.01; done", {
    timeout: 100,
    killSignal: "SIGINT",
  });
  const ended = await job.wait({ reject: false });
  assert.equal(ended.timedOut, true);
  assert.equal(ended.verdict, "failed");
  assert.equal(ended.exitCode, 3);
});

test("a timeout, and SIGKILL after forceKillAfterDelay", async () => {
  const job = await sh("trap '' TERM; while :; do sleep 0.01; done", {
    timeout: 100,
    forceKillAfterDelay: 50,
  });
  const ended = await job.wait({ reject: false });
  assert.equal(ended.timedOut, true);
  assert.equal(ended.signal, "SIGKILL");
});

test("the shim is killed: nobody saw the end, and nothing is invented", async () => {
  const job = await sh("sleep 60");
  const { shim } = (await job.read()).report.job.jobshim;
  process.kill(shim.pid, "SIGKILL");
  const ended = await job.wait({ reject: false });
  assert.equal(ended.verdict, "failed");
  assert.equal(ended.reason, "shim-lost");
  assert.equal(ended.exitCode, null);
  assert.equal(ended.signal, null);
  await assert.rejects(job.wait(), jobshim.JobFailedError);
});

test("settle: false looks and writes nothing", async () => {
  const job = await sh("sleep 60");
  const { shim } = (await job.read()).report.job.jobshim;
  process.kill(shim.pid, "SIGKILL");
  await until(() => !isAlive(job.pid));
  const lost = await until(async () => {
    const seen = await job.read({ settle: false });
    return seen.verdict === "lost" && seen;
  });
  assert.equal(lost.status, "running");
  assert.equal(JSON.parse(readFileSync(job.file, "utf8")).status, "running");
  assert.equal((await job.read()).status, "failed");
});

test("cancel: JobCancelledError, reason and signal in the record", async () => {
  const job = await sh("trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done");
  for await (const line of job.logs({ follow: true })) if (line === "ready") break;
  const ended = await job.cancel({ reason: "wrong branch", signal: "SIGUSR1", killAfter: 30_000 });
  assert.equal(ended.isCanceled, true);
  assert.equal(ended.verdict, "cancelled");
  assert.equal(ended.exitCode, 4);
  assert.equal(ended.report.job.jobshim.cancel.reason, "wrong branch");
  await assert.rejects(job.wait(), (error) => {
    assert.ok(error instanceof jobshim.JobCancelledError);
    assert.equal(error.code, "ERR_JOB_CANCELLED");
    return true;
  });
});

test("cancel leaves alone what had already ended", async () => {
  const job = await start("true");
  await job.wait();
  const ended = await cancelJob(job);
  assert.equal(ended.isCanceled, false);
  assert.equal(ended.verdict, "completed");
});

test("cancel gives up waiting; its request stays", async () => {
  const job = await sh("trap '' TERM; echo ready; while :; do sleep 0.01; done");
  for await (const line of job.logs({ follow: true })) if (line === "ready") break;
  await assert.rejects(job.cancel({ killAfter: false, timeout: 100 }), (error) => {
    assert.ok(error instanceof jobshim.WaitTimeoutError);
    assert.equal(error.report.id, job.id);
    return true;
  });
  assert.equal((await job.cancel({ killAfter: 50 })).signal, "SIGKILL");
});

test("wait gives up: WaitTimeoutError, and the job goes on", async () => {
  const job = await sh("sleep 60");
  await assert.rejects(job.wait({ timeout: 100 }), (error) => {
    assert.ok(error instanceof jobshim.WaitTimeoutError);
    assert.equal(error.code, "ERR_WAIT_TIMEOUT");
    assert.equal(error.report.verdict.state, "running");
    return true;
  });
  assert.equal((await job.read()).verdict, "running");
  await job.cancel();
});

test("no such job: JobNotFoundError", async () => {
  const checks = [
    () => readJob("no-such-job"),
    () => waitJob(inFolder("none.json")),
    () => waitJob(["no-such-job"], { reject: false }),
    () => cancelJob("no-such-job"),
  ];
  for (const check of checks)
    await assert.rejects(check, (error) => {
      assert.ok(error instanceof jobshim.JobNotFoundError);
      assert.equal(error.code, "ERR_JOB_NOT_FOUND");
      assert.equal(error.report, null);
      return true;
    });
});

test("what cannot be known is unknown, and cannot be cancelled", async () => {
  const file = inFolder("foreign.json");
  writeFileSync(file, '{"status":"running"}');
  const seen = await readJob({ file });
  assert.equal(seen.verdict, "unknown");
  assert.equal(seen.exitCode, null);
  await assert.rejects(cancelJob(file), (error) => {
    assert.ok(error instanceof jobshim.JobUnknownError);
    assert.equal(error.report.file, file);
    return true;
  });
  await assert.rejects(waitJob(file, { timeout: 50 }), (error) => {
    assert.ok(error instanceof jobshim.WaitTimeoutError);
    assert.equal(error.report.verdict.state, "unknown");
    return true;
  });
  writeFileSync(file, "[1");
  const torn = await readJob(file);
  assert.equal(torn.status, null);
  assert.equal(torn.title, null);
  assert.equal(torn.verdict, "unknown");
});

test("what jobshim refuses: JobshimError, with its words", async () => {
  const plain = inFolder("plain");
  writeFileSync(plain, "not executable");
  const refused = [
    [127, /nonexistent-command: not found/, "nonexistent-command", [], {}],
    [126, /plain/, plain, [], {}],
    [125, /no-such-directory/, "true", [], { job: inFolder("no-such-directory/job.json") }],
    [125, /id/i, "true", [], { id: "not an id" }],
    [null, /working directory .*nowhere does not exist/, "true", [], { cwd: inFolder("nowhere") }],
  ];
  for (const [exitCode, message, ...args] of refused)
    await assert.rejects(start(...args), (error) => {
      assert.ok(error instanceof jobshim.JobshimError, String(error));
      assert.equal(error.code, "ERR_JOBSHIM");
      assert.equal(error.exitCode, exitCode);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /^jobshim: /);
      return true;
    });
});

test("a job file belongs to one run at a time", async () => {
  const file = inFolder("busy.json");
  const job = await start("sleep", ["60"], { job: file });
  await assert.rejects(start("true", { job: file }), jobshim.JobshimError);
  await job.cancel();
  assert.equal((await (await start("true", { job: file })).wait()).verdict, "completed");
});

test("options of the wrong kind are refused before anything starts", async () => {
  const before = (await listJobs()).length;
  const wrong = [
    () => start("true", { timeout: "5s" }),
    () => start("true", { timeout: -1 }),
    () => start("true", { forceKillAfterDelay: NaN }),
    () => waitJob("x", { timeout: Infinity }),
    () => waitJob(undefined),
    () => waitJob([{}]),
    () => waitJob([], { any: true }),
  ];
  for (const each of wrong) await assert.rejects(each, TypeError);
  assert.equal((await listJobs()).length, before);
});

test("several jobs: all of them, in the order asked for", async () => {
  const slow = await sh("sleep 0.3");
  const failed = await sh("exit 2");
  const quick = await start("true");
  const results = await waitJob([slow, failed.id, quick.file, slow], { reject: false });
  assert.deepEqual(
    results.map((each) => each.id),
    [slow.id, failed.id, quick.id, slow.id],
  );
  await assert.rejects(waitJob([slow, failed, quick]), (error) => {
    assert.ok(error instanceof jobshim.JobFailedError);
    assert.equal(error.report.id, failed.id);
    assert.deepEqual(
      error.results.map((each) => each.exitCode),
      [0, 2, 0],
    );
    return true;
  });
  assert.deepEqual(await waitJob([]), []);
});

test("several jobs: the first that ends", async () => {
  const slow = await sh("sleep 60");
  const quick = await sh("exit 9");
  const first = await waitJob([slow, quick], { any: true, reject: false });
  assert.equal(first.id, quick.id);
  assert.equal(first.exitCode, 9);
  await assert.rejects(waitJob([slow, quick], { any: true }), jobshim.JobFailedError);
  const other = await sh("sleep 60");
  const cancelled = await cancelJob([slow, other]);
  assert.deepEqual(
    cancelled.map((each) => [each.id, each.isCanceled]),
    [
      [slow.id, true],
      [other.id, true],
    ],
  );
});

test("a symbolic link to a job file is the job", async () => {
  const job = await start("true", { job: inFolder("target.json") });
  symlinkSync(job.file, inFolder("link.json"));
  assert.equal((await waitJob(inFolder("link.json"))).file, job.file);
});

test("list: by directory and by verdict", async () => {
  const dir = inFolder("listed");
  mkdirSync(dir);
  const one = await start("true", { job: `${dir}/one.json` });
  const two = await start("false", { job: `${dir}/two.json` });
  await waitJob([one, two], { reject: false });
  assert.deepEqual((await listJobs({ dir })).map((job) => job.id).sort(), ["one", "two"]);
  const failed = await listJobs({ dir: [dir], status: ["failed", "lost"] });
  assert.deepEqual(
    failed.map((job) => job.id),
    ["two"],
  );
});

test("the launcher may exit, and even be killed with its whole process group", async () => {
  const script = `
    require(${JSON.stringify(library)})
      .spawnJob("sh", ["-c", "sleep 0.3; exit 5"], { job: ${JSON.stringify(inFolder("outlives.json"))} })
      .then(() => { if (process.argv[1]) process.kill(-process.pid, "SIGKILL"); });`;
  execFileSync(process.execPath, ["-e", script]);
  const ended = await waitJob(inFolder("outlives.json"), { reject: false });
  assert.equal(ended.exitCode, 5);

  const launcher = spawn(process.execPath, ["-e", script, "kill"], { detached: true });
  assert.deepEqual(await once(launcher, "close"), [null, "SIGKILL"]);
  const again = await waitJob(inFolder("outlives.json"), { reject: false });
  assert.equal(again.exitCode, 5);
  assert.notEqual(again.report.job.startedAt, ended.report.job.startedAt);
});

test("^C while a job starts is not for the job", async () => {
  // jobshim waits for the reader of a FIFO: so it is still starting when the signal comes.
  const fifo = inFolder("fifo");
  execFileSync("mkfifo", [fifo]);
  const script = `
    process.on("SIGINT", () => {});
    require(${JSON.stringify(library)})
      .spawnJob("true", { job: ${JSON.stringify(inFolder("interrupted.json"))}, log: "${fifo}" })
      .then(() => process.exit(0));
    console.log("starting");`;
  const launcher = spawn(process.execPath, ["-e", script], { detached: true });
  await once(launcher.stdout, "data");
  process.kill(-launcher.pid, "SIGINT");
  const reader = spawn("cat", [fifo]);
  try {
    assert.deepEqual(await once(launcher, "close"), [0, null]);
  } finally {
    reader.kill();
  }
  assert.equal((await waitJob(inFolder("interrupted.json"))).verdict, "completed");
});

test("programs that are not ours, or die: JobshimError", () => {
  const script = `
    const { JobshimError, readJob } = require(${JSON.stringify(library)});
    readJob("x").catch((error) => {
      console.log(error instanceof JobshimError, error.exitCode, error.message);
    });`;
  const ends = [
    ["exit 1", "true 1 jobctl exited with 1\n"],
    ["kill -KILL $$", "true null jobctl died of SIGKILL\n"],
    ["echo 'jobctl: in words' >&2; exit 125", "true 125 in words\n"],
  ];
  for (const [program, expected] of ends) {
    writeFileSync(inFolder("jobctl"), `#!/bin/sh\n${program}\n`, { mode: 0o755 });
    const env = { ...process.env, JOBSHIM_BINARY_DIR: folder };
    assert.equal(String(execFileSync(process.execPath, ["-e", script], { env })), expected);
  }
});

test("import and require are the same", async () => {
  const imported = await import(pathToFileURL(library.replace(/cjs$/, "mjs")));
  assert.deepEqual(Object.keys(imported).sort(), Object.keys(jobshim).sort());
  for (const name of Object.keys(jobshim)) assert.equal(imported[name], jobshim[name]);
});
