//! Inputs to begin with: small documents of every sort, and documents of absurd depth and size.

use std::collections::BTreeSet;

use consort_object::{Schema, proto};
use serde_json::{Value, json};

use crate::Target;
use crate::generate::{NAMES, TEXTS};

/// Nesting no reader may follow.
const DEEP: usize = 100_000;
/// Members no loop may go over twice for each.
const WIDE: usize = 20_000;

/// Words the fuzzer puts into inputs: it cannot find texts by comparing them.
pub fn words(target: &Target) -> Vec<Vec<u8>> {
    let mut words: BTreeSet<Vec<u8>> = NAMES
        .iter()
        .chain(&TEXTS)
        .map(|word| word.as_bytes().to_vec())
        .collect();
    if !target.choices {
        for message in Schema::builtin()
            .messages()
            .filter(|message| message.name.contains("core.v1"))
        {
            words.extend(
                message
                    .members
                    .iter()
                    .map(|field| format!("\"{}\"", field.name).into_bytes()),
            );
        }
        words.extend(MARKS.iter().map(|mark| mark.as_bytes().to_vec()));
    }
    words.retain(|word| !word.is_empty() && word.len() < 60);
    words.into_iter().collect()
}

const MARKS: [&str; 77] = [
    "$patch",
    "delete",
    "replace",
    "merge",
    "$retainKeys",
    "$setElementOrder/",
    "$deleteFromPrimitiveList/",
    "f:",
    "k:{",
    "v:",
    "i:",
    "\".\":{}",
    "{\"",
    "\":",
    "[]",
    "{}",
    "null",
    "\\u0000",
    "1e400",
    "-0",
    "\n\n",
    "k8s\0",
    " in (",
    " notin (",
    "!=",
    "==",
    "apiVersion",
    "managedFields",
    "fieldsV1",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-map-type",
    "additionalProperties",
    "properties",
    "items",
    "type",
    "object",
    "array",
    "string",
    "integer",
    "nullable",
    "default",
    "pattern",
    "format",
    "enum",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "required",
    "self.",
    "oldSelf",
    ".all(x, ",
    ".map(x, ",
    ".exists(x, ",
    "size(",
    "has(",
    ".matches(",
    "quantity(",
    "cidr(",
    "ip(",
    "url(",
    "duration(",
    "timestamp(",
    ".format([",
    "%s",
    "%.3f",
    "%x",
    "@every ",
    "@daily",
    "CRON_TZ=",
    "optional.of(",
    "?.",
];

/// Choices for generators: nothing, and bytes without a pattern.
pub fn choices() -> Vec<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let mut all = vec![Vec::new(), vec![0; 64], vec![255; 256]];
    for length in [
        16, 32, 64, 128, 256, 256, 512, 512, 1024, 1024, 2048, 4096, 4096,
    ] {
        all.push((0..length).map(|_| next()).collect());
    }
    all
}

fn texts<'t>(all: impl IntoIterator<Item = &'t str>) -> Vec<Vec<u8>> {
    all.into_iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// Documents that are deep or wide and nothing else.
fn extremes() -> Vec<Vec<u8>> {
    let wide: Vec<String> = (0..WIDE).map(|at| format!("\"k{at}\":{{}}")).collect();
    let same = "\"a\":1,".repeat(WIDE);
    [
        "[".repeat(DEEP),
        "{\"a\":".repeat(DEEP),
        format!("{}{}", "[".repeat(120), "]".repeat(120)),
        format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120)),
        format!("[{}0]", "0,".repeat(WIDE)),
        format!("{{{}}}", wide.join(",")),
        format!("{{{same}\"b\":2}}"),
        format!("\"{}\"", "\\u0041".repeat(WIDE)),
        "1".repeat(WIDE),
        format!("1e{}", "9".repeat(WIDE)),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"},
        "creationTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["a", "b"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true}]},
        "spec": {"containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}}}],
            "tolerations": [{"key": "a", "operator": "Exists"}], "volumes": [{"name": "v", "emptyDir": {}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": null}]}})
}

fn small_objects() -> Vec<Value> {
    vec![
        pod(),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}, "data": {"c": "YQ=="}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}, "binaryData": {"x": "AAEC"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3,
            "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "y"}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": "web"}]}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a.b"},
            "spec": {"group": "b", "scope": "Namespaced", "names": {"plural": "a", "kind": "A"}, "versions": [{"name": "v1",
            "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec":
            {"type": "object", "additionalProperties": {"type": "string"}, "default": {"a": "b"}}}}}}]}}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "preconditions": {"uid": "x"}, "propagationPolicy": "Foreground"}),
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"a": 1}]}),
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [pod()]}),
    ]
}

/// Objects as JSON.
pub fn objects() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = small_objects()
        .iter()
        .map(|object| object.to_string().into_bytes())
        .collect();
    all.extend(extremes());
    let env: Vec<Value> = (0..WIDE / 4)
        .map(|at| json!({"name": format!("e{at}")}))
        .collect();
    let mut large = pod();
    large["spec"]["containers"][0]["env"] = Value::Array(env);
    all.push(large.to_string().into_bytes());
    let deep = format!(
        "{}{}",
        "{\"not\":".repeat(110),
        "{}".to_owned() + &"}".repeat(110)
    );
    all.push(format!(
        "{{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"spec\":{{\"versions\":[{{\"schema\":{{\"openAPIV3Schema\":{deep}}}}}]}}}}"
    ).into_bytes());
    all
}

/// The `k8s\0` envelope around a message.
pub fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        out.push(tag << 3 | 2);
        let mut rest = bytes.len();
        while rest >= 0x80 {
            out.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
        out.extend_from_slice(bytes);
    }
    let mut meta = Vec::new();
    field(&mut meta, 1, api_version.as_bytes());
    field(&mut meta, 2, kind.as_bytes());
    let mut out = proto::MAGIC.to_vec();
    field(&mut out, 1, &meta);
    field(&mut out, 2, message);
    out
}

/// Objects as protobuf.
pub fn protobuf() -> Vec<Vec<u8>> {
    let schema = Schema::builtin();
    let mut all: Vec<Vec<u8>> = small_objects()
        .iter()
        .filter_map(|object| proto::encode(schema, object).ok())
        .collect();
    // Schemas within schemas: `not` is field 29 of JSONSchemaProps, `items` holds one in turn.
    for tag in [29u32, 26, 27] {
        let mut inner = Vec::new();
        for _ in 0..2_000 {
            let mut outer = Vec::new();
            varint(&mut outer, u64::from(tag << 3 | 2));
            varint(&mut outer, inner.len() as u64);
            outer.extend_from_slice(&inner);
            inner = outer;
        }
        let mut version = vec![0x22];
        let mut validation = vec![0x0A];
        varint(&mut validation, inner.len() as u64);
        validation.extend(inner);
        varint(&mut version, validation.len() as u64);
        version.extend(validation);
        let mut spec = vec![0x3A];
        varint(&mut spec, version.len() as u64);
        spec.extend(version);
        let mut object = vec![0x12];
        varint(&mut object, spec.len() as u64);
        object.extend(spec);
        all.push(envelope(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            &object,
        ));
    }
    all.push(envelope("v1", "Pod", &vec![0x0A; WIDE]));
    all.push(envelope("v1", "Pod", &b"\x0A\x02\x0A\x00".repeat(WIDE)));
    all.push(envelope("v1", "PodList", &b"\x12\x00".repeat(WIDE)));
    all.push(envelope("v1", "ConfigMap", &b"\x12\x00".repeat(WIDE)));
    all
}

/// [`protobuf`], without the envelope.
pub fn protobuf_messages() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..=255u8)
        .step_by(16)
        .map(|kind| vec![kind, 0, 10, 0])
        .collect();
    all.extend(protobuf().into_iter().map(|mut body| {
        body.truncate(4_000);
        body
    }));
    all
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn pairs(all: &[(Value, Value)]) -> Vec<Vec<u8>> {
    all.iter()
        .map(|(one, two)| format!("{one}\n\n{two}").into_bytes())
        .collect()
}

/// A document and a patch.
pub fn patches() -> Vec<Vec<u8>> {
    let mut all = pairs(&[
        (
            json!({"a": {"b": [1, 2, 3]}}),
            json!([{"op": "add", "path": "/a/b/-", "value": 4}, {"op": "move", "from": "/a/b/0", "path": "/c"}]),
        ),
        (
            json!({"a": [{"b": null}]}),
            json!([{"op": "test", "path": "/a/0/b", "value": null}, {"op": "copy", "from": "/a", "path": "/a/-"}]),
        ),
        (
            json!({"a": {"b": 1}, "c": [1]}),
            json!({"a": {"b": null, "d": {"e": null}}, "c": {"x": 1}}),
        ),
        (
            pod(),
            json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "b"}], "$setElementOrder/containers": [{"name": "b"}]}}),
        ),
        (
            pod(),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"$patch": "replace"}}}),
        ),
        (
            pod(),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}}),
        ),
    ]);
    // Each copies the document into itself.
    let double: Vec<Value> = (0..60)
        .map(|_| json!({"op": "copy", "from": "", "path": "/a"}))
        .collect();
    let nest: Vec<Value> = (0..2_000)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"}))
        .collect();
    let grow: Vec<Value> = (0..9_000)
        .map(|_| json!({"op": "add", "path": "/a/0", "value": 1}))
        .collect();
    all.extend(pairs(&[
        (json!({"a": {"b": "x".repeat(1_000)}}), Value::Array(double)),
        (json!({"a": {}}), Value::Array(nest)),
        (json!({"a": []}), Value::Array(grow)),
    ]));
    let deep = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
    all.push(format!("{deep}\n\n{deep}").into_bytes());
    let path = "/a".repeat(WIDE);
    all.push(
        format!("{deep}\n\n[{{\"op\":\"add\",\"path\":\"{path}\",\"value\":{deep}}}]").into_bytes(),
    );
    all
}

/// A live object and what is applied to it.
pub fn applies() -> Vec<Vec<u8>> {
    let mut live = pod();
    live["metadata"]["managedFields"] = json!([
        {"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}}}}}},
        {"manager": "other", "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {".": {}, "v:\"a\"": {}}}}},
    ]);
    let mut many = live.clone();
    let entry = many["metadata"]["managedFields"][1].clone();
    many["metadata"]["managedFields"] = (0..2_000)
        .map(|at| {
            let mut entry = entry.clone();
            entry["manager"] = format!("m{at}").into();
            entry
        })
        .collect();
    let ports: Vec<Value> = (0..WIDE / 4)
        .map(|at| json!({"containerPort": at, "protocol": "TCP"}))
        .collect();
    let mut large = live.clone();
    large["spec"]["containers"][0]["ports"] = Value::Array(ports.clone());
    pairs(&[
        (
            live.clone(),
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "y"}]}}),
        ),
        (
            live.clone(),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "z"}}}),
        ),
        (
            many,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "z"}, "finalizers": ["a"]}}),
        ),
        (
            large,
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "ports": ports}]}}),
        ),
        (pod(), pod()),
    ])
}

/// `FieldsV1`, two of them, and lists of managed fields.
pub fn managed_fields() -> Vec<Vec<u8>> {
    let set = json!({"f:a": {".": {}, "k:{\"name\":\"x\",\"port\":80}": {".": {}, "f:y": {}}, "v:\"z\"": {}, "v:1.5": {}, "i:0": {}}, "f:b": {}});
    let wide: serde_json::Map<String, Value> = (0..WIDE / 2)
        .map(|at| (format!("k:{{\"name\":\"{at}\"}}"), json!({".": {}})))
        .collect();
    let mut all = pairs(&[
        (set.clone(), json!({"f:a": {"i:0": {}}, "f:c": {}})),
        (set.clone(), set.clone()),
        (json!({"f:x": wide}), json!({"f:x": {}})),
    ]);
    all.push(json!([{"manager": "m", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": set}]).to_string().into_bytes());
    all.push(format!("{}{{}}{}", "{\"f:a\":".repeat(120), "}".repeat(120)).into_bytes());
    let key = format!("k:{}1{}", "{\\\"a\\\":".repeat(5_000), "}".repeat(5_000));
    all.push(format!("{{\"{key}\":{{}}}}").into_bytes());
    let key = format!("v:{}", "[".repeat(DEEP));
    all.push(format!("{{\"{key}\":{{}}}}").into_bytes());
    all
}

/// Label selectors.
pub fn label_selectors() -> Vec<Vec<u8>> {
    let mut all = texts([
        "app=web,tier in (front, back),!canary",
        "a==b,c!=d",
        "x notin (a,,b)",
        "n>5,n<7",
        "a in ()",
        "in in (in)",
        "a,b,!c",
        " = ",
        "x.y/z=",
        "a=b,",
        r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["d"]}]}"#,
        r#"{"matchExpressions":[{"key":"n","operator":"Gt","values":["5"]}]}"#,
    ]);
    all.push("a=b,".repeat(WIDE).into_bytes());
    all.push(format!("a in ({}b)", "a,".repeat(WIDE)).into_bytes());
    all.push("(".repeat(DEEP).into_bytes());
    all.push("!".repeat(DEEP).into_bytes());
    all
}

/// Field selectors.
pub fn field_selectors() -> Vec<Vec<u8>> {
    let mut all = texts([
        "spec.nodeName=n1,status.phase!=Running",
        "a==b",
        r"a=\,\=\\",
        r"a=\x",
        "metadata.name=",
        ",",
        "=",
    ]);
    all.push("a=b,".repeat(WIDE).into_bytes());
    all.push("a=\\\\".repeat(WIDE).into_bytes());
    all
}

/// A schema and an object.
pub fn schemas() -> Vec<Vec<u8>> {
    let widget = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1, "default": 3}, "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 10},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}}}},
        "any": {"x-kubernetes-preserve-unknown-fields": true}, "either": {"x-kubernetes-int-or-string": true},
        "map": {"type": "object", "additionalProperties": {"type": "string", "nullable": true}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}},
        "x-kubernetes-validations": [{"rule": "self.size < 10", "message": "m"}]}}});
    let object = json!({"apiVersion": "a/v1", "kind": "W", "metadata": {"name": "w"}, "spec": {"size": 1, "name": "x", "ports": [{"port": 1}, {"port": 1}],
        "any": {"x": 1}, "either": "1", "map": {"a": null}, "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 1}}, "gone": 1}});
    let mut all = pairs(&[
        (widget, object.clone()),
        (
            json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "string"}, "b": {"type": "number", "multipleOf": 0.1}}}),
            object.clone(),
        ),
    ]);
    let mut nested = json!({"type": "string"});
    let mut logical = json!({"pattern": "^a"});
    for _ in 0..40 {
        nested = json!({"type": "object", "properties": {"a": nested}, "default": {}});
        logical = json!({"anyOf": [logical.clone(), {"not": logical}]});
        if logical.to_string().len() > 40_000 {
            break;
        }
    }
    all.extend(pairs(&[
        (nested, json!({})),
        (json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"properties": {"a": logical}}]}), json!({"a": "b"})),
    ]));
    let items: Vec<Value> = (0..WIDE / 4)
        .map(|at| json!({"key": at.to_string()}))
        .collect();
    let list = json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
        "items": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}}, "u": {"type": "array", "uniqueItems": false,
        "x-kubernetes-list-type": "set", "items": {"type": "string"}}}});
    let values: Vec<String> = (0..WIDE / 4).map(|at| at.to_string()).collect();
    all.extend(pairs(&[(list, json!({"l": items, "u": values}))]));
    let deep = format!(
        "{}{{}}{}",
        "{\"properties\":{\"a\":".repeat(55),
        "}}".repeat(55)
    );
    all.push(format!("{deep}\n\n{{}}").into_bytes());
    all
}

/// Expressions.
pub fn expressions() -> Vec<Vec<u8>> {
    let mut all = texts([
        "self.a > 1 && self.s.startsWith('a')",
        "self.list.all(x, x > 0)",
        "self.items.exists_one(i, i.key == 'a')",
        "self.map.map(k, self.map[k])",
        "has(self.spec.name) ? self.spec.name : 'x'",
        "self.texts.filter(t, t.matches('^a+$')).size() > 0",
        "quantity('1Gi').isGreaterThan(quantity('1'))",
        "url(self.u).getHost() == 'h'",
        "ip('10.0.0.1').family() == 4",
        "cidr('10.0.0.0/8').containsIP('10.0.0.1')",
        "self.nested.flatten().sortBy(x, x)",
        "'%s %d %.3f %x'.format(['a', 1, 2.5, 255])",
        "sets.contains(self.set, ['a'])",
        "timestamp(self.when).getFullYear()",
        "duration('1h') + self.long",
        "[1, 2].map(x, [x, x]).map(y, y[0])",
        "self.?spec.?name.orValue('x')",
        "semver('1.2.3').isLessThan(semver('2.0.0'))",
        "format.dns1123Label().validate('a').hasValue()",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "cel.bind(x, self.s + self.s, x + x)",
        "{'a': 1, 'b': [2]}.b[0] in self.list",
        "self.s.split('.').join('/')",
        "Object{spec: Object.spec{a: 1}}",
        "[JSONPatch{op: 'add', path: '/a', value: 1}]",
        "b'\\xff' + bytes('a')",
        "self.list.map(a, self.list.map(b, self.list.map(c, self.list.map(d, a + b + c + d))))",
        "dyn.x.y[3] + 1.0",
        "lists.range(5)",
        "self.map.transformMap(k, v, v + k)",
        "self.texts.sum() == '' || self.list.sum() > 3",
        "\"\\u00e9\".lowerAscii()",
        "self.s.replace('a', 'bb', -1)",
    ]);
    all.extend(
        [
            "(".repeat(DEEP),
            "[".repeat(DEEP),
            "{1:".repeat(DEEP),
            "!".repeat(DEEP),
            "-".repeat(DEEP),
            format!("{}1{}", "(".repeat(200), ")".repeat(200)),
            format!("1{}", " + 1".repeat(WIDE)),
            format!("true{}", " && true".repeat(WIDE)),
            format!("self{}", ".a".repeat(WIDE)),
            format!("[{}1]", "1,".repeat(WIDE)),
            format!("{}1{}", "true ? 1 : (".repeat(1_000), ")".repeat(1_000)),
            format!("'{}'", "a".repeat(DEEP)),
            format!("'{}'.matches('{}')", "a".repeat(5_000), "(a*)*".repeat(100)),
            format!("self.list{}", ".map(x, [x])".repeat(500)),
            "'%s'.format(['x'])".replace("%s", &"%s".repeat(5_000)),
            "9".repeat(WIDE),
            "self.s".to_owned()
                + &".replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')"
                    .repeat(12),
            "lists.range(1000000000000)".to_owned(),
            "self.s + self.s".to_owned() + &".replace('a', self.u + self.u)".repeat(40),
        ]
        .map(String::into_bytes),
    );
    all
}

/// Quantities.
pub fn quantities() -> Vec<Vec<u8>> {
    let mut all = texts([
        "100m",
        "1Gi",
        "1e3",
        "1E",
        "0.5",
        "-3k",
        "+.5",
        "1e-9",
        "12E6",
        "1n",
        "9223372036854775807",
        "1e400",
        "0.00000000001",
        "1.",
        ".",
        "Ki",
    ]);
    all.push("9".repeat(WIDE).into_bytes());
    all.push(format!("0.{}1", "0".repeat(WIDE)).into_bytes());
    all.push(format!("1e{}", "9".repeat(WIDE)).into_bytes());
    all
}

/// Schedules.
pub fn schedules() -> Vec<Vec<u8>> {
    let mut all = texts([
        "*/5 * * * *",
        "0 0 29 2 *",
        "@every 1h30m",
        "@daily",
        "TZ=UTC 1-5/2,7 */2 ? JAN-MAR mon",
        "0 0 31 4 *",
        "CRON_TZ=Europe/Berlin 0 2 * * *",
        "*/0 * * * *",
        "4294967295/4294967295 * * * *",
    ]);
    all.push("1,".repeat(WIDE).into_bytes());
    all.push("* ".repeat(WIDE).into_bytes());
    all
}

/// Patterns and subjects.
pub fn patterns() -> Vec<Vec<u8>> {
    let mut all = texts([
        "^[a-z]+$\nabc",
        "(a+)+$",
        "a{1000}",
        "((a{100}){100}){100}",
        r"\p{Greek}\nα",
        r"(?P<n>a)(?i:b)",
        r"\Q.\E",
        "[[:alpha:]]",
        "(?:a|b)*c",
        r"\z",
        r"\8",
        "[a-",
        "(?#x)",
    ]);
    all.push("(".repeat(DEEP).into_bytes());
    all.push(format!("{}a{}", "(".repeat(900), ")".repeat(900)).into_bytes());
    all.push("a?".repeat(5_000).into_bytes());
    all.push("a{0,1000}".repeat(200).into_bytes());
    all.push(r"\pL".repeat(200).into_bytes());
    all.push("(?i)[^x]{999}".repeat(2).into_bytes());
    all
}

/// Texts of all sorts.
pub fn scalars() -> Vec<Vec<u8>> {
    let mut all = texts(TEXTS);
    all.extend(texts([
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999-23:59",
        "0000-01-01T00:00:00Z",
        "a.example.com",
        "*.a.b",
        "user@host",
        "http://[::1]:80/%zz",
        "110%",
        "1-2-3-4",
    ]));
    all.push("a".repeat(DEEP).into_bytes());
    all.push("a.".repeat(DEEP).into_bytes());
    all.push("1h".repeat(WIDE).into_bytes());
    all
}

/// Configurations, native and JSON.
pub fn configurations() -> Vec<Vec<u8>> {
    texts([
        "a = 1\nb \"x\" y {\n  c = [1, \"two\", true]\n  d = { e = f.g, (h) = \"${i}\" }\n}\n",
        "variable \"v\" {\n  type    = list(object({ a = optional(string, \"x\") }))\n  default = []\n}\n",
        "resource \"r\" \"n\" {\n  for_each = { for k, v in var.m : k => v... if v != null }\n  x = <<-EOT\n    a ${each.key}\n    %{ if true ~}\n    b\n    %{ endif }\n  EOT\n}\n",
        "# c\nlocals { a = b[*].c\nd = e.*.f }\n/* x */ // y\n",
        "a = <<X\n\nX\n",
        "a { b {} }",
        "x = !-1 == 2 ? 3 : 4 % 5\n",
        r#"{"resource":{"r":{"n":{"a":"${b}","c":[{"d":1}],"//":"x"}}},"locals":[{"a":1},{"b":"%%{x}"}]}"#,
    ])
}

/// Expressions and templates.
pub fn hcl_expressions() -> Vec<Vec<u8>> {
    texts([
        "var.a[2].b",
        "[for x in var.a : x if can(x.b)]",
        "{for k, v in var.m : k => v}",
        "try(u.x, 1)",
        "var.a[*]",
        "\"${var.s}-%{if true}x%{else}y%{endif}\"",
        "u + 1",
        "s == \"x\" ? [1] : [2, 3]",
        "-1.5e3 % 2",
        "{a = 1, \"b\" = [], (var.s) = null}",
        "var.m[\"k\"]",
        "<<-E\n  x\n  ${1}\n E\n",
        "1 == \"1\"",
        "!u",
        "%{ for x in var.a ~}${x}%{ endfor }",
        "$${x} %%{y}",
        "0.1 + 0.2",
        "1e1000000000",
        "[1, \"a\", true]...",
    ])
}

/// Values in msgpack and JSON.
pub fn hcl_values() -> Vec<Vec<u8>> {
    let mut all = vec![
        b"\x92\xc4\x08\"string\"\xa1a".to_vec(),
        b"\x92\xc4\x10[\"list\",\"number\"]\x93\x01\xcb\x3f\xf8\0\0\0\0\0\0\xa41e30".to_vec(),
        b"\xd4\0\0".to_vec(),
        b"\xc7\x03\x0c\x81\x01\xc2".to_vec(),
        b"\x82\xa1a\x01\xa1b\x92\xc4\x09\"dynamic\"\xd4\0\0".to_vec(),
        b"\xdd\xff\xff\xff\xff".to_vec(),
        b"\xdf\xff\xff\xff\xff\xa1a".to_vec(),
        b"\xdb\xff\xff\xff\xff".to_vec(),
        b"\x93\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa31e9\xa91e9999999".to_vec(),
    ];
    all.extend(texts([
        r#"{"a":1,"b":{"type":"string","value":"x"}}"#,
        r#"["a","b"]"#,
        r#"{"k":1e30}"#,
    ]));
    all
}

/// Tokens and certificates.
#[cfg(feature = "server")]
pub fn identities() -> Vec<Vec<u8>> {
    let mut all = texts([
        "abcdef.0123456789abcdef",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3VlciJ9.c2ln",
        "..",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
    ]);
    all.push(
        format!(
            "{}.{}.{}",
            "e".repeat(DEEP),
            "W1tb".repeat(WIDE),
            "A".repeat(DEEP)
        )
        .into_bytes(),
    );
    all.push(b"\x30\x80".repeat(WIDE));
    all.push(b"\x30\x84\xff\xff\xff\xff".to_vec());
    all
}

/// Audit policies and authentication configurations.
#[cfg(feature = "server")]
pub fn policies() -> Vec<Vec<u8>> {
    let mut all = texts([
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  users: [a]\n  verbs: [get]\n  resources: [{group: '', resources: [pods/log]}]\n  nonResourceURLs: ['/x*']\n",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {url: 'https://i', audiences: [a]}\n  claimMappings: {username: {expression: 'claims.sub'}}\n  claimValidationRules: [{expression: 'claims.x == 1', message: m}]\nanonymous: {enabled: true}\n",
    ]);
    all.extend(extremes());
    let aliases = vec!["*a"; WIDE].join(",");
    all.push(format!("a: &a [x,x,x,x,x,x,x,x,x]\nb: [{aliases}]\n").into_bytes());
    all
}

/// The file of the store's log that is put in place of another.
#[cfg(feature = "server")]
pub const LOG: &str = "0000000001.log";

/// The log of a store with a few objects, and parts of it.
#[cfg(feature = "server")]
pub fn logs() -> Vec<Vec<u8>> {
    let written = || -> Option<Vec<u8>> {
        use consort_store::{Expect, Key, Options, Store, Write};
        let dir = tempfile::TempDir::new().ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        runtime.block_on(async {
            let store = Store::open(Options::new(dir.path())).ok()?;
            for object in small_objects()
                .iter()
                .filter(|object| object["metadata"]["name"].is_string())
            {
                let key = Key::new(
                    "",
                    "things",
                    Some("default"),
                    object["metadata"]["name"].as_str()?,
                )
                .ok()?;
                let draft = consort_object::Draft::from_value(object, Vec::new()).ok()?;
                let write = Write::Put {
                    key,
                    draft,
                    expect: Expect::Any,
                };
                store.commit(vec![write]).await.ok()?;
            }
            store.close().await;
            std::fs::read(dir.path().join(LOG)).ok()
        })
    };
    let mut whole = written().unwrap_or_default();
    while whole.last() == Some(&0) {
        whole.pop();
    }
    let mut torn = whole.clone();
    torn.truncate(whole.len() / 2);
    let mut flipped = whole.clone();
    if let Some(byte) = flipped.get_mut(whole.len() / 3) {
        *byte ^= 0x10;
    }
    let header = whole.get(..16).unwrap_or_default().to_vec();
    let mut huge = header.clone();
    huge.extend([0xFF; 64]);
    vec![whole, torn, flipped, header, huge]
}
