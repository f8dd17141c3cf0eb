use crate::provider::schema::Block;
use consort_hcl::{Body, Diagnostics, Scope, Traversal, Value};
use consort_hcl::{Diagnostic, Severity};

pub(super) trait Shim {
    fn decode(&self, body: &Body, scope: &dyn Scope) -> (Value, Diagnostics);
    fn references(&self, body: &Body) -> Vec<Traversal>;
}
impl Shim for Block {
    fn decode(&self, body: &Body, scope: &dyn Scope) -> (Value, Diagnostics) {
        let mut out = Diagnostics::new();
        let mut attrs = std::collections::BTreeMap::new();
        for (n, a) in &self.attributes {
            attrs.insert(n.clone(), Value::null(a.ty.clone()));
        }
        for a in body.attributes() {
            let Some(s) = self.attributes.get(&a.name) else {
                out.push(
                    Diagnostic::error(
                        "Unsupported argument",
                        format!("An argument named \"{}\" is not expected here.", a.name),
                    )
                    .at(a.name_range),
                );
                continue;
            };
            let (v, d) = a.expr.evaluate(scope);
            out.append(d);
            match consort_hcl::convert(&v, &s.ty) {
                Ok(v) => {
                    attrs.insert(a.name.clone(), v);
                }
                Err(e) => out.push(
                    Diagnostic::error(
                        "Incorrect attribute value type",
                        format!(
                            "Inappropriate value for attribute \"{}\": {}.",
                            a.name,
                            e.located()
                        ),
                    )
                    .at(a.expr.range()),
                ),
            }
        }
        (Value::object(attrs), out)
    }
    fn references(&self, body: &Body) -> Vec<Traversal> {
        body.attributes()
            .flat_map(|a| a.expr.references())
            .collect()
    }
}
pub(super) trait Shim2 {
    fn locate(self, body: &Body, address: &str) -> Diagnostics;
    fn unlocated(self, address: &str) -> Diagnostics;
}
impl Shim2 for crate::provider::Diagnostics {
    fn locate(self, body: &Body, address: &str) -> Diagnostics {
        let mut d = self.unlocated(address);
        for x in d.iter_mut() {
            x.subject = Some(body.missing_range());
        }
        d
    }
    fn unlocated(self, address: &str) -> Diagnostics {
        let mut out = Diagnostics::new();
        for d in self {
            let mut x = if d.severity == crate::provider::Severity::Error {
                Diagnostic::error(d.summary, d.detail)
            } else {
                Diagnostic::warning(d.summary, d.detail)
            };
            x.address = Some(address.to_owned());
            let _ = Severity::Error;
            out.push(x);
        }
        out
    }
}
