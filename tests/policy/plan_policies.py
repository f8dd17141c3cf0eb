#!/usr/bin/env python3
"""Judges plans of Terraform by policies from elsewhere, with Consort and with OPA itself in the same run, and tells what differs.

    cargo build -p consort-policy --example judge-plan
    tests/policy/plan_policies.py target/debug/examples/judge-plan PLAN.json... --policies DIR... --opa LIBRARY_DIR

PLAN.json is what `terraform show -json` writes. Every directory below DIR that holds policies counts as one; they are fetched, never
committed. LIBRARY_DIR holds the Python package opa_bindings (OPA as a C library). OPA is given what the products that the policies
were written for give: the plan, and the same below `plan`, `tfplan` and `terraform`, with sensitive values masked as they are here.
"""
import argparse, copy, json, pathlib, re, subprocess, sys

MASK = "(sensitive value)"
RULE = re.compile(r"^(deny|violation|warn)(_[a-zA-Z0-9]+)*$")


def masked(value, mask):
    if mask is True:
        if isinstance(value, list):
            return [masked(item, True) for item in value]
        if isinstance(value, dict):
            return {key: masked(item, True) for key, item in value.items()}
        return None if value is None else MASK
    if isinstance(mask, dict) and isinstance(value, dict):
        return {key: masked(item, mask.get(key)) for key, item in value.items()}
    if isinstance(mask, list) and isinstance(value, list):
        return [masked(item, mask[at] if at < len(mask) else None) for at, item in enumerate(value)]
    return value


def modules(module):
    yield module
    for child in module.get("child_modules", []):
        yield from modules(child)


def document(plan):
    plan = copy.deepcopy(plan)
    for change in plan.get("resource_changes", []):
        inner = change["change"]
        for side in ("before", "after"):
            inner[side] = masked(inner.get(side), inner.get(side + "_sensitive"))
    for module in modules(plan.get("planned_values", {}).get("root_module", {})):
        for resource in module.get("resources", []):
            resource["values"] = masked(resource.get("values"), resource.get("sensitive_values"))
    whole = dict(plan)
    for name in ("plan", "tfplan", "terraform"):
        whole[name] = plan
    for name in ("run", "tfrun"):
        whole[name] = {"workspace": {"name": "plan"}, "is_destroy": False, "created_by": "nobody", "message": "",
                       "created_at": "1970-01-01T00:00:00Z", "speculative": False, "refresh": True, "refresh_only": False, "commit_sha": ""}
    return whole


def messages(value):
    if value is None or value is False:
        return []
    if isinstance(value, dict):
        value = [value] if "msg" in value or "message" in value else [v if not isinstance(v, bool) else k for k, v in value.items()]
    if not isinstance(value, list):
        value = [value]
    return [item if isinstance(item, str) else item.get("msg") or item.get("message") if isinstance(item, dict) and (item.get("msg") or item.get("message"))
            else json.dumps(item, separators=(",", ":"), sort_keys=True) for item in value]


def newer(text):
    """A module of Rego v0 as v1, which is all that OPA's library reads: `contains` and `if` where heads need them."""
    lines = []
    for line in text.split("\n"):
        line = re.sub(r"^(\w+)\[(.*)\]\s*\{(.*)$", r"\1 contains \2 if {\3", line)
        line = re.sub(r"^(\w+)\[(.*)\]\s*$", r"\1 contains \2", line)
        if not re.match(r"^(package|import|default|#|\s|\}\s*$)", line) and " if {" not in line and not re.search(r":?=\s*\{", line):
            line = re.sub(r"^(\w+(\(.*?\))?(\s*:?=\s*[^{]+?)?)\s*\{(.*)$", r"\1 if {\4", line)
        line = re.sub(r"\}\s*else\s*(:?=\s*[^{]+?)?\s*\{", lambda m: "} else " + (m[1] or "") + " if {", line)
        lines.append(line)
    return "\n".join(lines)


def opa(library, files, version, plan):
    engine = library.OpaEngine()
    engine.print_handler = lambda *_: None
    found = set()
    try:
        rules = set()
        for file in files:
            text = file.read_text()
            engine.add_policy(str(file), text if version == "v1" else newer(text))
            package = re.search(r"^\s*package\s+([\w.]+)", text, re.M).group(1)
            for name in re.findall(r"^(?:default\s+)?([a-z][a-zA-Z0-9_]*)", text, re.M):
                if RULE.match(name):
                    rules.add((package, name))
        for package, name in rules:
            for result in engine.eval_query(f"x = data.{package}.{name}", plan):
                value = result["x"] if "x" in result else result["bindings"]["x"]
                found |= {(f"data.{package}.{name}", message) for message in messages(value)}
        return found
    finally:
        engine.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("plans", nargs="+")
    parser.add_argument("--policies", nargs="+", required=True)
    parser.add_argument("--opa", required=True)
    options = parser.parse_args()
    sys.path.insert(0, options.opa)
    import opa_bindings as library
    asked = []
    for top in options.policies:
        directories = {path.parent for path in pathlib.Path(top).rglob("*.rego")}
        for directory in sorted(directories):
            files = sorted(path for path in directory.glob("*.rego") if not path.name.endswith("_test.rego"))
            # One file each where a directory is a collection of independent examples.
            groups = [[file] for file in files] if len(files) > 3 else [files]
            for group in filter(None, groups):
                text = "".join(file.read_text() for file in group)
                v1 = re.search(r"\bimport rego\.v1\b|\bcontains\b.*\bif\b", text) is not None
                for plan in options.plans:
                    asked.append({"plan": plan, "files": [str(file.resolve()) for file in group], "version": "v1" if v1 else "v0"})
    run = subprocess.run([options.program], input="".join(json.dumps(one) + "\n" for one in asked), text=True, capture_output=True)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    if len(said) != len(asked):
        sys.exit(f"the program ended after {len(said)} of {len(asked)}: {run.stderr[-2000:]}")
    plans = {plan: document(json.loads(pathlib.Path(plan).read_text())) for plan in options.plans}
    same = verdicts = 0
    for one, verdict in zip(asked, said):
        files = [pathlib.Path(file) for file in one["files"]]
        try:
            theirs = opa(library, files, one["version"], plans[one["plan"]])
        except Exception as error:
            theirs = "error: " + " ".join(str(error).strip().splitlines()[:3])
        if "error" in verdict:
            ours = "error: " + json.dumps(verdict["error"])[:300]
        else:
            ours = {(it["rule"], it["message"]) for it in verdict["verdicts"] if RULE.match(it["rule"].rsplit(".", 1)[1])}
        agree = ours == theirs or (isinstance(ours, str) and isinstance(theirs, str))
        same += agree
        verdicts += len(theirs) if not isinstance(theirs, str) else 0
        if not agree:
            print("---", one["version"], *one["files"], "\n   OPA    ", theirs, "\n   Consort", ours)
    print(f"{same} of {len(asked)} judgements the same, {verdicts} verdicts of OPA")


main()
