"""Holds the records of the virtual machine against what must stand in them: check.py RECORDS."""

import json
import re
import sys
from dataclasses import dataclass, field


@dataclass
class Expected:
    reason: str
    certainty: str
    code: int | None = None
    signal: int | None = None
    # Whom the kernel's own log names as killed: "worker" (its pid), "other", or "nobody".
    victim: str = "nobody"
    # Regular expressions, each found in some line of the evidence; WORKER is its pid.
    evidence: list[str] = field(default_factory=list)
    # The evidence has none of these.
    silent: list[str] = field(default_factory=list)
    sentence: str = ""


OOM = r"(?i)oom|out-of-memory|victim"
AT_WORK = "the OOM killer was active in the shim's cgroup when the shim was lost"
WORKER = r"pid WORKER, the worker \(/dev/kmsg\)"


def rose(group: str) -> str:
    return rf"oom_kill \d+ -> \d+ in {group}( |$)"


def hit(group: str, sentence: str = "^Killed by the out-of-memory killer") -> Expected:
    """The worker was killed, and the kernel's log proves it."""
    return Expected("oom-kill", "observed", None, 9, "worker", [rose(group), WORKER], sentence=sentence)


CASES = {
    "child-then-killed": Expected(
        "signal", "observed", None, 9, "other", [rose("/child-then-killed"), r"\(dd\).*not the worker"]
    ),
    "neighbour-then-killed": Expected(
        "signal", "observed", None, 9, "other", [rose("/neighbour-then-killed"), r"\(dd\).*not the worker"]
    ),
    "worker": hit("/worker", r"group /worker, limit 32 MiB\)\.$"),
    "child-4": Expected("exit-code", "observed", 4, None, "other", [rose("/child-4"), r"\(dd\)"]),
    "child-0": Expected("success", "observed", 0, None, "other", [rose("/child-0"), r"\(dd\)"]),
    "killed": Expected("signal", "observed", None, 9, silent=[OOM]),
    "outer-limit": hit("/outer-limit/job"),
    "group-all": Expected("shim-lost", "inferred", None, None, "worker", [rose("/group-all"), WORKER, AT_WORK]),
    "group-gone": Expected("shim-lost", "inferred", None, None, "worker", [WORKER, AT_WORK]),
    "shim-killed": Expected("shim-lost", "inferred", silent=[OOM]),
    # Of a whole group that is hit the log names the group of the first victim alone.
    "group-beside": Expected("oom-kill", "observed", None, 9, "worker", [WORKER]),
    "group-below": Expected("oom-kill", "observed", None, 9, "worker", [WORKER]),
    "no-log-worker": Expected("oom-kill", "inferred", None, 9, "worker", [rose("/no-log-worker")], sentence="another process"),
    "no-log-child-4": Expected("exit-code", "observed", 4, None, "other", [rose("/no-log-child-4")]),
    "no-log-neighbour": Expected(
        "oom-kill", "inferred", None, 9, "other", [rose("/no-log-neighbour")], sentence="another process"
    ),
    "no-log-group-all": Expected(
        "shim-lost", "inferred", None, None, "worker", [rose("/no-log-group-all"), AT_WORK]
    ),
    "swap": hit("/swap"),
    "global-swap": hit("/global-swap"),
    "global": hit("/global"),
    "global-child-4": Expected("exit-code", "observed", 4, None, "other", [rose("/global-child-4")]),
    "global-elsewhere": Expected("signal", "observed", None, 9, "other", silent=[OOM]),
    "global-root": Expected("oom-kill", "observed", None, 9, "worker", [WORKER]),
}


@dataclass
class Case:
    shim_status: int
    killed: list[int]  # by the out-of-memory killer, as the kernel says
    result: dict


def read_cases(path: str) -> tuple[dict[str, Case], bool]:
    with open(path, encoding="utf-8", errors="replace", newline=None) as file:
        text = file.read()
    cases = {}
    for part in re.findall(r"^#case (.*?)^#end$", text, re.M | re.S):
        lines = part.splitlines()
        # What cannot be read is a case that is missing.
        try:
            result = json.loads("\n".join(line for line in lines[1:] if not line.startswith("#")))
        except ValueError as error:
            print(f"{lines[0]}: {error}: {part}")
            continue
        cases[lines[0]] = Case(
            shim_status=next(int(line.split()[1]) for line in lines if line.startswith("#shim ")),
            killed=[int(line.split()[1]) for line in lines if line.startswith("#killed ")],
            result=result,
        )
    return cases, "#complete" in text


def differences(case: Case, expected: Expected):
    job = case.result["job"]
    end = job["jobshim"]["exit"]
    worker = job["jobshim"]["worker"]["pid"]
    evidence = end["evidence"]

    # First that what was to happen did happen: otherwise the record says nothing about us.
    victim = "nobody" if not case.killed else "worker" if worker in case.killed else "other"
    if victim != expected.victim:
        yield f"the kernel killed {victim} ({case.killed}), not {expected.victim}: the case is wrong"

    for key in ("reason", "certainty", "code", "signal"):
        if end[key] != getattr(expected, key):
            yield f"{key} is {end[key]}, not {getattr(expected, key)}"
    status = "completed" if expected.reason == "success" else "failed"
    if job["status"] != status or case.result["status"] != status:
        yield f"status is {job['status']} and {case.result['status']}, not {status}"
    # The shim ends as its worker did; one that was lost was killed itself.
    shim_status = expected.code if expected.code is not None else 128 + 9
    if case.shim_status != shim_status:
        yield f"the shim ended with {case.shim_status}, not {shim_status}"
    for pattern in expected.evidence:
        pattern = pattern.replace("WORKER", str(worker))
        if not any(re.search(pattern, line) for line in evidence):
            yield f"no evidence of {pattern!r}"
    sentence = job["errorMessage"] or ""
    for pattern in expected.silent:
        for line in (*evidence, sentence):
            if re.search(pattern, line):
                yield f"says {line!r}"
    if not re.search(expected.sentence, sentence):
        yield f"the sentence does not say {expected.sentence!r}"


def main() -> int:
    try:
        cases, complete = read_cases(sys.argv[1])
    except OSError as error:
        print(error)
        return 1
    wrong = 0
    for name, expected in CASES.items():
        if name not in cases:
            print(f"MISSING  {name}")
            wrong += 1
            continue
        job = cases[name].result["job"]
        end = job["jobshim"]["exit"]
        found = list(differences(cases[name], expected))
        wrong += bool(found)
        print(f"{'WRONG' if found else 'ok':7}  {name} -> {end['reason']} ({end['certainty']}): {job['errorMessage']}")
        for line in end["evidence"]:
            print(f"             evidence: {line}")
        for line in found:
            print(f"         WRONG: {line}")
    for name in cases.keys() - CASES.keys():
        print(f"WRONG    {name}: nothing is known of this case")
        wrong += 1
    if not complete:
        print("WRONG    the machine did not come to its end")
    print(f"{len(CASES) - wrong} passed, {wrong} failed")
    return 1 if wrong or not complete else 0


if __name__ == "__main__":
    sys.exit(main())
