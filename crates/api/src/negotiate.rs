//! Content negotiation: what form of an answer a client accepts, what form its body has.

/// The encodings the server reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Encoding {
    /// The media type of a whole answer.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The media type of a watch stream.
    pub(crate) fn stream_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml;stream=watch",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

/// What the answer is turned into before it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// The object or list itself.
    #[default]
    Whole,
    /// A `Table` for printing, of this version of `meta.k8s.io`.
    Table(&'static str),
    /// `PartialObjectMetadata`
    Metadata,
    /// `PartialObjectMetadataList`
    MetadataList,
}

impl Shape {
    /// Is it nothing but metadata?
    pub(crate) fn is_metadata(self) -> bool {
        matches!(self, Self::Metadata | Self::MetadataList)
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Accept {
    /// How it is encoded.
    pub encoding: Encoding,
    /// What it is turned into.
    pub shape: Shape,
}

/// What discovery may answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscoveryForm {
    /// `APIGroupDiscoveryList`, of this version.
    Aggregated(&'static str),
    /// `APIVersions`, `APIGroupList`
    Plain,
}

struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

/// The clauses of an `Accept` header, most wanted first.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<(u32, Clause<'_>)> = header
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().filter(|media| !media.is_empty())?;
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, value)| value.parse::<f64>().ok())
                .unwrap_or(1.0);
            Some((
                (quality.clamp(0.0, 1.0) * 1000.0) as u32,
                Clause { media, parameters },
            ))
        })
        .collect();
    clauses.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

fn encoding(media: &str) -> Option<Encoding> {
    match media.to_ascii_lowercase().as_str() {
        "*/*" | "application/*" | "application/json" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
        _ => None,
    }
}

/// Choose the form of an answer. `None`: nothing the header names can be served (406).
pub(crate) fn accept(header: Option<&str>) -> Option<Accept> {
    accept_of(header, true)
}

/// The same for objects that may have no protobuf form; their metadata has one.
pub(crate) fn accept_of(header: Option<&str>, protobuf: bool) -> Option<Accept> {
    accept_where(header, protobuf, |_| true)
}

/// The same for a list that comes as a stream of events: there are no tables of it.
pub(crate) fn accept_streamed(header: Option<&str>, protobuf: bool) -> Option<Accept> {
    accept_where(header, protobuf, |shape| !matches!(shape, Shape::Table(_)))
}

fn accept_where(
    header: Option<&str>,
    protobuf: bool,
    allowed: impl Fn(Shape) -> bool,
) -> Option<Accept> {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return Some(Accept::default());
    };
    clauses(header).iter().find_map(|clause| {
        let encoding = encoding(clause.media)?;
        let version = match clause.parameter("v") {
            None | Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            Some(_) => return None,
        };
        let known_group = matches!(clause.parameter("g"), None | Some("meta.k8s.io"));
        let shape = match clause.parameter("as") {
            None => Shape::Whole,
            Some("Table") if known_group && encoding != Encoding::Protobuf => Shape::Table(version),
            Some("PartialObjectMetadata") if known_group => Shape::Metadata,
            Some("PartialObjectMetadataList") if known_group => Shape::MetadataList,
            Some(_) => return None,
        };
        if !allowed(shape) || (encoding == Encoding::Protobuf && shape == Shape::Whole && !protobuf)
        {
            return None;
        }
        Some(Accept { encoding, shape })
    })
}

/// Choose the form of a discovery document. `None`: nothing the header names can be served.
pub(crate) fn accept_discovery(header: Option<&str>) -> Option<(DiscoveryForm, Encoding)> {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return Some((DiscoveryForm::Plain, Encoding::Json));
    };
    clauses(header).iter().find_map(|clause| {
        let encoding = encoding(clause.media)?;
        match (
            clause.parameter("as"),
            clause.parameter("g"),
            clause.parameter("v"),
        ) {
            (None, _, _) => Some((DiscoveryForm::Plain, encoding)),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some(version))
                if encoding == Encoding::Json =>
            {
                let version = match version {
                    "v2" => "v2",
                    "v2beta1" => "v2beta1",
                    _ => return None,
                };
                Some((DiscoveryForm::Aggregated(version), encoding))
            }
            _ => None,
        }
    })
}

/// Does the client take gzip?
pub(crate) fn accepts_gzip(header: Option<&str>) -> bool {
    header.is_some_and(|header| {
        clauses(header)
            .iter()
            .any(|clause| clause.media == "gzip" && clause.parameter("q") != Some("0"))
    })
}

/// The media type of a request body without its parameters, lower case; JSON when none is named.
pub(crate) fn content_type(header: Option<&str>) -> String {
    let media = header.unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if media.is_empty() {
        "application/json".to_owned()
    } else {
        media.to_ascii_lowercase()
    }
}

/// The encoding a request body has, if the server reads it.
pub(crate) fn body_encoding(media: &str) -> Option<Encoding> {
    match media {
        "application/json" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_servable_clause_is_chosen() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let cases = [
            (None, Some((Encoding::Json, Shape::Whole))),
            (Some(table), Some((Encoding::Json, Shape::Table("v1")))),
            (
                Some("application/vnd.kubernetes.protobuf,application/json"),
                Some((Encoding::Protobuf, Shape::Whole)),
            ),
            (
                Some("application/json, */*"),
                Some((Encoding::Json, Shape::Whole)),
            ),
            (
                Some(
                    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                ),
                Some((Encoding::Protobuf, Shape::MetadataList)),
            ),
            (Some("text/html"), None),
            (
                Some("application/json;q=0.2, application/yaml"),
                Some((Encoding::Yaml, Shape::Whole)),
            ),
            (Some("application/json;as=Nothing"), None),
        ];
        for (header, want) in cases {
            let got = accept(header).map(|accept| (accept.encoding, accept.shape));
            assert_eq!(got, want, "{header:?}");
        }
    }

    #[test]
    fn a_streamed_list_is_no_table() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(accept_streamed(Some(table), true), None);
        let both = format!("{table},application/json");
        assert_eq!(accept_streamed(Some(&both), true), Some(Accept::default()));
    }

    #[test]
    fn kubectl_gets_aggregated_discovery_and_plain_clients_the_plain_one() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(
            accept_discovery(Some(kubectl)),
            Some((DiscoveryForm::Aggregated("v2"), Encoding::Json))
        );
        assert_eq!(
            accept_discovery(Some("application/json, */*")),
            Some((DiscoveryForm::Plain, Encoding::Json))
        );
    }
}
