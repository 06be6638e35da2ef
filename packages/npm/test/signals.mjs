// node signals.mjs COMMAND...: runs COMMAND, which is jobshim in one way or another, and prints the
// signals that reach the worker, and how the command ends by one. (A shell could not test this: what
// it runs in the background ignores SIGINT and SIGQUIT.)
import { spawn } from "node:child_process";
import { once } from "node:events";

const [command, ...args] = process.argv.slice(2);
const caught = ["INT", "HUP", "QUIT", "USR1", "USR2"];

async function start(script) {
  const worker = ["--job", `${process.pid}.json`, "--", "sh", "-c", script];
  const options = { stdio: ["ignore", "pipe", "inherit"], detached: true };
  const child = spawn(command, [...args, ...worker], options);
  const lines = child.stdout.setEncoding("utf8");
  await once(lines, "data"); // the worker is ready
  return { child, lines };
}

const { child, lines } = await start(
  caught.map((signal) => `trap 'echo ${signal}' ${signal}; `).join("") +
    "trap 'echo TERM; exit 9' TERM; echo ready; while :; do sleep 0.02; done",
);
const arrived = [];
for (const signal of caught) {
  child.kill(`SIG${signal}`);
  arrived.push(...String(await once(lines, "data")).trim().split("\n"));
}
child.kill("SIGTERM");
for await (const line of lines) arrived.push(line.trim());
const code = child.exitCode ?? (await once(child, "exit"))[0];
console.log([...arrived, code].join(" "));

const ends = [];
for (const signal of ["SIGTERM", "SIGINT", "SIGKILL", "SIGPIPE"]) {
  const { child } = await start(`echo ready; kill -${signal.slice(3)} $$; sleep 60`);
  ends.push((await once(child, "exit"))[1]);
}
console.log(ends.join(" "));
