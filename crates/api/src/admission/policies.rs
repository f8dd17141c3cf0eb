//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions instead of webhooks.
//!
//! Follows the API reference of `admissionregistration.k8s.io` and the wording of upstream's policy
//! plug-ins.

use super::chain::Notes;
use super::expressions::{Condition, Facts, Verdict, policy_env, truth};
use super::params::{Missing, Params};
use super::rules::Matcher;
use super::{Request, shown};
use crate::error::{Failure, Outcome};
use crate::kind::Kind;
use crate::values::{at, items, name, text};
use consort_cel::{Bindings, Budget, Env, Memo, Program, Type, Value as Cel, Variables};
use consort_object::apply;
use consort_object::patch;
use consort_object::schema::Gvk;
use consort_object::status::{Cause, Status};
use serde_json::{Value, json};

/// The longest message an expression may give.
const MESSAGE_BYTES: usize = 5 * 1024;

/// What validating and mutating policies have in common.
pub(super) struct Policy {
    pub(super) name: String,
    mutating: bool,
    ignores_failure: bool,
    pub(super) reinvoked: bool,
    /// The kind of its parameters, if it takes any.
    params: Option<Gvk>,
    /// What it does, or why it can do nothing.
    rules: Result<Rules, String>,
}

struct Rules {
    matcher: Matcher,
    conditions: Vec<Condition>,
    variables: Variables,
    validations: Vec<Validation>,
    annotations: Vec<(String, Program)>,
    mutations: Vec<Mutation>,
}

struct Validation {
    expression: String,
    program: Program,
    message: String,
    message_program: Option<Program>,
    reason: String,
}

enum Mutation {
    /// An expression that gives a configuration to be merged in.
    Apply(Program),
    /// An expression that gives a list of JSON patch operations.
    Json(Program),
}

/// One binding of a policy.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    matcher: Result<Matcher, String>,
    params: Option<Params>,
    denies: bool,
    warns: bool,
    audits: bool,
}

/// Compile everything in a policy; `check` is told of every fault with the path of its field.
fn compile(
    spec: &Value,
    mutating: bool,
    object: &Type,
    mut fault: impl FnMut(String, &str, String),
) -> Option<Rules> {
    let base = if mutating {
        Env::mutation()
    } else {
        Env::kubernetes()
    };
    let mut env = policy_env(base, at(spec, &["paramKind"]).is_some(), object);
    let mut whole = true;
    let mut compiled = |env: &Env, path: String, text: &str, wanted: Option<&Type>| match env
        .compile(text, wanted)
    {
        Ok(program) => Some(program),
        Err(issues) => {
            whole = false;
            fault(path, text, format!("compilation failed: {issues}"));
            None
        }
    };
    let mut variables = Variables::default();
    for (index, variable) in items(spec, &["variables"]).iter().enumerate() {
        let path = format!("spec.variables[{index}].expression");
        if let Some(program) = compiled(&env, path, text(variable, &["expression"]), None) {
            variables.push(text(variable, &["name"]), program);
            env = env.with_variables(&variables);
        }
    }
    let mut validations = Vec::new();
    for (index, validation) in items(spec, &["validations"]).iter().enumerate() {
        let expression = text(validation, &["expression"]);
        let path = format!("spec.validations[{index}]");
        let program = compiled(
            &env,
            format!("{path}.expression"),
            expression,
            Some(&Type::Bool),
        );
        let message_program = at(validation, &["messageExpression"])
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .and_then(|text| {
                compiled(
                    &env,
                    format!("{path}.messageExpression"),
                    text,
                    Some(&Type::String),
                )
            });
        if let Some(program) = program {
            validations.push(Validation {
                expression: expression.trim().to_owned(),
                program,
                message: text(validation, &["message"]).trim().to_owned(),
                message_program,
                reason: text(validation, &["reason"]).to_owned(),
            });
        }
    }
    let mut annotations = Vec::new();
    for (index, annotation) in items(spec, &["auditAnnotations"]).iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}].valueExpression");
        // A text or null: which of them shows when it runs.
        if let Some(program) = compiled(&env, path, text(annotation, &["valueExpression"]), None) {
            annotations.push((text(annotation, &["key"]).to_owned(), program));
        }
    }
    let mut mutations = Vec::new();
    for (index, mutation) in items(spec, &["mutations"]).iter().enumerate() {
        let path = format!("spec.mutations[{index}]");
        if let Some(source) = at(mutation, &["applyConfiguration", "expression"]) {
            let source = source.as_str().unwrap_or_default();
            mutations.extend(
                compiled(
                    &env,
                    format!("{path}.applyConfiguration.expression"),
                    source,
                    Some(&Type::mutation_object()),
                )
                .map(Mutation::Apply),
            );
        } else if let Some(source) = at(mutation, &["jsonPatch", "expression"]) {
            let source = source.as_str().unwrap_or_default();
            mutations.extend(
                compiled(
                    &env,
                    format!("{path}.jsonPatch.expression"),
                    source,
                    Some(&Type::mutation_patches()),
                )
                .map(Mutation::Json),
            );
        }
    }
    let mut conditions = Vec::new();
    for (index, condition) in items(spec, &["matchConditions"]).iter().enumerate() {
        match Condition::list(std::slice::from_ref(condition), &env) {
            Ok(one) => conditions.extend(one),
            Err(why) => {
                whole = false;
                let path = format!("spec.matchConditions[{index}].expression");
                fault(path, text(condition, &["expression"]), why);
            }
        }
    }
    let matcher = match Matcher::new(
        at(spec, &["matchConstraints"]).unwrap_or(&Value::Null),
        "resourceRules",
    ) {
        Ok(matcher) => matcher,
        Err(why) => {
            fault("spec.matchConstraints".into(), "", why);
            return None;
        }
    };
    whole.then_some(Rules {
        matcher,
        conditions,
        variables,
        validations,
        annotations,
        mutations,
    })
}

/// The faults of a policy's expressions: field, expression, what is wrong.
pub(crate) fn faults(policy: &Value, mutating: bool) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let spec = at(policy, &["spec"]).unwrap_or(&Value::Null);
    compile(spec, mutating, &Type::Dyn, |path, text, why| {
        found.push((path, text.to_owned(), why));
    });
    found
}

/// The faults of a validating policy's expressions for objects of this type: field and fault.
pub(super) fn type_faults(policy: &Value, object: &Type) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let spec = at(policy, &["spec"]).unwrap_or(&Value::Null);
    compile(spec, false, object, |path, _, why| {
        let why = why.trim_start_matches("compilation failed: ");
        found.push((path, why.to_owned()));
    });
    found
}

/// How a policy ended for one binding and one parameter.
enum Decision {
    Admit,
    Deny { message: String, reason: String },
}

impl Policy {
    /// A policy as it is stored.
    pub(super) fn new(policy: &Value, mutating: bool) -> Self {
        let spec = at(policy, &["spec"]).unwrap_or(&Value::Null);
        let mut first = None;
        let rules = compile(spec, mutating, &Type::Dyn, |path, _, why| {
            first.get_or_insert_with(|| format!("{path}: {why}"));
        });
        let params = at(spec, &["paramKind"])
            .map(|kind| Gvk::from_api_version(text(kind, &["apiVersion"]), text(kind, &["kind"])));
        Self {
            name: name(policy).to_owned(),
            mutating,
            ignores_failure: text(spec, &["failurePolicy"]) == "Ignore",
            reinvoked: text(spec, &["reinvocationPolicy"]) == "IfNeeded",
            params,
            rules: rules.ok_or_else(|| first.unwrap_or_else(|| "it could not be read".into())),
        }
    }

    fn title(&self) -> String {
        let kind = if self.mutating {
            "MutatingAdmissionPolicy"
        } else {
            "ValidatingAdmissionPolicy"
        };
        format!("{kind} '{}'", self.name)
    }

    fn denied(
        &self,
        request: &Request<'_>,
        binding: &Binding,
        message: &str,
        reason: &str,
    ) -> Failure {
        let message = format!(
            "{} with binding '{}' denied request: {message}",
            self.title(),
            binding.name
        );
        let mut status = Status::forbidden(
            &request.kind.group,
            &request.kind.plural,
            request.name,
            &message,
        )
        .with_cause(Cause {
            message,
            ..Cause::default()
        });
        (status.reason, status.code) = match reason {
            "" | "Invalid" => ("Invalid".to_owned(), 422),
            "Unauthorized" => ("Unauthorized".to_owned(), 401),
            "Forbidden" => ("Forbidden".to_owned(), 403),
            "RequestEntityTooLarge" => ("RequestEntityTooLarge".to_owned(), 413),
            other => (other.to_owned(), 422),
        };
        Box::new(status)
    }

    /// Something about the policy itself is wrong: its failure policy decides.
    fn broken(&self, request: &Request<'_>, binding: &Binding, why: &str) -> Outcome<()> {
        if self.ignores_failure {
            return Ok(());
        }
        Err(self.denied(request, binding, why, ""))
    }

    /// The kind this policy and this binding see the request as, if both are about it.
    fn kind<'a>(
        &self,
        rules: &Rules,
        request: &Request<'a>,
        binding: &Binding,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<&'a Kind>> {
        let Some(kind) = rules.matcher.matches(request, object, old)? else {
            return Ok(None);
        };
        match &binding.matcher {
            Ok(matcher) => Ok(matcher.matches(request, object, old)?.map(|_| kind)),
            Err(why) => {
                self.broken(
                    request,
                    binding,
                    &format!("failed to configure binding: {why}"),
                )?;
                Ok(None)
            }
        }
    }

    /// The parameters one binding gives; one `None` for a policy without any.
    fn parameters(&self, request: &Request<'_>, binding: &Binding) -> Outcome<Vec<Option<Value>>> {
        let (Some(gvk), Some(params)) = (&self.params, &binding.params) else {
            return Ok(vec![None]);
        };
        match params.find(request, gvk)? {
            Ok(found) => Ok(found.into_iter().map(Some).collect()),
            Err(Missing::Allowed) => Ok(Vec::new()),
            Err(Missing::Fault(why)) => {
                self.broken(
                    request,
                    binding,
                    &format!("failed to configure binding: {why}"),
                )?;
                Ok(Vec::new())
            }
        }
    }

    /// Check a request against one binding of a validating policy.
    ///
    /// # Errors
    /// If the policy denies it.
    pub(super) async fn validate(
        &self,
        request: &Request<'_>,
        binding: &Binding,
        object: Option<&Value>,
        old: Option<&Value>,
        notes: &mut Notes,
    ) -> Outcome<()> {
        let rules = match &self.rules {
            Ok(rules) => rules,
            Err(why) => {
                return self.broken(
                    request,
                    binding,
                    &format!("failed to configure policy: {why}"),
                );
            }
        };
        let Some(kind) = self.kind(rules, request, binding, object, old)? else {
            return Ok(());
        };
        let facts = Facts::new(
            request,
            request.describe(kind),
            shown(request, kind, object).await?,
            shown(request, kind, old).await?,
        )
        .with_namespace(request)?;
        // All of a policy's evaluations for one request share one budget.
        let mut budget = Budget::per_object();
        for params in self.parameters(request, binding)? {
            let bindings = facts.bindings(params.as_ref());
            for decision in self.decide(rules, &bindings, &mut budget, notes) {
                let Decision::Deny { message, reason } = decision else {
                    continue;
                };
                if binding.warns {
                    notes.warnings.push(format!(
                        "Validation failed for {} with binding '{}': {message}",
                        self.title(),
                        binding.name
                    ));
                }
                if binding.audits {
                    notes.annotate(
                        "validation.policy.admission.k8s.io/validation_failure",
                        json!([{"message": message, "policy": self.name, "binding": binding.name}])
                            .to_string(),
                    );
                }
                if binding.denies {
                    return Err(self.denied(request, binding, &message, &reason));
                }
            }
        }
        Ok(())
    }

    fn decide(
        &self,
        rules: &Rules,
        bindings: &Bindings<'_>,
        budget: &mut Budget,
        notes: &mut Notes,
    ) -> Vec<Decision> {
        let failed = |why: String| {
            if self.ignores_failure {
                Decision::Admit
            } else {
                Decision::Deny {
                    message: why,
                    reason: String::new(),
                }
            }
        };
        match Condition::all(&rules.conditions, bindings, budget) {
            Verdict::Holds => {}
            Verdict::Fails => return Vec::new(),
            Verdict::Errors(why) => return vec![failed(why)],
        }
        let mut memo = Memo::default();
        let mut decisions = Vec::new();
        for validation in &rules.validations {
            let result =
                validation
                    .program
                    .evaluate_with(bindings, &rules.variables, &mut memo, budget);
            decisions.push(match truth(result) {
                Ok(true) => Decision::Admit,
                Ok(false) => Decision::Deny {
                    message: validation.message(bindings, &rules.variables, &mut memo, budget),
                    reason: validation.reason.clone(),
                },
                Err(why) => failed(format!(
                    "expression '{}' resulted in error: {why}",
                    validation.expression
                )),
            });
        }
        for (key, program) in &rules.annotations {
            match program.evaluate_with(bindings, &rules.variables, &mut memo, budget) {
                Ok(Cel::Null) => {}
                Ok(value) => match value.as_str() {
                    Some(text) if !text.is_empty() => {
                        notes.annotate(&format!("{}/{key}", self.name), text.to_owned());
                    }
                    Some(_) => {}
                    None => decisions.push(failed(format!(
                        "valueExpression of audit annotation {key:?} gave a {}",
                        value.type_name()
                    ))),
                },
                Err(why) => decisions.push(failed(format!(
                    "valueExpression of audit annotation {key:?} resulted in error: {why}"
                ))),
            }
        }
        decisions
    }

    /// Let one binding of a mutating policy change an object; did it?
    ///
    /// # Errors
    /// If the policy cannot be carried out and must be.
    pub(super) async fn mutate(
        &self,
        request: &Request<'_>,
        binding: &Binding,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Outcome<bool> {
        let rules = match &self.rules {
            Ok(rules) => rules,
            Err(why) => {
                self.broken(
                    request,
                    binding,
                    &format!("failed to configure policy: {why}"),
                )?;
                return Ok(false);
            }
        };
        let Some(kind) = self.kind(rules, request, binding, Some(object), old)? else {
            return Ok(false);
        };
        let before = shown(request, kind, Some(object))
            .await?
            .unwrap_or_default();
        let mut facts = Facts::new(
            request,
            request.describe(kind),
            Some(before.clone()),
            shown(request, kind, old).await?,
        )
        .with_namespace(request)?;
        let mut budget = Budget::per_object();
        for params in self.parameters(request, binding)? {
            match Condition::all(
                &rules.conditions,
                &facts.bindings(params.as_ref()),
                &mut budget,
            ) {
                Verdict::Holds => {}
                Verdict::Fails => continue,
                Verdict::Errors(why) => {
                    self.broken(request, binding, &why)?;
                    continue;
                }
            }
            for mutation in &rules.mutations {
                match mutation.apply(kind, &facts, params.as_ref(), rules, &mut budget) {
                    Ok(changed) => facts.set_object(changed),
                    Err(why) => {
                        self.broken(request, binding, &why)?;
                        return Ok(false);
                    }
                }
            }
        }
        if *facts.object() == before {
            return Ok(false);
        }
        let changed = facts.into_parts().1;
        super::adopt(request, kind, object, changed).await?;
        Ok(true)
    }
}

impl Validation {
    fn message<'a>(
        &'a self,
        bindings: &Bindings<'a>,
        variables: &'a Variables,
        memo: &mut Memo<'a>,
        budget: &mut Budget,
    ) -> String {
        let given = self
            .message_program
            .as_ref()
            .and_then(|program| {
                program
                    .evaluate_with(bindings, variables, memo, budget)
                    .ok()
            })
            .and_then(|value| value.as_str().map(|text| text.trim().to_owned()))
            .filter(|text| !text.is_empty() && !text.contains('\n') && text.len() <= MESSAGE_BYTES);
        match given {
            Some(text) => text,
            None if !self.message.is_empty() => self.message.clone(),
            None => format!("failed expression: {}", self.expression),
        }
    }
}

impl Mutation {
    /// The object as this mutation makes it.
    fn apply(
        &self,
        kind: &Kind,
        facts: &Facts<'_>,
        params: Option<&Value>,
        rules: &Rules,
        budget: &mut Budget,
    ) -> Result<Value, String> {
        let bindings = facts.bindings(params);
        let mut memo = Memo::default();
        let program = match self {
            Self::Apply(program) | Self::Json(program) => program,
        };
        let value = program
            .evaluate_with(&bindings, &rules.variables, &mut memo, budget)
            .map_err(|error| format!("expression resulted in error: {error}"))?;
        let value = value.to_json().map_err(|error| error.to_string())?;
        match self {
            Self::Apply(_) => {
                if !value.is_object() {
                    return Err("the applyConfiguration expression must give an Object".into());
                }
                check_configuration(&value)?;
                Ok(apply::merge(kind.schema.shape(), facts.object(), &value))
            }
            Self::Json(_) => {
                let mut changed = facts.object().clone();
                patch::json(&mut changed, &value)
                    .map_err(|error| format!("JSON Patch: {error}"))?;
                Ok(changed)
            }
        }
    }
}

/// What a configuration may not say: upstream refuses changes of identity by it.
fn check_configuration(value: &Value) -> Result<(), String> {
    for field in ["apiVersion", "kind"] {
        if value.get(field).is_some() {
            return Err(format!("may not mutate {field}"));
        }
    }
    let meta = at(value, &["metadata"]).unwrap_or(&Value::Null);
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "managedFields",
    ] {
        if meta.get(field).is_some() {
            return Err(format!("may not mutate metadata.{field}"));
        }
    }
    Ok(())
}

impl Binding {
    /// A binding as it is stored.
    pub(super) fn new(binding: &Value) -> Self {
        let spec = at(binding, &["spec"]).unwrap_or(&Value::Null);
        let does = |action: &str| {
            items(spec, &["validationActions"])
                .iter()
                .any(|item| item == action)
        };
        Self {
            name: name(binding).to_owned(),
            policy: text(spec, &["policyName"]).to_owned(),
            matcher: Matcher::open(
                at(spec, &["matchResources"]).unwrap_or(&Value::Null),
                "resourceRules",
            ),
            params: at(spec, &["paramRef"]).map(Params::new),
            denies: does("Deny"),
            warns: does("Warn"),
            audits: does("Audit"),
        }
    }
}
