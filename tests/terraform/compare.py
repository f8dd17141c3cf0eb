#!/usr/bin/env python3
"""Runs each configuration of `cases/` through the real terraform and `consort tf`, step by step, and compares exit codes,
messages with their places, actions, states and outputs, and hands the state of one to the other.

    cargo build --release -p consort
    tests/terraform/compare.py [-v] [case ...]

`CONSORT` and `TERRAFORM` name the programs; `J` how many cases run at once; `TF_CLI_CONFIG_FILE` may name a file with a
filesystem_mirror that holds the provider null, which some cases use. `FAULTY_PYTHON` names a Python with the packages of
`faulty/provider.py`; without it the cases whose names begin with `faulty_` are left out. A case is a file of sections `-- path --`: files of
the configuration, `N/path` for those that stage N changes, and `steps`, the commands."""
import json, os, re, shutil, subprocess, sys, pathlib, difflib, concurrent.futures, collections, tempfile
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CONSORT = os.environ.get("CONSORT", str(TARGET / "release" / "consort"))
TOOLS = {"tf": [os.environ.get("TERRAFORM", "terraform")], "co": [CONSORT, "tf"]}
TMP = pathlib.Path(os.environ.get("COMPARE_DIR") or tempfile.mkdtemp(prefix="consort-compare-"))
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
NUM = re.compile(r"\b\d{13,20}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DEP = re.compile(r"deposed object [0-9a-f]{8}")
def norm(s): s = DEP.sub("deposed object <key>", s); return TIME.sub("<time>", NUM.sub("<num>", UUID.sub("<uuid>", s)))
def parse_case(p):
    files, name = collections.OrderedDict(), None
    for line in p.read_text().splitlines(keepends=True):
        m = re.match(r"^-- (.+) --\n$", line)
        if m: name = m.group(1); files[name] = ""
        elif name: files[name] += line
    return files
def write(d, files, prefix):
    for n, t in files.items():
        if n == "steps": continue
        m = re.match(r"^(\d+)/(.*)$", n)
        stage, rel = (int(m.group(1)), m.group(2)) if m else (1, n)
        if stage == prefix:
            f = d / rel
            if t.strip() == "DELETE": f.unlink(missing_ok=True); continue
            f.parent.mkdir(parents=True, exist_ok=True); f.write_text(t)
ENV = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
def plugins():
    """A mirror with the purpose-made provider, where there is a Python that runs it, beside that of the caller."""
    python, given = os.environ.get("FAULTY_PYTHON"), os.environ.get("TF_CLI_CONFIG_FILE")
    if not python: return given or "/dev/null"
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    for version in ("1.0.0", "2.0.0"):
        d = TMP / "mirror/example.com/test/faulty" / version / f"linux_{arch}"
        d.mkdir(parents=True, exist_ok=True)
        program = d / f"terraform-provider-faulty_v{version}"
        program.write_text(f"#!{python}\n# {version}\n" + (HERE / "faulty/provider.py").read_text()); program.chmod(0o755)
    blocks = pathlib.Path(given).read_text() if given else "provider_installation {\n}\n"
    mirror = f'  filesystem_mirror {{\n    path = "{TMP}/mirror"\n    include = ["example.com/*/*"]\n  }}\n'
    config = TMP / "tfrc"
    config.write_text(re.sub(r"(provider_installation\s*\{\s*)", lambda m: m.group(1) + mirror, blocks))
    return str(config)
TMP.mkdir(parents=True, exist_ok=True)
ENV.update(TF_CLI_CONFIG_FILE=plugins(), TF_IN_AUTOMATION="1", NO_COLOR="1", CHECKPOINT_DISABLE="1", TF_INPUT="0")
def run(tool, d, args, env=None):
    e = dict(ENV); e.update(env or {})
    if args and args[0] == "sh":
        e["TOOL"] = " ".join(TOOLS[tool])
        r = subprocess.run(["bash", "-c", " ".join(args[1:])], cwd=d, env=e, capture_output=True, text=True, timeout=120)
    else:
        try: r = subprocess.run(TOOLS[tool] + args, cwd=d, env=e, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as x: return 999, (x.stdout or b"").decode(), "TIMEOUT"
    return r.returncode, re.sub(r"\x1b\[[0-9;]*m", "", r.stdout), re.sub(r"\x1b\[[0-9;]*m", "", r.stderr)
def boxes(out):
    res, cur = [], None
    for line in out.splitlines():
        if line.startswith("╷"): cur = []
        elif line.startswith("╵"):
            if cur is not None: res.append(cur)
            cur = None
        elif cur is not None: cur.append(line.lstrip("│").strip() if True else line)
    got = []
    for b in res:
        text = [l for l in b]
        head = next((l for l in text if l), "")
        on = next((m.group(0) for l in text for m in [re.match(r"on (\S+) line \d+", l)] if m), "")
        # detail: after the snippet; drop snippet and values lines
        det = []
        seen_head = False
        insnip = False
        for l in text:
            if not seen_head:
                if l: seen_head = True
                continue
            if re.match(r"on \S+ line \d+|with .*,$|\d+: ", l): insnip = True; continue
            if insnip and (l.startswith("├") or l.startswith("│") or re.match(r"^\d+:", l)): continue
            det.append(l)
        d = " ".join(" ".join(det).split())
        # Consort says where and how the process ended; and it validates resources once, not with every walk.
        if head in ("Error: Plugin did not respond", "Error: Request cancelled"): head, on, d = "Error: Plugin did not respond", "", "".join(re.findall(r"\w+\.\(\S+\.\w+", d)[:1])
        d = re.sub(r" \((and one more similar warning|and \d+ more similar warnings) elsewhere\)", "", d)
        # Terraform lists instances in any order where it only names them.
        if head.startswith(("Warning: Some objects will no longer", "Error: Workspace is not empty")): d = " ".join(sorted(d.split()))
        # Terraform names the nodes of a cycle in any order.
        if head.startswith("Error: Cycle: "): head = "Error: Cycle: " + ", ".join(sorted(head[14:].split(", ")))
        got.append((norm(head), on, norm(d)))
    return sorted(got)
WILL = re.compile(r"^\s*# (.*?(will be|must be|has been|has changed|has moved|will no longer|is tainted|due to|\(imported|has been deleted|read).*)$")
def marks(out):
    acts = []
    for line in out.splitlines():
        m = WILL.match(line)
        if m: acts.append(norm(m.group(1)))
    return sorted(acts)
def plain(out):
    keep = [l for l in out.splitlines() if re.match(r"^(Plan: |No changes|Apply complete|Destroy complete|Success!|Error|Changes to Outputs)", l)]
    return keep
def events(out):
    c = collections.Counter()
    for l in out.splitlines():
        m = re.match(r"^(.*): (Creating|Destroying|Modifying|Creation complete|Destruction complete|Modifications complete|Refreshing state|Reading|Read complete|Provisioning|Importing|Import prepared|Import complete|Still).*", l)
        if m and m.group(2) != "Still": c[norm(m.group(1)).strip() + ": " + m.group(2)] += 1
    return sorted(c.items())
def state(d, path="terraform.tfstate"):
    for p in [d / path] + sorted(d.glob("terraform.tfstate.d/*/terraform.tfstate")):
        if not p.exists(): continue
        try: s = json.loads(p.read_text())
        except Exception as x: return {"unreadable": str(x)}
        s.pop("lineage", None); s.pop("serial", None); s.pop("terraform_version", None)
        if s.get("check_results"):
            s["check_results"].sort(key=lambda c: c["config_addr"])
            for c in s["check_results"]:
                if c.get("objects"): c["objects"].sort(key=lambda o: o["object_addr"])
        # Terraform leaves resources without instances behind where a provider's plan was refused.
        s["resources"] = [r for r in s.get("resources", []) if r.get("instances")]
        for r in s.get("resources", []):
            for i in r.get("instances", []):
                if i.get("sensitive_attributes"): i["sensitive_attributes"].sort(key=json.dumps)
                if "deposed" in i: i["deposed"] = "<key>"
        return json.loads(norm(json.dumps(s)))
    return None
def outputs(out):
    i = out.find("\nOutputs:"); return norm(out[i:].strip()) if i >= 0 else ""
def outchanges(out):
    m = re.search(r"Changes to Outputs:\n((?:[ ].+\n?)*)", out)
    return norm(m.group(1).rstrip()) if m else ""
def diffchunk(out):
    """The human text of the plan, between the legend and the summary."""
    return norm(out)
def flat(v, p=""):
    if isinstance(v, dict):
        r = {}
        for k, x in v.items(): r.update(flat(x, p + "." + k))
        return r or {p: "{}"}
    if isinstance(v, list):
        r = {}
        for i, x in enumerate(v): r.update(flat(x, f"{p}[{i}]"))
        return r or {p: "[]"}
    return {p: v}
def cmp_json(a, b, label, probs):
    fa, fb = flat(a), flat(b)
    for k in sorted(set(fa) | set(fb)):
        x, y = fa.get(k, "<absent>"), fb.get(k, "<absent>")
        if x != y: probs.append(f"{label}{k}: tf={x!r} co={y!r}")
HAVE = {}
def default_steps(files):
    n = max([int(m.group(1)) for f in files for m in [re.match(r"^(\d+)/", f)] if m] + [1])
    s = ["init", "validate", "plan", "apply", "plan"]
    for i in range(2, n + 1): s += [f"stage {i}", "init", "plan", "apply", "plan"]
    return s + ["hand", "destroy"]
def keyless(j):
    """Without what is random or in no order: keys of deposed objects, the order of checks and modules."""
    if isinstance(j, list):
        for x in j: keyless(x)
    elif isinstance(j, dict):
        for k in ("deposed", "deposed_key"):
            if k in j: j[k] = "<key>"
        if isinstance(j.get("child_modules"), list): j["child_modules"].sort(key=lambda m: m.get("address", ""))
        if isinstance(j.get("checks"), list):
            j["checks"].sort(key=lambda c: c["address"]["to_display"])
            for c in j["checks"]:
                if c.get("instances"): c["instances"].sort(key=lambda i: i["address"]["to_display"])
        for x in j.values(): keyless(x)
def planjson(j):
    for k in ("timestamp", "terraform_version", "relevant_attributes"): 
        if k != "relevant_attributes": j.pop(k, None)
    if "prior_state" in j: j["prior_state"].pop("terraform_version", None)
    if "resource_drift" in j: pass
    for r in j.get("relevant_attributes", []): pass
    keyless(j)
    if "relevant_attributes" in j: j["relevant_attributes"] = sorted(j["relevant_attributes"], key=lambda r: json.dumps(r))
    return json.loads(norm(json.dumps(j)))
def one(name, verbose=False):
    files = parse_case(HERE / "cases" / (name + ".case"))
    base = TMP / name
    shutil.rmtree(base, ignore_errors=True)
    dirs = {}
    for t in TOOLS:
        d = base / t / "w"; d.mkdir(parents=True); dirs[t] = d; write(d, files, 1)
    steps = [l for l in files["steps"].splitlines() if l.strip() and not l.startswith("#")] if "steps" in files else default_steps(files)
    probs, checks = [], collections.Counter()
    log = open(base / "log", "w")
    for i, step in enumerate(steps):
        w = step.split(); env = {}
        while w and re.match(r"^[A-Z_a-z]+=", w[0]): k, v = w.pop(0).split("=", 1); env[k] = v
        lab = f"[{i}:{step}] "
        if w[0] == "stage":
            for t in TOOLS: write(dirs[t], files, int(w[1]))
            continue
        if w[0] == "hand":
            # hand each one's state to the other: the plan must be what it was
            for a, b in (("tf", "co"), ("co", "tf")):
                d = base / (a + "-to-" + b) / "w"; shutil.copytree(dirs[a], d, symlinks=True)
                own = run(a, dirs[a], ["plan", "-detailed-exitcode"] + w[1:])
                got = run(b, d, ["plan", "-detailed-exitcode"] + w[1:])
                log.write(f"##### hand {a}->{b} rc={got[0]}\n{got[1]}{got[2]}\n")
                checks["hand"] += 1
                if own[0] != got[0] or marks(own[1]) != marks(got[1]):
                    probs.append(f"{lab}state of {a} in {b}: exit {own[0]} vs {got[0]}: {marks(own[1])} vs {marks(got[1])} {boxes(got[2])[:2]}")
            continue
        res = {}
        for t in TOOLS:
            a = list(w)
            if a[0] in ("apply", "destroy"): a.insert(1, "-auto-approve")
            res[t] = run(t, dirs[t], a, env)
            log.write(f"##### {t} {step} rc={res[t][0]}\n{res[t][1]}{res[t][2]}\n")
        log.flush()
        (rc1, o1, e1), (rc2, o2, e2) = res["tf"], res["co"]
        checks["commands"] += 1
        if "panicked" in e2 or rc2 in (101, 134, 139): probs.append(f"{lab}CRASH rc={rc2} {e2[-300:]}")
        if rc1 != rc2: probs.append(f"{lab}exit: tf={rc1} co={rc2}: co stderr: {e2.strip()[:300]!r} tf: {e1.strip()[:300]!r}")
        b1, b2 = boxes(o1 + "\n" + e1), boxes(o2 + "\n" + e2)
        if b1 != b2:
            checks["diagdiff"] += 1
            for x in b1:
                if x not in b2: probs.append(f"{lab}diag only tf: {x}")
            for x in b2:
                if x not in b1: probs.append(f"{lab}diag only co: {x}")
        elif b1: checks["diag same"] += 1
        if w[0] in ("plan", "apply", "destroy", "refresh"):
            for f, nm in ((marks, "actions"), (plain, "summary"), (events, "events"), (outputs, "outputs"), (outchanges, "output changes")):
                x, y = f(o1), f(o2)
                if nm in ("events",):
                    if dict(x) != dict(y): probs.append(f"{lab}{nm}: only tf={[k for k in x if k not in y]} only co={[k for k in y if k not in x]}")
                elif x != y:
                    if isinstance(x, list): probs.append(f"{lab}{nm}: only tf={[k for k in x if k not in y]} only co={[k for k in y if k not in x]}")
                    else: probs.append(f"{lab}{nm}: tf={x!r} co={y!r}")
                else: checks[nm] += 1
        if w[0] in ("output", "state", "sh", "workspace", "show", "console", "fmt") and w[:2] != ["state", "show"]:
            # The empty lines of a box end in a space there.
            o1, o2 = (re.sub(r" +\n", "\n", norm(o)) for o in (o1, o2))
            if o1 != o2:
                dl = list(difflib.unified_diff(o1.splitlines(), o2.splitlines(), "tf", "co", lineterm="", n=0))
                probs.append(f"{lab}stdout differs: " + " | ".join(dl[2:14]))
        if w[0] not in ("plan", "validate", "init", "output", "show"):
            checks["state"] += 1
            cmp_json(state(dirs["tf"]), state(dirs["co"]), lab + "state", probs)
        if w[0] == "plan" and HAVE.get("json") and rc1 == rc2 and rc1 in (0, 2):
            js = {}
            for t in TOOLS:
                a = list(w) + ["-out=p.out"]
                r = run(t, dirs[t], a, env); r = run(t, dirs[t], ["show", "-json", "p.out"], env)
                try: js[t] = planjson(json.loads(r[1]))
                except Exception as x: js[t] = {"bad": str(x), "err": [l.rstrip() for l in r[2].splitlines()[:5]]}
            (dirs["co"].parent / f"plan{i}.json").write_text(json.dumps(js, indent=1))
            checks["plan json"] += 1
            before = len(probs)
            cmp_json(js["tf"], js["co"], lab + "PJ", probs)
            if len(probs) > before: checks["plan json differs"] += 1
        if w[0] in ("apply", "destroy") and HAVE.get("json") and rc1 == rc2:
            js = {}
            for t in TOOLS:
                r = run(t, dirs[t], ["show", "-json"], env)
                try: j = json.loads(r[1]); j.pop("terraform_version", None); keyless(j); js[t] = json.loads(norm(json.dumps(j)))
                except Exception as x: js[t] = {"bad": str(x), "err": r[2][:300]}
            checks["state json"] += 1
            cmp_json(js["tf"], js["co"], lab + "SJ", probs)
    log.close()
    return name, probs, checks
def main():
    args = [a for a in sys.argv[1:] if not a.startswith("-")]
    r = run("co", HERE, ["show", "-json"])
    HAVE["json"] = r[0] == 0 and "-nojson" not in sys.argv
    print("plan json:", HAVE["json"])
    names = args or sorted(p.stem for p in (HERE / "cases").glob("*.case") if os.environ.get("FAULTY_PYTHON") or not p.stem.startswith("faulty_"))
    total, same = collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("J", "2"))) as ex:
        def safe(n):
            try: return one(n)
            except Exception as x: import traceback; return n, ["HARNESS " + traceback.format_exc()[-600:]], collections.Counter()
        for name, probs, checks in ex.map(safe, names):
            total.update(checks)
            if not probs: same += 1
            print(("same " if not probs else f"DIFF {len(probs)} ") + name, flush=True)
            for p in probs[: 200 if "-v" in sys.argv else 8]: print("    " + p[:700], flush=True)
    print(f"{same} of {len(names)} the same; {dict(total)}")
main()
