//! What a `connection` block may hold, whatever its type.

use std::sync::OnceLock;

use consort_hcl::Type;

use crate::provider::schema::{Attribute, Block};

/// The arguments of all types of connections together: which are meant depends on the type, which is known only
/// when a connection is made.
pub(in crate::engine) fn connection() -> &'static Block {
    static SCHEMA: OnceLock<Block> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let texts = [
            "type",
            "user",
            "password",
            "timeout",
            "script_path",
            "target_platform",
            "private_key",
            "certificate",
            "host_key",
            "agent_identity",
            "proxy_scheme",
            "proxy_host",
            "proxy_user_name",
            "proxy_user_password",
            "bastion_host",
            "bastion_host_key",
            "bastion_user",
            "bastion_password",
            "bastion_private_key",
            "bastion_certificate",
            "cacert",
        ];
        let mut schema =
            Block::default().attribute("host", Attribute::new(Type::String).required());
        for name in texts {
            schema = schema.attribute(name, Attribute::new(Type::String).optional());
        }
        for name in ["port", "proxy_port", "bastion_port"] {
            schema = schema.attribute(name, Attribute::new(Type::Number).optional());
        }
        for name in ["agent", "https", "insecure", "use_ntlm"] {
            schema = schema.attribute(name, Attribute::new(Type::Bool).optional());
        }
        schema
    })
}
