// Puts jobshim in front of the work of a codex-companion plugin, or of one of its kin, which need not
// be changed for it:
//
//     node --import=file:///path/to/preload.mjs .../scripts/codex-companion.mjs task ...
//
// or the same in NODE_OPTIONS. What --import is given is a URL: a `#`, `%` or `?` of the path must be
// escaped in it.
//
// JOBSHIM names the binary, else it is ../bin/jobshim, else it is looked for in PATH. JOBSHIM_OFF=1
// turns all this off. If anything is missing or unexpected, the plugin runs as it would without us:
// a preload that fails would take with it every Node program that inherits NODE_OPTIONS. For the same
// reason it prints nothing, and programs that are none of the plugin's pay for these few lines only.

if (
  /\/scripts\/([^/]+-companion|stop-review-gate-hook)\.mjs$/.test(process.argv[1]) &&
  process.platform === "linux" &&
  process.env.JOBSHIM_OFF !== "1"
) {
  try {
    await (await import("./companion.mjs")).supervise(new URL(import.meta.url));
  } catch {
    // As without us.
  }
}
