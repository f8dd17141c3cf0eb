//! `provisioner` and `connection` blocks.

use consort_hcl::syntax::{Block, Body, BodySchema};
use consort_hcl::traversal::Traversal;

use super::decode::Decoder;
use super::module::{Connection, Provisioner};

impl Decoder<'_> {
    pub(super) fn connection(block: &Block) -> Connection {
        Connection {
            config: block.body.clone(),
            range: block.header_range(),
        }
    }

    pub(super) fn provisioner(&mut self, block: &Block) -> Option<Provisioner> {
        let schema = BodySchema::new()
            .optional(["when", "on_failure"])
            .block("_", &[])
            .block("connection", &[])
            .block("lifecycle", &[]);
        let (content, rest) = self.partial(&block.body, &schema);
        let kind = block.label(0);
        let kind_range = block
            .labels
            .first()
            .map_or(block.kind_range, |label| label.range);
        if matches!(kind, "chef" | "habitat" | "puppet" | "salt-masterless") {
            self.error(
                format!("The \"{kind}\" provisioner has been removed"),
                format!(
                    "The \"{kind}\" provisioner was deprecated in Terraform 0.13.4 has been removed from Terraform. Visit https://learn.hashicorp.com/collections/terraform/provision for alternatives to using provisioners that are a better fit for the Terraform workflow."
                ),
                kind_range,
            );
            return None;
        }
        let mut provisioner = Provisioner {
            kind: kind.into(),
            config: rest,
            connection: None,
            when_destroy: false,
            on_failure_continue: false,
            kind_range,
            range: block.header_range(),
        };
        if let Some(attribute) = content.attribute("when") {
            match self.keyword(&attribute.expr).as_deref() {
                Some("create") => {}
                Some("destroy") => provisioner.when_destroy = true,
                _ => self.error(
                    "Invalid \"when\" keyword",
                    "The \"when\" argument requires one of the following keywords: create or destroy.",
                    attribute.expr.range(),
                ),
            }
        }
        if provisioner.when_destroy {
            self.only_self_references(&provisioner.config);
        }
        if let Some(attribute) = content.attribute("on_failure") {
            match self.keyword(&attribute.expr).as_deref() {
                Some("continue") => provisioner.on_failure_continue = true,
                Some("fail") => {}
                _ => self.error(
                    "Invalid \"on_failure\" keyword",
                    "The \"on_failure\" argument requires one of the following keywords: continue or fail.",
                    attribute.expr.range(),
                ),
            }
        }
        let (mut connection, mut escape) = (None, None);
        for inner in &content.blocks {
            match &*inner.kind {
                "_" => {
                    let rest = provisioner.config.clone();
                    provisioner.config = self.escape_block(
                        inner,
                        &mut escape,
                        rest,
                        // Spelled as Terraform spells it, for those who search for the message.
                        "provisioner-typpe-specific",
                        "provisioner",
                    );
                }
                "connection" => {
                    if self.only_once(inner, &mut connection, "This provisioner") {
                        if provisioner.when_destroy {
                            self.only_self_references(&inner.body);
                        }
                        provisioner.connection = Some(Self::connection(inner));
                    }
                }
                _ => self.reserved_block(inner, "provisioner"),
            }
        }
        Some(provisioner)
    }

    /// What runs when a resource is destroyed may look at nothing but the resource.
    pub(super) fn only_self_references(&mut self, body: &Body) {
        let (attributes, _) = body.just_attributes();
        for attribute in attributes.values() {
            for traversal in attribute.expr.references() {
                if !stays_with_itself(&traversal) {
                    self.error(
                        "Invalid reference from destroy provisioner",
                        "Destroy-time provisioners and their connection configurations may only reference attributes of the related resource, via 'self', 'count.index', or 'each.key'.\n\nReferences to other resources during the destroy phase can cause dependency cycles and interact poorly with create_before_destroy.",
                        attribute.expr.range(),
                    );
                }
            }
        }
    }
}

fn stays_with_itself(traversal: &Traversal) -> bool {
    let only = |name: &str| {
        traversal.steps.len() == 1 && traversal.attribute(0).is_some_and(|found| &**found == name)
    };
    match &*traversal.root {
        "self" | "path" | "terraform" => true,
        "count" => only("index"),
        "each" => only("key"),
        _ => false,
    }
}
