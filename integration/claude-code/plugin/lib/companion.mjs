// What preload.mjs does to a script of a codex-companion plugin:
//
//  - A command that works in the foreground becomes
//    `jobshim --best-effort --companion STATE_DIR -- node .../codex-companion.mjs ...`.
//  - The workers that a command starts in the background, and the review that the stop gate waits for,
//    are started by jobshim.

import childProcess from "node:child_process";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const { spawn, spawnSync } = childProcess;

export async function supervise(preload) {
  const me = fs.realpathSync(fileURLToPath(preload));
  if (!leaveOut(me)) return;
  // The broker would inherit it, and hand it on to the jobs that come after this one. That is why the
  // worker below jobshim has the preload too.
  delete process.env.JOBSHIM_JOB_FILE;
  const withPreload = (words) => [`--import=${preload.href}`, ...words];

  const [, script, ...words] = process.argv;
  const isGate = !isCompanion(script);
  if ((!isGate && !isWork(words)) || isUnderShim()) return;
  const plugin = await openPlugin(path.dirname(fs.realpathSync(script)));
  if (!plugin) return;

  // [program, arguments] with jobshim in front of a command; null if that cannot be.
  const inFront = (state, options, command) => {
    const jobshim = state && findJobshim(path.join(path.dirname(me), "../bin/jobshim"));
    if (!jobshim) return null;
    // It does not take a directory for a plugin's that holds neither jobs nor their index.
    fs.mkdirSync(path.join(state, "jobs"), { recursive: true, mode: 0o700 });
    return [jobshim, [...options, "--", ...command]];
  };
  const foreground = (file, given, cwd, command) => {
    const state = stateOfForeground(plugin, file, given, cwd);
    return inFront(state, ["--best-effort", "--companion", state], command);
  };

  if (isGate) {
    instead("spawnSync", (node, args, options) => {
      const [file, ...given] = args;
      return isCompanion(file)
        ? foreground(file, given, options?.cwd, [node, ...withPreload(args)])
        : null;
    });
    return;
  }
  const itself = [process.execPath, ...withPreload([...process.execArgv, script, ...words])];
  const shim = foreground(script, words, "", itself);
  if (shim) {
    await become(...shim);
    return;
  }
  instead("spawn", (node, args, options) => {
    if (!isCompanion(args[0]) || args[1] !== "task-worker") return null;
    const id = valueAfter(args, "--job-id");
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id ?? "")) return null;
    const state = plugin.resolveStateDir(path.resolve(options?.cwd ?? "", valueAfter(args, "--cwd") ?? ""));
    return inFront(state, ["--companion", state, "--id", id], [node, ...withPreload(args)]);
  });
}

// ---- which commands

const isCompanion = (file) => /\/scripts\/[^/]+-companion\.mjs$/.test(file);

const isWork = ([command]) => ["task", "review", "adversarial-review"].includes(command);

function valueAfter(args, name) {
  const at = args.indexOf(name);
  return at >= 0 ? args[at + 1] : undefined;
}

// The two options that matter here, read as the plugin's parseArgs() does.
function readOptions(words) {
  const withValue = ["model", "m", "effort", "prompt-file", "base", "scope"];
  const options = {};
  for (let i = 0; i < words.length && words[i] !== "--"; ++i) {
    const word = words[i];
    if (!word.startsWith("-")) continue;
    const [name, value] = word.startsWith("--") ? word.slice(2).split("=") : [word.slice(1)];
    if (name === "background") options.background = value !== "false";
    else if (name === "cwd" || name === "C") options.cwd = value ?? words[++i];
    else if (withValue.includes(name) && value === undefined) ++i;
  }
  return options;
}

// The state directory for a command that does its work in the foreground; null for all others.
function stateOfForeground(plugin, script, words, cwd = "") {
  if (!isWork(words)) return null;
  const [command, ...rest] = words;
  // A single word is a whole command line: a slash command's "$ARGUMENTS".
  const options = readOptions(rest.length === 1 ? plugin.splitRawArgumentString(rest[0]) : rest);
  // codex-companion's reviews ignore --background; those of its kin may start a worker.
  const canReturn = command === "task" || path.basename(script) !== "codex-companion.mjs";
  if (options.background && canReturn) return null;
  return plugin.resolveStateDir(path.resolve(cwd, options.cwd ?? ""));
}

// What is needed of the plugin's own code; null if it does not keep its jobs as codex-companion does.
async function openPlugin(scripts) {
  const file = (name) => path.join(scripts, "lib", name);
  if (!fs.existsSync(file("tracked-jobs.mjs"))) return null;
  const [args, state] = await Promise.all(
    ["args.mjs", "state.mjs"].map((name) => import(pathToFileURL(file(name)).href)),
  );
  const { splitRawArgumentString } = args;
  const { resolveStateDir } = state;
  return splitRawArgumentString && resolveStateDir ? { splitRawArgumentString, resolveStateDir } : null;
}

// ---- this process

// Takes the preload out of what the processes that we start are given. True if it was there: if not,
// it came in a way unknown to us, and would come again.
function leaveOut(me) {
  const here = pathToFileURL(`${process.cwd()}/`);
  const isMe = (specifier) => {
    try {
      return fs.realpathSync(fileURLToPath(new URL(specifier, here))) === me;
    } catch {
      return false;
    }
  };
  const isKept = (words) => {
    const kept = words.map(() => true);
    words.forEach((word, i) => {
      if (word.startsWith("--import=") && isMe(word.slice("--import=".length))) kept[i] = false;
      if (word === "--import" && isMe(words[i + 1])) kept[i] = kept[i + 1] = false;
    });
    return kept;
  };
  const { env, execArgv } = process;
  const ofCommand = isKept(execArgv);
  const ofVariable = splitNodeOptions(env.NODE_OPTIONS ?? "");
  const keptOfVariable = isKept(ofVariable.map(({ word }) => word));
  execArgv.splice(0, Infinity, ...execArgv.filter((_, i) => ofCommand[i]));
  if (keptOfVariable.includes(false)) {
    const rest = ofVariable.filter((_, i) => keptOfVariable[i]).map(({ raw }) => raw);
    if (rest.length > 0) env.NODE_OPTIONS = rest.join(" ");
    else delete env.NODE_OPTIONS;
  }
  return ofCommand.includes(false) || keptOfVariable.includes(false);
}

// As Node splits it: at spaces outside of double quotes, in which a backslash escapes what follows.
function splitNodeOptions(text) {
  return (text.match(/(?:"(?:\\.|[^"\\])*"|[^ "])+/gs) ?? []).map((raw) => ({
    raw,
    word: raw.replace(/"((?:\\.|[^"\\])*)"/gs, (_, inside) => inside.replace(/\\(.)/gs, "$1")),
  }));
}

// Somebody put jobshim in front himself.
function isUnderShim() {
  const parent = fs.readFileSync(`/proc/${process.ppid}/cmdline`, "utf8").split("\0");
  const options = parent.slice(1, parent.indexOf("--"));
  return path.basename(parent[0]) === "jobshim" && options.some((word) => word.startsWith("--companion"));
}

function instead(name, rewrite) {
  const original = childProcess[name];
  childProcess[name] = function (command, args, options) {
    let words = null;
    try {
      words = rewrite(command, args, options);
    } catch {
      // Started as it would be without us.
    }
    return words ? original.call(this, ...words, options) : original.apply(this, arguments);
  };
  syncBuiltinESMExports();
}

// ---- jobshim

function findJobshim(ours) {
  const { JOBSHIM, PATH = "" } = process.env;
  if (JOBSHIM) return canRun(path.resolve(JOBSHIM)) ? path.resolve(JOBSHIM) : null;
  // An empty or relative entry means the working directory, which is a repository that anybody may
  // have written.
  const inPath = PATH.split(path.delimiter).filter(path.isAbsolute);
  const file = [ours, ...inPath.map((directory) => path.join(directory, "jobshim"))].find(isExecutable);
  return file && canRun(file) ? file : null;
}

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

// A process.execve() that fails aborts Node, and the C library has a shell read a program that is in
// no format of this machine: so look at the format first, then try it.
function canRun(file) {
  if (!isExecutable(file)) return false;
  const [its, ours] = [file, "/proc/self/exe"].map(readStart);
  // Class, byte order and machine of an ELF file.
  const sameMachine = [0, 1, 2, 3, 4, 5, 18, 19].every((at) => its[at] === ours[at]);
  if (!sameMachine && its.toString("latin1", 0, 2) !== "#!") return false;
  return spawnSync(file, ["--version"], { stdio: "ignore", timeout: 5000 }).status === 0;
}

function readStart(file) {
  const start = Buffer.alloc(20);
  const descriptor = fs.openSync(file, "r");
  fs.readSync(descriptor, start);
  fs.closeSync(descriptor);
  return start;
}

// Returns only if jobshim could not be started.
async function become(jobshim, args) {
  if (process.execve) process.execve(jobshim, [jobshim, ...args], process.env);
  else await runInstead(jobshim, args);
}

// Where Node cannot exec: jobshim as a child, and this process its shadow. It has a session of its own:
// what is sent to our group reaches it once, through us, and a KILL that follows finds us alone, so that
// it records the end all the same.
function runInstead(jobshim, args) {
  const forwarded = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT"];
  return new Promise((giveUp) => {
    let child = null;
    const forward = (signal) => child.kill(signal);
    const stop = (signal) => {
      child.kill(signal);
      process.kill(process.pid, "SIGSTOP");
    };
    const letGo = () => {
      for (const signal of forwarded) process.off(signal, forward);
      process.off("SIGTSTP", stop);
    };
    // Before it starts, so that no signal is lost: they are handled once this function has returned.
    for (const signal of forwarded) process.on(signal, forward);
    process.on("SIGTSTP", stop);
    try {
      child = spawn(jobshim, args, { stdio: "inherit", detached: true });
    } catch {
      letGo();
      giveUp();
      return;
    }
    child.on("error", () => {
      if (child.pid !== undefined) return;
      letGo();
      giveUp();
    });
    child.on("exit", (status, signal) => {
      letGo();
      if (!signal) process.exit(status);
      process.kill(process.pid, signal);
      // Node ignores some. The others need a moment.
      setTimeout(() => process.exit(128 + os.constants.signals[signal]), 100);
    });
  });
}
