#!/usr/bin/env python3
"""Runs OPA's conformance cases through Consort, and through OPA itself in the same run.

    cargo build -p consort-policy --example opa-cases
    tests/policy/opa_cases.py target/debug/examples/opa-cases DIR... [--opa LIBRARY_DIR] [--show GROUP] [--json FILE]

DIR holds the cases as upstream keeps them (YAML or JSON files with a list `cases`, one directory for each group, under v0/ or v1/);
they are fetched, never committed. LIBRARY_DIR holds the Python package opa_bindings (OPA as a C library).
"""
import argparse, collections, json, pathlib, subprocess, sys


def cases(directories):
    for directory in directories:
        for path in sorted(pathlib.Path(directory).rglob("*")):
            if path.suffix not in (".json", ".yaml", ".yml"):
                continue
            try:
                document = json.loads(path.read_text())
            except ValueError:
                import yaml
                document = yaml.safe_load(path.read_text())
            version = "v0" if "v0" in path.parts else "v1"
            for case in document.get("cases") or [] if isinstance(document, dict) else []:
                case = {k: v for k, v in case.items() if k != "plan"}
                case["version"], case["group"] = version, path.parent.name
                yield case


def canonical(value):
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    return value


def text(value):
    return json.dumps(canonical(value), sort_keys=True)


def unordered(results):
    return sorted(text(result) for result in results)


def agrees(case, said):
    """Whether a verdict is what the case wants."""
    if case.get("want_error_code") or case.get("want_error"):
        return "error" in said
    if "error" in said:
        return False
    want = case.get("want_result")
    return unordered(want or []) == unordered(said["result"])


def opa(case, library):
    if case["version"] == "v0" or case.get("strict_error") or case.get("input_term"):
        return None  # the library evaluates neither
    engine = library.OpaEngine()
    engine.print_handler = lambda *_: None
    try:
        for at, module in enumerate(case.get("modules") or []):
            engine.add_policy(f"module-{at}.rego", module)
        if case.get("data") is not None:
            engine.add_data(case["data"])
        return {"result": engine.eval_query(case["query"], case.get("input"))}
    except Exception as error:
        return {"error": str(error)}
    finally:
        engine.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--opa")
    parser.add_argument("--show")
    parser.add_argument("--json")
    options = parser.parse_args()
    library = None
    if options.opa:
        sys.path.insert(0, options.opa)
        import opa_bindings as library
    all_cases = list(cases(options.directories))
    lines = "".join(json.dumps(case) + "\n" for case in all_cases)
    run = subprocess.run([options.program], input=lines, text=True, capture_output=True)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    if len(said) != len(all_cases):
        sys.exit(f"the program ended after {len(said)} of {len(all_cases)} cases: {run.stderr[-2000:]}")
    groups = collections.defaultdict(lambda: [0, 0, 0, 0])
    record = []
    for case, verdict in zip(all_cases, said):
        group = groups[f"{case['version']}/{case['group']}"]
        group[1] += 1
        right = agrees(case, verdict)
        group[0] += right
        theirs = opa(case, library) if library else None
        if theirs is not None:
            same = ("error" in theirs) == ("error" in verdict) and (
                "error" in theirs or unordered(theirs["result"]) == unordered(verdict["result"]))
            group[3] += 1
            group[2] += same
            record.append((case, verdict, right, theirs, same))
        else:
            record.append((case, verdict, right, None, None))
        if options.show and not right and (options.show == "all" or options.show in case["group"]):
            print("---", case["version"], case["note"], "\n   query ", case["query"])
            for module in case.get("modules") or []:
                print("   | " + module.replace("\n", "\n   | "))
            for key in ("data", "input", "input_term", "want_result", "want_error_code", "want_error", "strict_error"):
                if case.get(key) is not None:
                    print(f"   {key}: {str(case[key])[:600]}")
            print("   said  ", json.dumps(verdict)[:600])
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(
            [{"group": c["group"], "version": c["version"], "note": c["note"], "said": v, "right": r, "opa": o, "same": s} for c, v, r, o, s in record]))
    right, total, same, asked = (sum(group[at] for group in groups.values()) for at in range(4))
    for name, group in sorted(groups.items()):
        if group[0] < group[1] or (group[3] and group[2] < group[3]):
            print(f"{name}: {group[0]} of {group[1]}" + (f"; same as OPA {group[2]} of {group[3]}" if group[3] else ""))
    print(f"groups complete: {sum(g[0] == g[1] for g in groups.values())} of {len(groups)}")
    print(f"cases: {right} of {total} ({100 * right / max(total, 1):.1f} %)")
    if library:
        print(f"same verdict as OPA in the same run: {same} of {asked} ({100 * same / max(asked, 1):.1f} %)")


main()
