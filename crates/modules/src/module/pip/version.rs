//! Versions of Python's packages and what is asked of them, as PEP 440 has them.

use std::cmp::Ordering;

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    epoch: u64,
    release: Vec<u64>,
    /// `a`, `b` or `rc` with its number.
    pre: Option<(u8, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<String>,
}

/// What a part that is not there counts as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank<T> {
    Before,
    There(T),
    After,
}

/// Takes a number from the start of a text.
fn number(text: &str) -> (Option<u64>, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

/// Takes one of some words from the start of a text, with a separator before and a number behind it.
fn marked<'a>(text: &'a str, words: &[&str]) -> Option<(usize, u64, &'a str)> {
    let bare = text.strip_prefix(['.', '-', '_']).unwrap_or(text);
    let (at, rest) = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| Some((at, bare.strip_prefix(word)?)))?;
    let behind = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
    Some(match number(behind) {
        (Some(number), rest) => (at, number, rest),
        (None, _) => (at, 0, rest),
    })
}

impl Version {
    /// Reads one; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (text, local) = text.split_once('+').unwrap_or((text, ""));
        let local = local
            .split(['.', '-', '_'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let (epoch, text) = match text.split_once('!') {
            Some((epoch, rest)) => (epoch.parse().ok()?, rest),
            None => (0, text),
        };
        let (first, mut rest) = number(text);
        let mut release = vec![first?];
        while let Some(after) = rest.strip_prefix('.')
            && let (Some(part), left) = number(after)
        {
            release.push(part);
            rest = left;
        }
        let mut version = Version {
            epoch,
            release,
            pre: None,
            post: None,
            dev: None,
            local,
        };
        if let Some((word, number, left)) = marked(rest, &PRE) {
            let rank = match word {
                0 | 5 => 0,
                1 | 6 => 1,
                _ => 2,
            };
            version.pre = Some((rank, number));
            rest = left;
        }
        if let Some((_, number, left)) = marked(rest, &["post", "rev", "r"]) {
            version.post = Some(number);
            rest = left;
        } else if let Some((Some(number), left)) = rest.strip_prefix('-').map(number) {
            version.post = Some(number);
            rest = left;
        }
        if let Some((_, number, left)) = marked(rest, &["dev"]) {
            version.dev = Some(number);
            rest = left;
        }
        rest.is_empty().then_some(version)
    }

    fn trimmed(&self) -> &[u64] {
        let end = self
            .release
            .iter()
            .rposition(|part| *part != 0)
            .map_or(0, |at| at + 1);
        &self.release[..end]
    }

    fn public_order(&self, other: &Self) -> Ordering {
        let pre = |version: &Self| match version.pre {
            Some(pre) => Rank::There(pre),
            None if version.post.is_none() && version.dev.is_some() => Rank::Before,
            None => Rank::After,
        };
        let dev = |version: &Self| version.dev.map_or(Rank::After, Rank::There);
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| self.trimmed().cmp(other.trimmed()))
            .then_with(|| pre(self).cmp(&pre(other)))
            .then_with(|| self.post.cmp(&other.post))
            .then_with(|| dev(self).cmp(&dev(other)))
    }

    fn order(&self, other: &Self) -> Ordering {
        let part = |one: &String, other: &String| match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Greater,
            (Err(_), Ok(_)) => Ordering::Less,
            (Err(_), Err(_)) => one.cmp(other),
        };
        self.public_order(other).then_with(|| {
            self.local
                .iter()
                .zip(&other.local)
                .map(|(one, other)| part(one, other))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| self.local.len().cmp(&other.local.len()))
        })
    }

    /// Whether it begins with the numbers of another.
    fn begins_with(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && other
                .release
                .iter()
                .enumerate()
                .all(|(at, part)| self.release.get(at).copied().unwrap_or(0) == *part)
    }

    fn is_same_release(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.trimmed() == other.trimmed()
    }
}

/// The words of versions that precede others.
const PRE: [&str; 8] = ["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"];

/// What relations there are, the longer ones first.
pub(super) const RELATIONS: [&str; 8] = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

/// One thing that is asked of a version: `>=1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    relation: &'static str,
    version: String,
}

impl Demand {
    /// Reads one; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let relation = RELATIONS
            .iter()
            .copied()
            .find(|relation| text.starts_with(relation))?;
        let version = text[relation.len()..].trim();
        let bare = version
            .strip_suffix(".*")
            .filter(|_| matches!(relation, "==" | "!="))
            .unwrap_or(version);
        let is_version = Version::parse(bare)
            .is_some_and(|version| relation != "~=" || version.release.len() > 1);
        (is_version || (relation == "===" && !version.is_empty())).then(|| Demand {
            relation,
            version: version.to_owned(),
        })
    }

    /// As it is written.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.relation, self.version)
    }

    /// Whether a version meets it.
    pub(super) fn is_met_by(&self, text: &str) -> bool {
        if self.relation == "===" {
            return text.eq_ignore_ascii_case(&self.version);
        }
        let Some(version) = Version::parse(text) else {
            return false;
        };
        let prefix = self.version.strip_suffix(".*");
        let Some(wanted) = Version::parse(prefix.unwrap_or(&self.version)) else {
            return false;
        };
        let public = version.public_order(&wanted);
        match self.relation {
            "==" | "!=" => {
                let same = if prefix.is_some() {
                    version.begins_with(&wanted)
                } else if wanted.local.is_empty() {
                    public.is_eq()
                } else {
                    version.order(&wanted).is_eq()
                };
                same == (self.relation == "==")
            }
            "~=" => {
                let mut start = wanted.clone();
                start.release.pop();
                public.is_ge() && version.begins_with(&start)
            }
            "<=" => public.is_le(),
            ">=" => public.is_ge(),
            // What precedes a version is no earlier version of it, unless that is what is asked for.
            "<" => {
                public.is_lt()
                    && (wanted.pre.is_some()
                        || wanted.dev.is_some()
                        || !(version.pre.is_some() || version.dev.is_some())
                        || !version.is_same_release(&wanted))
            }
            _ => {
                public.is_gt()
                    && (wanted.post.is_some()
                        || version.post.is_none()
                        || !version.is_same_release(&wanted))
            }
        }
    }
}
