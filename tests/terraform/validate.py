#!/usr/bin/env python3
"""Compares `validate -json` of the real terraform and of `consort tf`, message by message.

    tests/terraform/validate.py mutants [-v]                 # a valid configuration broken in some 470 ways
    tests/terraform/validate.py upstream PATH [-v] [suite ..]  # the test data of a fetched copy of opentofu/opentofu at PATH

`CONSORT` and `TERRAFORM` name the programs, `J` how many cases run at once. The mutants need the provider null 2.1 in a
mirror that `TF_CLI_CONFIG_FILE` names. Upstream's data use providers of upstream's tests: set `TF_REATTACH_PROVIDERS` to
attach both programs to one that has their types, else only what comes before schemas is compared. Printed are cases that
differ; then, by suite: cases, those with the same exit code, the same summaries at the same file and line, and the same
text, columns and addresses too."""
import concurrent.futures, json, os, pathlib, re, shutil, subprocess, sys, tempfile
ROOT = pathlib.Path(__file__).parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TOOLS = [[os.environ.get("TERRAFORM", "terraform")], [os.environ.get("CONSORT", str(TARGET / "release" / "consort")), "tf"]]
TMP = pathlib.Path(tempfile.mkdtemp(prefix="consort-validate-"))
ENV = dict(os.environ, CHECKPOINT_DISABLE="1", NO_COLOR="1", TF_IN_AUTOMATION="1")

def manifest(d):
    """Writes down where the modules with local paths are, as init would."""
    found = [{"Key": "", "Source": "", "Dir": "."}]
    def walk(key, at):
        for f in sorted((d / at).glob("*.tf")):
            for m in re.finditer(r'module\s+"([^"]+)"\s*\{([^}]*)', f.read_text(errors="replace")):
                s = re.search(r'source\s*=\s*"(\.[^"]*)"', m.group(2))
                if not s: continue
                k = (key + "." if key else "") + m.group(1)
                to = os.path.normpath(os.path.join(at, s.group(1)))
                if (d / to).is_dir() and k.count(".") < 6 and all(r["Key"] != k for r in found):
                    found.append({"Key": k, "Source": s.group(1), "Dir": to}); walk(k, to)
    walk("", ".")
    if len(found) > 1:
        p = d / ".terraform" / "modules"; p.mkdir(parents=True, exist_ok=True)
        (p / "modules.json").write_text(json.dumps({"Modules": found}))

def run(tool, d):
    r = subprocess.run(tool + ["validate", "-json"], cwd=d, env=ENV, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    try: return r.returncode, json.loads(r.stdout)
    except ValueError: return r.returncode, {"diagnostics": [{"severity": "error", "summary": r.stdout + r.stderr, "detail": ""}]}

def key(d):
    """A message without what terraform itself leaves to chance: the order in a cycle, which of two names is suggested."""
    r = d.get("range") or {"filename": "", "start": {"line": 0, "column": 0}, "end": {"line": 0, "column": 0}}
    summary = d["summary"]
    if summary.startswith("Cycle: "): summary = "Cycle: " + ", ".join(sorted(summary[7:].split(", ")))
    return (d["severity"], summary, r["filename"], r["start"]["line"], r["start"]["column"], r["end"]["line"], r["end"]["column"], re.sub(r'Did you mean "[^"]*"', "Did you mean", d["detail"]), d.get("address", ""))

def compare(job):
    suite, name, d = job
    manifest(d)
    (ax, a), (bx, b) = (run(tool, d) for tool in TOOLS)
    return suite, name, ax, bx, sorted(map(key, a["diagnostics"])), sorted(map(key, b["diagnostics"]))

def report(jobs, verbose):
    stats = {}
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("J", "2"))) as pool:
        for suite, name, ax, bx, a, b in pool.map(compare, jobs):
            s = stats.setdefault(suite, [0, 0, 0, 0]); brief = [x[:4] for x in a] == [x[:4] for x in b]
            for i, same in enumerate((True, ax == bx, brief, a == b)): s[i] += same
            if a != b and (verbose or not brief):
                print("DIFF", suite, name, f"exit {ax} {bx}")
                for x in a: print("    terraform" if x not in b else "    both     ", x)
                for x in b:
                    if x not in a: print("    consort  ", x)
    stats["all"] = [sum(s[i] for s in stats.values()) for i in range(4)]
    for suite, s in stats.items(): print("%-40s %4d cases; same exit %4d, messages and places %4d, all of the text %4d" % (suite, *s))

def upstream(at, wanted):
    jobs = []
    def add(suite, name, source):
        if wanted and not any(suite.startswith(w) for w in wanted): return
        d = TMP / suite.replace("/", "_") / name
        if source.is_dir():
            shutil.copytree(source, d, symlinks=True); shutil.rmtree(d / ".terraform", ignore_errors=True); (d / ".terraform.lock.hcl").unlink(missing_ok=True)
        else: d.mkdir(parents=True); shutil.copy(source, d)
        jobs.append((suite, name, d))
    configs = at / "internal/configs/testdata"
    for suite in sorted(configs.iterdir()):
        if not suite.is_dir(): continue
        if suite.name.endswith("-files") and suite.name != "invalid-import-files":
            for f in sorted(suite.iterdir()): add("configs/" + suite.name, f.name, f)
        elif any(f.suffix == ".tf" for f in suite.iterdir()): add("configs/" + suite.name, suite.name, suite)
        else:
            for f in sorted(suite.iterdir()):
                if f.is_dir(): add("configs/" + suite.name, f.name, f)
    for part in ("tofu", "command", "command/testdata/validate-invalid", "command/testdata/test"):
        d = at / "internal" / part / ("" if "testdata" in part else "testdata")
        for f in sorted(d.iterdir()) if d.is_dir() else []:
            if f.is_dir() and f.name not in ("validate-invalid", "test"): add(part.split("/")[0], part.split("/")[-1] + "-" + f.name, f)
    return jobs

BASE = {"main.tf":'''terraform {
  required_version = ">= 1.0"
  required_providers {
    null = {
      source  = "hashicorp/null"
      version = "~> 2.1"
    }
  }
  backend "local" {
    path = "x.tfstate"
  }
}

provider "null" {}

provider "null" {
  alias = "other"
}

variable "name" {
  type        = string
  description = "A name"
  default     = "x"
  validation {
    condition     = length(var.name) > 0
    error_message = "Too short."
  }
}

variable "sizes" {
  type = map(object({
    count = number
    tags  = optional(list(string), ["a"])
  }))
  default   = { a = { count = 1 } }
  sensitive = false
  nullable  = false
}

variable "secret" {
  type      = string
  default   = "s"
  sensitive = true
}

locals {
  upper = upper(var.name)
  list  = [for k, v in var.sizes : "${k}-${v.count}"]
  obj   = { name = var.name, n = 1 }
}

resource "null_resource" "one" {
  triggers = {
    name = local.upper
  }
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [triggers]
    precondition {
      condition     = var.name != ""
      error_message = "No name for ${var.name}."
    }
  }
  depends_on = [terraform_data.input]
}

resource "null_resource" "many" {
  count    = 2
  provider = null.other
  triggers = {
    i = count.index
  }
  connection {
    host = "localhost"
    user = var.name
  }
  provisioner "local-exec" {
    command     = "echo ${self.id}"
    when        = create
    on_failure  = continue
    environment = { A = "b" }
  }
}

resource "terraform_data" "input" {
  for_each         = var.sizes
  input            = each.value.count
  triggers_replace = [each.key]
}

data "null_data_source" "d" {
  inputs = {
    a = null_resource.one.id
    b = null_resource.many[0].id
  }
}

module "child" {
  source    = "./child"
  for_each  = toset(["a", "b"])
  name      = each.key
  numbers   = [1, 2, 3]
  providers = {
    null = null.other
  }
}

module "single" {
  source  = "./child"
  name    = local.obj.name
  numbers = local.list == [] ? [] : [1]
}

output "ids" {
  value       = [for r in null_resource.many : r.id]
  description = "All"
}

output "children" {
  value = { for k, m in module.child : k => m.result }
}

output "secret" {
  value     = var.secret
  sensitive = true
  precondition {
    condition     = length(var.secret) > 0
    error_message = "Empty."
  }
}

check "health" {
  data "null_data_source" "c" {
    inputs = { x = "y" }
  }
  assert {
    condition     = data.null_data_source.c.outputs["x"] == "y"
    error_message = "Not healthy: ${var.name}."
  }
}

moved {
  from = null_resource.old
  to   = null_resource.one
}

removed {
  from = terraform_data.gone
  lifecycle {
    destroy = false
  }
}

import {
  to = null_resource.one
  id = "abc"
}
''',"child/child.tf": '''terraform {
  required_providers {
    null = {
      source = "hashicorp/null"
    }
  }
}

variable "name" {
  type = string
}

variable "numbers" {
  type    = list(number)
  default = []
}

resource "null_resource" "inner" {
  count = length(var.numbers)
  triggers = {
    n = var.numbers[count.index]
  }
}

locals {
  joined = join("-", null_resource.inner[*].id)
}

output "result" {
  value = "${var.name}-${local.joined}"
}
'''}
M = []
def m(name, old, new, f="main.tf"): M.append((name, f, old, new))
T = BASE["main.tf"]
# explicit mutations
for i,(o,n) in enumerate([
 ('length(var.name) > 0','length(var.nam) > 0'),('length(var.name) > 0','var.name'),('length(var.name) > 0','true'),('error_message = "Too short."','error_message = 5 + "x"'),('    error_message = "Too short."\n',''),('    condition     = length(var.name) > 0\n',''),
 ('type        = string','type        = strin'),('type        = string','type        = "string"'),('type        = string','type        = list'),('type        = string','type        = list(string, number)'),('type        = string','type        = object({a})'),('type        = string','typ         = string'),
 ('default     = "x"','default     = ["x"]'),('default     = "x"','default     = local.upper'),('default     = "x"','default     = null\n  nullable = false'),('optional(list(string), ["a"])','optional(list(string), 5)'),('optional(list(string), ["a"])','optional()'),('optional(list(string), ["a"])','optionall(string)'),
 ('sensitive = false','sensitive = "maybe"'),('sensitive = false','sensitive = var.x'),('nullable  = false','nullable  = 1'),('variable "name" {','variable "na me" {'),('variable "name" {','variable {'),('variable "name" {','variable "name" "x" {'),('variable "name" {','variable "count" {'),('variable "secret" {','variable "name" {'),
 ('upper(var.name)','uper(var.name)'),('upper(var.name)','upper(var.name, 1)'),('upper(var.name)','upper()'),('upper(var.name)','upper(var.name'),('upper(var.name)','upper([var.name])'),('upper(var.name)','upper({})'),('upper(var.name)','local.upper'),('upper(var.name)','local.obj.name\n  obj2 = local.upper'),('upper(var.name)','local.list[0]'),
 ('[for k, v in var.sizes : "${k}-${v.count}"]','[for k, v in var.sizes : "${k}-${v.cnt}"]'),('[for k, v in var.sizes : "${k}-${v.count}"]','[for k, v in var.name : k]'),('[for k, v in var.sizes : "${k}-${v.count}"]','[for k, v in 5 : k]'),('[for k, v in var.sizes : "${k}-${v.count}"]','[for k v in var.sizes : k]'),('[for k, v in var.sizes : "${k}-${v.count}"]','{for k, v in var.sizes : k}'),('[for k, v in var.sizes : "${k}-${v.count}"]','[for k, v in var.sizes : k => v]'),
 ('{ name = var.name, n = 1 }','{ name = var.name, n = 1 + "b" }'),('{ name = var.name, n = 1 }','{ name = var.name, n = -"b" }'),('{ name = var.name, n = 1 }','{ name = var.name n = 1 }'),('{ name = var.name, n = 1 }','{ name = var.name, n = true && 5 }'),('{ name = var.name, n = 1 }','{ name = var.name, n = null.foo }'),('{ name = var.name, n = 1 }','{ name = var.name, n = [1][3] }'),('{ name = var.name, n = 1 }','{ name = var.name, n = !1 }'),('{ name = var.name, n = 1 }','{ name = var.name, var.name = 1 }'),('{ name = var.name, n = 1 }','{ name = var.name, n = 1 / 0 }'),('{ name = var.name, n = 1 }','{ name = var.name, n = 5 ? 1 : 2 }'),('{ name = var.name, n = 1 }','{ name = var.name, n = "${1" }'),
 ('source  = "hashicorp/null"','source  = "hashi corp/null"'),('source  = "hashicorp/null"','source  = "a/b/c/d"'),('source  = "hashicorp/null"','source  = 5'),('source  = "hashicorp/null"','sorce  = "hashicorp/null"'),('version = "~> 2.1"','version = "~> two"'),('version = "~> 2.1"','version = ">= 2.1, << 3"'),('version = "~> 2.1"','version = 2'),('version = "~> 2.1"','version = ">= 5"'),('required_version = ">= 1.0"','required_version = ">= 9.0"'),('required_version = ">= 1.0"','required_version = "x"'),('required_version = ">= 1.0"','required_versio = ">= 1.0"'),
 ('backend "local" {','backend {'),('backend "local" {','backend "local" "x" {'),('  backend "local" {','  backend "s3" {}\n  backend "local" {'),('  backend "local" {','  cloud {}\n  backend "local" {'),('  backend "local" {','  backnd "local" {'),
 ('provider "null" {}','provider "null" {\n  foo = 1\n}'),('provider "null" {}','provider "null" {}\nprovider "null" {}'),('alias = "other"','alias = "oth er"'),('alias = "other"','alias = other'),('alias = "other"','alias = "another"'),('provider "null" {}','provider null.x {}'),('provider "null" {}','provider {}'),('provider "null" {}','provider "null" {\n  version = "x"\n}'),('provider "null" {}','provider "null" {\n  count = 1\n}'),
 ('resource "null_resource" "one" {','resource "null_resourc" "one" {'),('resource "null_resource" "one" {','resource "null_resource" {'),('resource "null_resource" "one" {','resource "null_resource" "one" "two" {'),('resource "null_resource" "one" {','resource "null_resource" "1one" {'),('resource "null_resource" "one" {','resource "null-resource" "one" {'),('resource "null_resource" "one" {','resorce "null_resource" "one" {'),('resource "null_resource" "one" {','resource null_resource one {'),('resource "null_resource" "many" {','resource "null_resource" "one" {'),('resource "null_resource" "one" {','resource "azurerm_x" "one" {'),('resource "null_resource" "one" {','data "null_resource" "one" {'),
 ('    name = local.upper\n','    name = local.uper\n'),('    name = local.upper\n','    name = local.upper.foo\n'),('    name = local.upper\n','    name = [local.upper]\n'),('    name = local.upper\n','    name = null_resource.many.id\n'),('    name = local.upper\n','    name = null_resource.many[0].idd\n'),('    name = local.upper\n','    name = null_resource.many["a"].id\n'),('    name = local.upper\n','    name = data.null_data_source.d.id\n'),('    name = local.upper\n','    name = module.single.nope\n'),('    name = local.upper\n','    name = module.child.result\n'),('    name = local.upper\n','    name = module.child["a"].resul\n'),('    name = local.upper\n','    name = module.nope.result\n'),('    name = local.upper\n','    name = self.id\n'),('    name = local.upper\n','    name = each.key\n'),('    name = local.upper\n','    name = count.index\n'),('    name = local.upper\n','    name = path.foo\n'),('    name = local.upper\n','    name = terraform.foo\n'),('    name = local.upper\n','    name = null_resource\n'),('    name = local.upper\n','    name = var\n'),('    name = local.upper\n','    name = data.x\n'),('    name = local.upper\n','    name = null_data_source.d.id\n'),('    name = local.upper\n','    name = terraform_data.input.id\n'),('    name = local.upper\n','    name = terraform_data.input[0].id\n'),('    name = local.upper\n','    name = null_resource.one.triggers[0]\n'),('    name = local.upper\n','    name = nonsense\n'),('    name = local.upper\n','    name = local.upper\n    name = "b"\n'),('    name = local.upper\n','    name local.upper\n'),('    name = local.upper\n','    name = \n'),('    name = local.upper\n','    name = "abc\n'),('    name = local.upper\n','    name = <<EOT\nabc\n'),('    name = local.upper\n',"    name = 'abc'\n"),('    name = local.upper\n','    name = local.upper;\n'),('    name = local.upper\n','    name = local.upper, x = 5\n'),('    name = local.upper\n','    name = a.b.c.d\n'),('    name = local.upper\n','    name = "%{ if true }a"\n'),('    name = local.upper\n','    name = provider::null::foo()\n'),
 ('  triggers = {\n    name','  trigers = {\n    name'),('  triggers = {\n    name','  triggers {\n    name'),('  triggers = {\n    name','  id = "x"\n  triggers = {\n    name'),('  triggers = {\n    name','  foo {}\n  triggers = {\n    name'),
 ('create_before_destroy = true','create_before_destroy = "x"'),('create_before_destroy = true','create_before_destroy = var.b'),('create_before_destroy = true','create_befor_destroy = true'),('ignore_changes        = [triggers]','ignore_changes        = [nope]'),('ignore_changes        = [triggers]','ignore_changes        = triggers'),('ignore_changes        = [triggers]','ignore_changes        = "all"'),('ignore_changes        = [triggers]','ignore_changes        = [all]'),('ignore_changes        = [triggers]','ignore_changes        = ["*"]'),('ignore_changes        = [triggers]','ignore_changes        = [triggers[count.index]]'),('ignore_changes        = [triggers]','ignore_changes        = [id]'),('ignore_changes        = [triggers]','replace_triggered_by  = [var.name]'),('ignore_changes        = [triggers]','replace_triggered_by  = [null_resource.one]'),('ignore_changes        = [triggers]','prevent_destroy = local.x'),('  lifecycle {\n    create','  lifecycle "x" {\n    create'),('  lifecycle {\n    create','  lifecycle {}\n  lifecycle {\n    create'),
 ('condition     = var.name != ""','condition     = self.id != ""'),('condition     = var.name != ""','condition     = "x"'),('condition     = var.name != ""','condition     = null_resource.one.id != ""'),('      error_message = "No name for ${var.name}."\n',''),('error_message = "No name for ${var.name}."','error_message = local.nope'),
 ('depends_on = [terraform_data.input]','depends_on = [terraform_data.nope]'),('depends_on = [terraform_data.input]','depends_on = ["terraform_data.input"]'),('depends_on = [terraform_data.input]','depends_on = terraform_data.input'),('depends_on = [terraform_data.input]','depends_on = [terraform_data.input.id]'),('depends_on = [terraform_data.input]','depends_on = [terraform_data.input["a"].id]'),('depends_on = [terraform_data.input]','depends_on = [1]'),('depends_on = [terraform_data.input]','depends_on = [null_resource.one]'),('depends_on = [terraform_data.input]','depends_on = [var.name]'),
 ('  count    = 2','  count    = "two"'),('  count    = 2','  count    = -2'),('  count    = 2','  count    = null'),('  count    = 2','  count    = 2\n  for_each = {}'),('  count    = 2','  count    = null_resource.one.id'),('  count    = 2','  count    = count.index'),('  count    = 2','  for_each = toset(["a"])'),('  count    = 2','  count    = var.nope'),('  count    = 2','  count    = [1]'),('  count    = 2\n',''),
 ('provider = null.other','provider = null.nope'),('provider = null.other','provider = "null.other"'),('provider = null.other','provider = null.other.x'),('provider = null.other','provider = nul.other'),('provider = null.other','provider = 5'),('provider = null.other','provider = terraform'),
 ('    host = "localhost"\n',''),('    user = var.name','    user = var.nope'),('    user = var.name','    usr = var.name'),('    user = var.name','    user = [1]'),('  connection {','  connection {\n    host = "x"\n  }\n  connection {'),
 ('provisioner "local-exec" {','provisioner {'),('provisioner "local-exec" {','provisioner "local-exe" {'),('provisioner "local-exec" {','provisioner "local-exec" "x" {'),('provisioner "local-exec" {','provisioner "chef" {'),('    command     = "echo ${self.id}"\n',''),('echo ${self.id}','echo ${self.idd}'),('echo ${self.id}','echo ${null_resource.many[0].id}'),('when        = create','when        = never'),('when        = create','when        = destroy\n    interpreter = [var.name]'),('on_failure  = continue','on_failure  = explode'),('environment = { A = "b" }','environment = "b"'),('environment = { A = "b" }','environmen = { A = "b" }'),('environment = { A = "b" }','environment = { A = ["b"] }'),
 ('for_each         = var.sizes','for_each         = var.name'),('for_each         = var.sizes','for_each         = ["a"]'),('for_each         = var.sizes','for_each         = toset([1])'),('for_each         = var.sizes','for_each         = null'),('for_each         = var.sizes','for_each         = var.secret'),('for_each         = var.sizes','for_each         = toset([var.secret])'),('for_each         = var.sizes','for_each         = each.key'),('for_each         = var.sizes','for_each         = 5'),('for_each         = var.sizes','for_each         = { a = 1'),('input            = each.value.count','input            = each.val'),('input            = each.value.count','inpt             = each.value.count'),('input            = each.value.count','input            = each'),('input            = each.value.count','output           = each.value.count'),
 ('data "null_data_source" "d" {','data "null_data_sourc" "d" {'),('data "null_data_source" "d" {','data "null_data_source" "d" {\n  lifecycle {\n    create_before_destroy = true\n  }'),('data "null_data_source" "d" {','data "null_data_source" "d" {\n  provisioner "local-exec" {}'),('    a = null_resource.one.id','    a = null_resource.two.id'),('    a = null_resource.one.id','    a = null_resource.one[0].id'),('    a = null_resource.one.id','    a = null_resource.one[count.index].id'),
 ('source    = "./child"','source    = "child"'),('source    = "./child"','source    = "./nope"'),('source    = "./child"','source    = var.name'),('  source    = "./child"\n',''),('source    = "./child"','source    = "./child"\n  version = "1.0"'),('source    = "./child"','source    = 5'),('for_each  = toset(["a", "b"])','for_each  = ["a", "b"]'),('for_each  = toset(["a", "b"])','count     = "x"'),('for_each  = toset(["a", "b"])','for_each  = var.nope'),('name      = each.key','nam       = each.key'),('  name      = each.key\n',''),('name      = each.key','name      = [each.key]'),('name      = each.key','name      = each.foo'),('name      = each.key','name      = module.child["a"].result'),('name      = each.key','name      = null'),('numbers   = [1, 2, 3]','numbers   = ["a"]'),('numbers   = [1, 2, 3]','numbers   = 5'),('numbers   = [1, 2, 3]','numbers   = {}'),('numbers   = [1, 2, 3]','numbers   = [1, 2'),('null = null.other','null = null.nope'),('null = null.other','null.x = null.other'),('null = null.other','nul = null.other'),('null = null.other','null = "null.other"'),('null = null.other','null = terraform'),('module "single" {','module "child" {'),('module "single" {','module "sin gle" {'),('module "single" {','module {'),('module "single" {','module "single" "x" {'),('name    = local.obj.name','name    = local.obj.nam'),('name    = local.obj.name','name    = local.obj.name\n  lifecycle {}'),('name    = local.obj.name','name    = local.obj.name\n  foo {}'),('name    = local.obj.name','name    = local.obj.name\n  provider = null'),
 ('[for r in null_resource.many : r.id]','null_resource.many.id'),('[for r in null_resource.many : r.id]','null_resource.many[*].idd'),('[for r in null_resource.many : r.id]','null_resource.many.*.id.*'),('[for r in null_resource.many : r.id]','var.secret'),('[for r in null_resource.many : r.id]','"${var.secret}"'),('  value       = [for r in null_resource.many : r.id]\n',''),('description = "All"','description = 5 + 5\n  foo = 1'),('description = "All"','description = var.name'),('description = "All"','descripton = "All"'),('description = "All"','type = string'),('output "ids" {','output "children" {'),('output "ids" {','output "i ds" {'),('output "ids" {','output {'),('output "ids" {','outputs "ids" {'),
 ('k => m.result','k => m.resul'),('k => m.result','k = m.result'),('module.child : k','module.chil : k'),('length(var.secret) > 0','length(var.secret) > "x"'),('length(var.secret) > 0','var.secret'),('length(var.secret) > 0','length(var.nope) > 0'),
 ('check "health" {','check {'),('check "health" {','check "he alth" {'),('check "health" {','check "health" {\n  foo = 1'),('data.null_data_source.c.outputs["x"] == "y"','data.null_data_source.c.output["x"] == "y"'),('data.null_data_source.c.outputs["x"] == "y"','data.null_data_source.nope.outputs["x"] == "y"'),('data.null_data_source.c.outputs["x"] == "y"','true'),('    condition     = data.null_data_source.c.outputs["x"] == "y"\n',''),('Not healthy: ${var.name}.','Not healthy: ${var.nope}.'),('  data "null_data_source" "c" {','  data "null_data_source" "d" {'),('  data "null_data_source" "c" {','  data "null_data_source" "e" {}\n  data "null_data_source" "c" {'),
 ('from = null_resource.old','from = null_resource.one'),('from = null_resource.old','from = var.old'),('from = null_resource.old','from = module.x'),('from = null_resource.old','from = "null_resource.old"'),('  from = null_resource.old\n',''),('from = null_resource.old','from = data.x.y'),('from = null_resource.old','from = null_resource.old[count.index]'),('from = null_resource.old','form = null_resource.old'),('from = null_resource.old','from = null_resource.old.id'),
 ('from = terraform_data.gone','from = terraform_data.gone[0]'),('from = terraform_data.gone','from = data.x.y'),('from = terraform_data.gone','from = terraform_data.input'),('destroy = false','destroy = "x"'),('destroy = false','destory = false'),('    destroy = false\n',''),('  lifecycle {\n    destroy = false\n  }','  lifecycle {\n    destroy = false\n  }\n  provisioner "local-exec" {\n    command = "x"\n  }'),
 ('to = null_resource.one\n','to = null_resource.many\n'),('to = null_resource.one\n','to = null_resource.one[0]\n'),('to = null_resource.one\n','to = data.null_data_source.d\n'),('to = null_resource.one\n','to = module.single\n'),('to = null_resource.one\n','to = null_resource.zzz\n'),('  id = "abc"\n',''),('id = "abc"','id = null'),('id = "abc"','id = ""'),('id = "abc"','id = local.nope'),('id = "abc"','id = ["x"]'),('id = "abc"','id = var.secret'),('id = "abc"','id = "abc"\n  provider = null.nope'),('id = "abc"','id = "abc"\n  identity = {}'),
 ('import {','import "x" {'),('locals {','locals "x" {'),('locals {','local {'),('terraform {','terraform "x" {'),('moved {','move {'),('locals {','locals {\n  upper = 1'),('locals {','locals {}\nfoo = 1\nlocals {'),('locals {','locals {\n  1x = 2'),('locals {','locals {\n  foo {}'),('resource "terraform_data" "input" {','}\nresource "terraform_data" "input" {'),('resource "terraform_data" "input" {','resource "terraform_data" "input" {\n  resource "terraform_data" "nested" {}'),
 ('variable "secret" {','ephemeral "null_x" "y" {}\nvariable "secret" {'),('  sensitive = true\n}\n\nlocals','  ephemeral = true\n}\n\nlocals'),
]): m("m%03d %s"%(i,re.sub(r"\s+"," ",n)[:60]),o,n)
for i,(o,n) in enumerate([('type = string','type = list(string)'),('variable "name" {','variable "nam" {'),('length(var.numbers)','length(var.number)'),('length(var.numbers)','module.x.y'),('var.numbers[count.index]','var.numbers[count.inde]'),('var.numbers[count.index]','var.numbers.x'),('var.numbers[count.index]','each.key'),('null_resource.inner[*].id','null_resource.inner.id'),('null_resource.inner[*].id','null_resource.iner[*].id'),('null_resource.inner[*].id','null_resource.inner'),('"${var.name}-${local.joined}"','"${var.nam}-${local.joined}"'),('"${var.name}-${local.joined}"','local.joine'),('output "result" {','output "reslt" {'),('source = "hashicorp/null"','source = "other/null"'),('default = []','default = ["x"]'),('terraform {','terraform {\n  required_version = "< 1.0"'),('terraform {','terraform {\n  backend "local" {}'),('terraform {','provider "null" {\n  foo = 1\n}\nterraform {'),('locals {','import {\n  to = null_resource.inner[0]\n  id = "x"\n}\nlocals {'),('locals {','resource "null_resource" "inner" {}\nlocals {'),('type = string','type = string\n  validation {\n    condition = var.name == "q"\n    error_message = "Not q."\n  }'),('type = string','type = string\n  ephemeral = true'),('output "result" {','output "result" {\n  ephemeral = true'),('output "result" {','output "result" {\n  sensitive = true')]):
    m("c%03d %s"%(i,re.sub(r"\s+"," ",n)[:60]),o,n,"child/child.tf")
# systematic: drop each line, one at a time, of the root
for i,l in enumerate(T.split("\n")):
    if l.strip(): M.append(("l%03d drop %s"%(i+1,l.strip()[:50]),"main.tf",i,None))
cases=[]; skipped=0
for name,f,o,n in M:
    files=dict(BASE); t=files[f]
    if n is None: ls=t.split("\n"); del ls[o]; t="\n".join(ls)
    else:
        if o not in t: print("no match",name,repr(o)); continue
        t=t.replace(o,n,1)
    files[f]=t; cases.append([name,files])

def mutants():
    base = TMP / "base"; base.mkdir()
    for f, text in BASE.items(): (base / f).parent.mkdir(exist_ok=True); (base / f).write_text(text)
    subprocess.run(TOOLS[0] + ["init", "-input=false"], cwd=base, env=ENV, check=True, stdout=subprocess.DEVNULL)
    jobs = []
    for i, (name, files) in enumerate([["base", BASE]] + cases):
        d = TMP / f"{i:03}"
        shutil.copytree(base, d, symlinks=True); shutil.rmtree(d / ".terraform" / "modules", ignore_errors=True)
        for f, text in files.items(): (d / f).write_text(text)
        jobs.append(("mutants", name, d))
    return jobs

if __name__ == "__main__":
    words = [w for w in sys.argv[1:] if w != "-v"]
    try:
        if words[:1] == ["mutants"]: report(mutants(), "-v" in sys.argv)
        elif words[:1] == ["upstream"] and len(words) > 1: report(upstream(pathlib.Path(words[1]), words[2:]), "-v" in sys.argv)
        else: sys.exit(__doc__)
    finally: shutil.rmtree(TMP, ignore_errors=True)
