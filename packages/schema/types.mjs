// Writes the TypeScript types of the schemas in the directory that is given to stdout. The library
// is taken from the working directory: see types.sh.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const { compile } = createRequire(path.resolve("package.json"))("json-schema-to-typescript");

const read = (name) =>
  JSON.parse(readFileSync(path.join(process.argv[2], `${name}.schema.json`), "utf8"));

// The three as one, so that each type is there once.
const [job, report, event] = ["job", "report", "event"].map(read);
const definitions = { ...event.definitions, ...report.definitions, ...job.definitions };
for (const schema of [job, report, event]) {
  delete schema.definitions;
  delete schema.$id;
}
definitions[report.title] = report;
definitions[job.title] = job;
const whole = JSON.stringify({ ...event, definitions })
  .replaceAll("urn:jobshim:schema:1:job", `#/definitions/${job.title}`)
  .replaceAll("urn:jobshim:schema:1:report#", "#");

const types = await compile(JSON.parse(whole), event.title, {
  additionalProperties: false, // where the schema does not say
  bannerComment: "// Made by packages/schema/types.sh from the schemas beside it: do not edit.",
  unreachableDefinitions: true,
});
process.stdout.write(
  types
    .replace(/\n \*\n \* This interface was referenced by [^\n]*\n \* via [^\n]*\n/g, "\n")
    .replace(/\/\*\*\n \* This interface was referenced by [^\n]*\n \* via [^\n]*\n \*\/\n/g, ""),
);
