const { spawnJob } = require("jobshim");

spawnJob("true", { job: "./api-cjs.json" })
  .then((job) => job.wait())
  .then((ended) => console.log(ended.exitCode === 0 ? "ok" : ended));
