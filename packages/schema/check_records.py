#!/usr/bin/python3
"""Validates what the programs wrote during the tests against the schemas beside this file.

usage: check_records.py DIRECTORY

DIRECTORY is what JOBSHIM_RECORDS_DIR was set to during the tests (integration/support/records.hpp).
The schemas let members be added. Here they are strict: in what only our programs write, a member
that the schema does not know is an error.

A record that a test wrote itself is left out. So is a job file that jobshim has never written. A
test that writes into job files, as their owner would, may put anything there but into `jobshim`: its
records need not have all members and may have others, and those that jobshim sets only if they are
missing may be of any type. So may those that jobshim leaves alone once the worker has written a
final status itself.

Exit status: 0 all is valid, 1 something is not, 77 nothing was checked: there are no records, or
this Python has no jsonschema.
"""

import collections
import copy
import functools
import json
import marshal
import os
import pathlib
import re
import sys

try:
    import jsonschema
except ImportError:
    print("test skipped: no python3-jsonschema")
    sys.exit(77)

RECORDS = "JobRecord", "AdoptedRecord", "AdoptedEnd"
FINAL = "completed", "failed", "cancelled"
# What a job file's owner may have set, and what its worker may, with a final status.
OWNERS = "id", "title", "command", "cwd", "logFile", "createdAt"
REPORTERS = "phase", "startedAt", "updatedAt", "completedAt", "errorMessage"
BASE64 = re.compile("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
RANDOM_NAMES = "jobshim-test-[0-9A-Za-z]{6}|job-[0-9a-z]{8}-[0-9a-z]{6}"
MOST_ERRORS = 20  # that are shown


def schemas():
    """The three as one, by the names of their types, and strict."""
    types = {}
    whole = {}
    for name in ("job", "report", "event"):
        text = (pathlib.Path(__file__).parent / f"{name}.schema.json").read_text()
        schema = json.loads(text)
        jsonschema.Draft7Validator.check_schema(schema)
        whole[schema.pop("$id")] = schema["title"]
        types.update(schema.pop("definitions"))
        types[schema["title"]] = schema
    text = json.dumps(types)
    for identity, title in whole.items():
        text = text.replace(f'"{identity}#', '"#').replace(
            f'"{identity}"', f'"#/definitions/{title}"'
        )
    types = json.loads(text)
    make_strict(types)
    record = types["JobRecord"]
    adopted = types["AdoptedRecord"] = copy.deepcopy(record)
    adopted["additionalProperties"] = True
    for key in OWNERS:
        adopted["properties"][key] = {}
    end = types["AdoptedEnd"] = copy.deepcopy(adopted)
    for key in REPORTERS:
        end["properties"][key] = {}
    # Of a job whose folder is gone, only the copy of its end is left.
    record["required"] = sorted(set(record["properties"]) - {"logFile", "title", "command", "cwd"})
    return types


def make_strict(schema):
    if isinstance(schema, list):
        for item in schema:
            make_strict(item)
    elif isinstance(schema, dict):
        for item in schema.values():
            make_strict(item)
        if schema.get("type") == "object":
            schema["additionalProperties"] = False


class Checker:
    """Validates each value whose like has not been validated yet.

    Its like: one with the same shape, if no number in it is smaller or larger than all before it in
    that place. A schema judges each value by itself, so such a one cannot be valid where this is not.
    """

    def __init__(self):
        definitions = schemas()
        self.validators = {
            name: jsonschema.Draft7Validator(
                {"$ref": f"#/definitions/{name}", "definitions": definitions}
            )
            for name in (*RECORDS, "JobReport", "DoctorFinding", "JobEvent")
        }
        self.seen = set()
        self.ranges = {}
        self.validated = 0
        self.counts = collections.Counter()
        self.errors = {}

    def check(self, name, value, where):
        self.counts[name] += 1
        self.has_new_extreme = False
        shape = (name, self.shape_of(value, name))
        if shape in self.seen and not self.has_new_extreme:
            return
        self.seen.add(shape)
        self.validated += 1
        for error in self.validators[name].iter_errors(value):
            path = "/".join(str(part) for part in error.absolute_path)
            self.complain(where, f"{name} /{path}: {reason_of(error)}")

    def complain(self, where, what):
        self.errors.setdefault((where[0], what), where[1])

    def shape_of(self, value, place):
        if isinstance(value, dict):
            return tuple(
                (key, self.shape_of(value[key], f"{place}/{key}")) for key in sorted(value)
            )
        if isinstance(value, list):
            return frozenset(self.shape_of(item, place + "/*") for item in value)
        if isinstance(value, str):
            return shape_of_text(value)
        if value is None or isinstance(value, bool):
            return value
        kind = type(value)
        least, most = self.ranges.get((place, kind), (value, value - 1))
        if not least <= value <= most:
            self.has_new_extreme = True
            self.ranges[place, kind] = min(least, value), max(most, value)
        return kind


@functools.lru_cache(maxsize=100_000)
def shape_of_text(text):
    """All that the schemas can tell of it: no word and no pattern but that of base64 and of absolute
    paths is longer than 36 characters, and it makes no difference which digit it is, or what a test
    or a job is called at random."""
    if len(text) <= 36:
        return re.sub("[0-9]", "0", re.sub(RANDOM_NAMES, "name", text))
    return text.startswith("/"), bool(BASE64.fullmatch(text)), len(text) <= 255


def reason_of(error):
    """Of an error in all of the alternatives, the one that is deepest in the value."""
    deepest = jsonschema.exceptions.best_match([error])
    if deepest is error or deepest is None:
        return error.message[:300]
    path = "/".join(str(part) for part in deepest.absolute_path)
    return f"/{path}: {deepest.message[:300]}"


def parsed(text):
    """Null if it is no JSON; the JSON of some parsers only is none here."""
    try:
        return json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def all_parsed(text):
    """Several values, one after the other, as `list --watch` and `events` print them."""
    decoder = json.JSONDecoder()
    text = text.strip()
    values = []
    at = 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        while at < len(text) and text[at].isspace():
            at += 1
    return values


def likeness_of(value, text):
    """The same for two texts with the same value."""
    return hash(text if value is None else marshal.dumps(value, 2))


class Test:
    """What one test program has kept, in the order in which it was written."""

    def __init__(self, checker, entries):
        self.checker = checker
        self.forgeries = set()
        self.checked = set()  # a list shows the same jobs again and again
        self.writes = any(entry["kind"] == "forgery" for entry in entries)
        for entry in entries:
            where = (entry["test"], entry["file"])
            if entry["kind"] == "forgery":
                self.forgeries.add(likeness_of(parsed(entry["text"]), entry["text"]))
            elif entry["kind"] == "record":
                self.check_record(parsed(entry["text"]), where, entry["text"])
            else:
                self.check_output(entry, where)

    def check_output(self, entry, where):
        try:
            values = all_parsed(entry["text"])
        except (ValueError, RecursionError) as error:
            # One that was killed, or could not write, may have written half of it.
            code = os.waitstatus_to_exitcode(entry["status"])
            if 0 <= code < 125:
                self.checker.complain(where, f"jobctl printed what is no JSON: {error}")
            return
        for value in values:
            for item in value if isinstance(value, list) else [value]:
                self.check_item(item, where)

    def check_item(self, item, where):
        is_event = isinstance(item, dict) and "event" in item
        report = item.get("job") if is_event else item
        if isinstance(report, dict) and report.get("job") is not None:
            self.check_record(report["job"], (where[0], report.get("file")))
            report["job"] = None
        is_finding = isinstance(item, dict) and "works" in item
        name = "JobEvent" if is_event else "DoctorFinding" if is_finding else "JobReport"
        self.checker.check(name, item, where)

    def check_record(self, record, where, text=""):
        counts = self.checker.counts
        likeness = likeness_of(record, text)
        if likeness in self.checked:
            counts[self.kind_of(record)] += 1
        elif likeness in self.forgeries:
            counts["made by a test"] += 1
        elif not isinstance(record, dict):
            counts["not readable"] += 1
        elif not isinstance(record.get("jobshim"), dict):
            counts["without a run"] += 1
        else:
            self.checker.check(self.kind_of(record), record, where)
            self.checked.add(likeness)

    def kind_of(self, record):
        if not self.writes:
            return "JobRecord"
        return "AdoptedEnd" if record.get("status") in FINAL else "AdoptedRecord"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_records.py DIRECTORY")
    checker = Checker()
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.jsonl")):
        with open(file, encoding="utf-8") as lines:
            Test(checker, [json.loads(line) for line in lines])
    counts = checker.counts
    records = sum(counts[name] for name in RECORDS)
    if records == 0:
        print("test skipped: no records in " + sys.argv[1])
        return 77
    for (test, what), file in list(checker.errors.items())[:MOST_ERRORS]:
        print(f"invalid: {what}\n    {file}, in: {test}")
    if len(checker.errors) > MOST_ERRORS:
        print(f"and {len(checker.errors) - MOST_ERRORS} more")
    print(
        f"schema: {records} records ({counts['JobRecord']} of jobshim alone), "
        f"{counts['JobReport']} reports, {counts['JobEvent']} events and {counts['DoctorFinding']} "
        f"findings checked, of {checker.validated} shapes, {len(checker.errors)} errors; "
        f"records left out: {counts['made by a test']} made by a test, "
        f"{counts['without a run']} without a run, {counts['not readable']} not readable"
    )
    return 1 if checker.errors else 0


if __name__ == "__main__":
    sys.exit(main())
