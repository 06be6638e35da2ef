// Puts jobshim in front of the background workers of an unmodified codex-companion plugin:
//
//     NODE_OPTIONS=--import=/path/to/preload.mjs
//
// JOBSHIM names the binary, else it is looked for in PATH; JOBSHIM_OFF=1 turns all this off. Of
// whatever a Node program spawns, only `node .../codex-companion.mjs task-worker ... --job-id ID` is
// rewritten. Nothing else is changed, and nothing at all if no jobshim is found: a preload that fails
// would take every Node program with it that inherits NODE_OPTIONS.

import childProcess from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import path from "node:path";

const isExecutable = (file) => {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
};

function findJobshim(env) {
  if (env.JOBSHIM) return isExecutable(env.JOBSHIM) ? env.JOBSHIM : null;
  const found = (env.PATH ?? "")
    .split(path.delimiter)
    // An empty or relative entry means the working directory, which is a repository that anybody may
    // have written.
    .filter(path.isAbsolute)
    .map((directory) => path.resolve(directory, "jobshim"))
    .find(isExecutable);
  return found ?? null;
}

function valueAfter(args, name) {
  const at = args.indexOf(name);
  return at >= 0 ? args[at + 1] : undefined;
}

// The state directory as the plugin computes it: "SLUG-HASH" below its state root.
function stateDirectory(cwd, env, spawnSync) {
  const git = spawnSync("git", ["rev-parse", "--show-toplevel"], { cwd, env, encoding: "utf8" });
  const root = git.status === 0 ? git.stdout.trim() : cwd;
  let real = root;
  try {
    real = fs.realpathSync.native(root);
  } catch {
    // Then the plugin takes it as it is.
  }
  const name = path.basename(root) || "workspace";
  const slug = name.replace(/[^a-zA-Z0-9._-]+/g, "-").replace(/^-+|-+$/g, "") || "workspace";
  const hash = createHash("sha256").update(real).digest("hex").slice(0, 16);
  const data = env.CLAUDE_PLUGIN_DATA;
  const states = data ? path.join(data, "state") : path.join(os.tmpdir(), "codex-companion");
  return path.join(states, `${slug}-${hash}`);
}

const original = childProcess.spawn;
const { spawnSync } = childProcess;

// [command, args] with jobshim in front; null to leave the spawn alone.
function wrapped(command, args, options) {
  if (process.env.JOBSHIM_OFF === "1" || process.platform === "win32" || !Array.isArray(args)) return null;
  if (path.basename(String(args[0])) !== "codex-companion.mjs" || args[1] !== "task-worker") return null;
  const id = valueAfter(args, "--job-id");
  const cwd = valueAfter(args, "--cwd") ?? options?.cwd ?? process.cwd();
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id ?? "")) return null;
  const env = options?.env ?? process.env;
  const jobshim = findJobshim(env);
  if (!jobshim) return null;
  return [jobshim, ["--companion", stateDirectory(cwd, env, spawnSync), "--id", id, "--", command, ...args]];
}

childProcess.spawn = function spawn(command, args, options) {
  let instead = null;
  try {
    instead = wrapped(command, args, options);
  } catch {
    // The worker is started as it would be without us.
  }
  return instead ? original.call(this, ...instead, options) : original.apply(this, arguments);
};
syncBuiltinESMExports();
