//! Values of libraries.

use std::sync::Arc;

use crate::libraries::authorizer::{Asked, Verdict};
use crate::libraries::{
    format::Format, ip::Cidr, ip::Ip, quantity::Quantity, semver::Semver, url::Url,
};

/// A value that only its library's functions understand.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    /// A quantity of a resource.
    Quantity(Arc<Quantity>),
    /// A URL.
    Url(Arc<Url>),
    /// An IP address.
    Ip(Ip),
    /// A network.
    Cidr(Cidr),
    /// A version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(Format),
    /// Who is asked about.
    Authorizer(Arc<Asked<'a>>),
    /// A question about a path.
    PathCheck(Arc<Asked<'a>>),
    /// A question about an API group.
    GroupCheck(Arc<Asked<'a>>),
    /// A question about a resource.
    ResourceCheck(Arc<Asked<'a>>),
    /// An answer.
    Decision(Arc<Verdict>),
    /// JSON that did not fit its schema: an error wherever it is used.
    Invalid(Arc<str>),
}

impl Opaque<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Opaque::Quantity(_) => "kubernetes.Quantity",
            Opaque::Url(_) => "kubernetes.URL",
            Opaque::Ip(_) => "net.IP",
            Opaque::Cidr(_) => "net.CIDR",
            Opaque::Semver(_) => "kubernetes.Semver",
            Opaque::Format(_) => "kubernetes.NamedFormat",
            Opaque::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Opaque::PathCheck(_) => "kubernetes.authorization.PathCheck",
            Opaque::GroupCheck(_) => "kubernetes.authorization.GroupCheck",
            Opaque::ResourceCheck(_) => "kubernetes.authorization.ResourceCheck",
            Opaque::Decision(_) => "kubernetes.authorization.Decision",
            Opaque::Invalid(_) => "error",
        }
    }

    pub(crate) fn cost_size(&self) -> u64 {
        match self {
            Opaque::Ip(ip) => ip.byte_length(),
            Opaque::Cidr(cidr) => cidr.byte_length(),
            _ => 1,
        }
    }

    /// Whether two are the same value of one type.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Opaque::Url(a), Opaque::Url(b)) => a == b,
            (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
            (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
            (Opaque::Semver(a), Opaque::Semver(b)) => a == b,
            (Opaque::Format(a), Opaque::Format(b)) => a == b,
            (Opaque::Authorizer(a), Opaque::Authorizer(b))
            | (Opaque::PathCheck(a), Opaque::PathCheck(b))
            | (Opaque::GroupCheck(a), Opaque::GroupCheck(b))
            | (Opaque::ResourceCheck(a), Opaque::ResourceCheck(b)) => a.same(b),
            (Opaque::Decision(a), Opaque::Decision(b)) => a == b,
            _ => false,
        }
    }
}
