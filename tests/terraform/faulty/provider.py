"""A provider that does wrong what its resources ask for, in the attribute `mode`. Speaks protocol 6 with the package `tf`
(PyPI); `compare.py` installs it as example.com/test/faulty where FAULTY_PYTHON names a Python that has the package.

Release 2 has another schema for `faulty_old`. `FAULTY_MARK` names a file that is made when a call begins to hang."""
import json, os, pathlib, sys, threading, time
from tf import runner
import tf.provider
from tf.gen import tfplugin_pb2 as pb
from tf.types import Unknown
from tf.utils import read_dynamic_value as read, to_dynamic_value

STOPPED = threading.Event()

def attribute(name, kind="string", **flags):
    return pb.Schema.Attribute(name=name, type=json.dumps(kind).encode(), **flags)

def thing():
    rule = pb.Schema.NestedBlock(type_name="rule", nesting=pb.Schema.NestedBlock.LIST, block=pb.Schema.Block(
        attributes=[attribute("port", "number", required=True), attribute("note", optional=True)]))
    return pb.Schema(version=0, block=pb.Schema.Block(block_types=[rule], attributes=[
        attribute("id", computed=True), attribute("name", optional=True), attribute("mode", optional=True),
        attribute("extra", optional=True, computed=True), attribute("tags", ["map", "string"], optional=True),
        attribute("list", ["list", "number"], optional=True), attribute("secret", optional=True, sensitive=True)]))

RELEASE = 2 if "_v2" in sys.argv[0] else 1

def old():
    name = "title" if RELEASE == 2 else "name"
    return pb.Schema(version=RELEASE - 1, block=pb.Schema.Block(attributes=[attribute("id", computed=True), attribute(name, optional=True)]))

def value(found):
    return to_dynamic_value(found) if found is not None else pb.DynamicValue(msgpack=b"\xc0")

def problem(summary, detail, *path, severity=pb.Diagnostic.ERROR):
    steps = [pb.AttributePath.Step(element_key_int=step) if isinstance(step, int)
             else pb.AttributePath.Step(element_key_string=step[1:]) if step.startswith("@")
             else pb.AttributePath.Step(attribute_name=step) for step in path]
    return pb.Diagnostic(severity=severity, summary=summary, detail=detail, attribute=pb.AttributePath(steps=steps) if steps else None)

def hang():
    if os.environ.get("FAULTY_MARK"): pathlib.Path(os.environ["FAULTY_MARK"]).touch()
    return STOPPED.wait(60)

class Servicer(tf.provider.ProviderServicer):
    def __init__(self, app): pass
    def GetMetadata(self, request, context):
        return pb.GetMetadata.Response(server_capabilities=pb.ServerCapabilities(plan_destroy=True))
    def GetProviderSchema(self, request, context):
        return pb.GetProviderSchema.Response(
            provider=pb.Schema(block=pb.Schema.Block(attributes=[attribute("mode", optional=True)])),
            server_capabilities=pb.ServerCapabilities(plan_destroy=True),
            resource_schemas={"faulty_thing": thing(), "faulty_old": old()},
            data_source_schemas={"faulty_data": thing()})
    def ValidateProviderConfig(self, request, context):
        return pb.ValidateProviderConfig.Response()
    def ConfigureProvider(self, request, context):
        config = read(request.config)
        found = []
        if config and config.get("mode") == "refuse": found = [problem("Cannot sign in", "The account is closed.", "mode")]
        if config and config.get("mode") == "crash": os._exit(3)
        return pb.ConfigureProvider.Response(diagnostics=found)
    def ValidateResourceConfig(self, request, context):
        config, found = read(request.config), []
        mode = config.get("mode")
        if mode == "refuse_name": found = [problem("Bad name", "That name is taken.", "name")]
        if mode == "refuse_tag": found = [problem("Bad tag", "The tag is too long.", "tags", "@b")]
        if mode == "refuse_rule": found = [problem("Bad port", "The port is in use.", "rule", 1, "port")]
        if mode == "refuse_list": found = [problem("Bad element", "The number is odd.", "list", 1)]
        if mode == "warn": found = [problem("Old name", "The name is out of fashion.", "name", severity=pb.Diagnostic.WARNING)]
        if mode == "refuse_all": found = [problem("Not possible", "No such thing can be made.")]
        return pb.ValidateResourceConfig.Response(diagnostics=found)
    def ValidateDataResourceConfig(self, request, context):
        return pb.ValidateDataResourceConfig.Response()
    def UpgradeResourceState(self, request, context):
        state = json.loads(request.raw_state.json)
        if request.type_name == "faulty_old" and RELEASE == 2 and request.version == 0:
            if state["name"] == "stuck":
                return pb.UpgradeResourceState.Response(diagnostics=[problem("Cannot upgrade", "The object is too old.")])
            state = {"id": state["id"], "title": state["name"]}
        return pb.UpgradeResourceState.Response(upgraded_state=value(state))
    def ReadResource(self, request, context):
        state = read(request.current_state)
        mode = state.get("mode")
        if mode == "crash_read": os._exit(3)
        if mode == "gone": return pb.ReadResource.Response(new_state=value(None))
        if mode == "drift": state["extra"] = "changed outside"
        if mode == "fail_read": return pb.ReadResource.Response(diagnostics=[problem("Cannot look", "No answer.", "name")])
        return pb.ReadResource.Response(new_state=value(state), private=request.private)
    def PlanResourceChange(self, request, context):
        prior, proposed, config = read(request.prior_state), read(request.proposed_new_state), read(request.config)
        R = pb.PlanResourceChange.Response
        if proposed is None:
            return R(planned_state=value({"id": "still here"} | dict(prior)) if prior.get("mode") == "plan_no_destroy" else value(None))
        if request.type_name == "faulty_old":
            if prior is None: proposed["id"] = Unknown
            return R(planned_state=value(proposed))
        mode = config.get("mode")
        if prior is None: proposed["id"] = Unknown
        if prior is None and config.get("extra") is None: proposed["extra"] = Unknown
        if mode == "plan_name": proposed["name"] = "other"
        if mode == "plan_null_name": proposed["name"] = None
        if mode == "plan_tags": proposed["tags"] = {"a": "x"}
        if mode == "plan_rule": proposed["rule"] = []
        if mode == "final" : proposed["extra"] = "planned" if config.get("name") is Unknown else "final"
        if mode == "crash_plan": os._exit(3)
        if mode == "fail_plan": return R(diagnostics=[problem("Cannot plan", "Out of room.", "name")])
        if mode == "replace" and prior is not None:
            return R(planned_state=value(proposed), requires_replace=[pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name="name")])])
        legacy = bool(mode and mode.startswith("legacy"))
        if mode == "legacy_plan": proposed["name"] = "legacy"
        return R(planned_state=value(proposed), legacy_type_system=legacy, planned_private=b"p")
    def ApplyResourceChange(self, request, context):
        prior, planned, config = read(request.prior_state), read(request.planned_state), read(request.config)
        R = pb.ApplyResourceChange.Response
        if planned is None:
            mode = prior.get("mode")
            if mode == "keep_destroy": return R(new_state=value(prior))
            if mode == "fail_destroy": return R(new_state=value(prior), diagnostics=[problem("Cannot delete", "It is in use.")])
            if mode == "crash_destroy": os._exit(3)
            return R(new_state=value(None))
        new = dict(planned)
        if new.get("id") is Unknown: new["id"] = "id-" + (new.get("name") or new.get("title") or "none")
        if "extra" in new and new["extra"] is Unknown: new["extra"] = "made"
        mode = planned.get("mode")
        if mode == "apply_name": new["name"] = "other"
        if mode == "apply_tags": new["tags"] = {"a": "1", "z": "26"}
        if mode == "apply_rules": new["rule"] = new["rule"] + [{"port": 1, "note": None}]
        if mode == "apply_secret": new["secret"] = "different"
        if mode == "legacy_apply": new["name"] = "legacy"
        if mode == "apply_unknown": new["extra"] = Unknown
        if mode == "apply_null": return R(new_state=value(None))
        if mode == "apply_error": return R(new_state=value(new), diagnostics=[problem("Cannot finish", "Half of it is made.", "name")])
        if mode == "apply_error_null": return R(new_state=value(None), diagnostics=[problem("Cannot begin", "Nothing is made.")])
        if mode == "apply_warn": return R(new_state=value(new), diagnostics=[problem("Slow", "It took long.", "name", severity=pb.Diagnostic.WARNING)])
        if mode == "crash_apply": os._exit(3)
        if mode == "hang" and hang():
            return R(new_state=value(new), diagnostics=[problem("Stopped", "The provider was asked to stop.")])
        if mode == "finish":
            hang()
        return R(new_state=value(new), legacy_type_system=bool(mode and mode.startswith("legacy")), private=b"a")
    def ImportResourceState(self, request, context):
        R = pb.ImportResourceState
        if request.id == "none": return R.Response()
        if request.id == "two": return R.Response(imported_resources=2 * [R.ImportedResource(type_name=request.type_name, state=value(self.imported("two")))])
        if request.id == "fail": return R.Response(diagnostics=[problem("Cannot import", "No such thing.")])
        return R.Response(imported_resources=[R.ImportedResource(type_name=request.type_name, state=value(self.imported(request.id)))])
    def imported(self, name):
        mode = "gone" if name == "gone" else None
        return {"id": "id-" + name, "name": name, "mode": mode, "extra": "made", "tags": None, "list": None, "secret": None, "rule": []}
    def ReadDataSource(self, request, context):
        config = read(request.config)
        mode = config.get("mode")
        if mode == "fail": return pb.ReadDataSource.Response(diagnostics=[problem("Cannot read", "Not allowed.", "name")])
        if mode == "null": return pb.ReadDataSource.Response(state=value(None))
        if mode == "unknown": return pb.ReadDataSource.Response(state=value(config | {"id": Unknown}))
        if mode == "crash": os._exit(3)
        return pb.ReadDataSource.Response(state=value(config | {"id": "d", "extra": "read"}))
    def StopProvider(self, request, context):
        STOPPED.set()
        return pb.StopProvider.Response()

class Faulty:
    def full_name(self): return "example.com/test/faulty"

# The runner ends the process when it is stopped; the answer to the call under way is to get out first.
runner._ShutdownInterceptor.intercept_service = lambda self, go_on, details: self._seen(go_on, details)
def seen(self, go_on, details):
    if details.method == "/plugin.GRPCController/Shutdown": self.stopped = True
    return go_on(details)
runner._ShutdownInterceptor._seen = seen
tf.provider.ProviderServicer = Servicer
runner.run_provider(Faulty())
