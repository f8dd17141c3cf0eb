//! Versions and their orders: loose and strict as `distutils` had them, semantic (semver.org 2.0.0), and PEP 440.

use std::cmp::Ordering;

use consort_jinja::repr;

/// How versions are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    Loose,
    Strict,
    Semantic,
    Pep440,
}

/// The order of two versions.
///
/// # Errors
/// One is none of the scheme, or they cannot be compared.
pub(super) fn compare(scheme: Scheme, one: &str, two: &str) -> Result<Ordering, String> {
    match scheme {
        Scheme::Loose => loose(&parts(one), &parts(two)),
        Scheme::Strict => Ok(strict(one)?.cmp(&strict(two)?)),
        Scheme::Semantic => {
            let (one, two) = (semantic(one)?, semantic(two)?);
            Ok(one.0.cmp(&two.0).then_with(|| match (&one.1, &two.1) {
                (None, None) => Ordering::Equal,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(two)) => one.cmp(two),
            }))
        }
        Scheme::Pep440 => Ok(pep440(one)?.cmp(&pep440(two)?)),
    }
}

/// Whether a release meets a list of conditions of PEP 440: `>=2.16.0,<2.19,!=2.18.1`.
///
/// # Errors
/// It is none.
pub(crate) fn meets(version: &str, conditions: &str) -> Result<bool, String> {
    let mut all = true;
    for condition in conditions.split(',').map(str::trim) {
        if condition.is_empty() {
            continue;
        }
        let wrong = || format!("Invalid specifier: {}", repr::string(condition));
        let operator = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"]
            .into_iter()
            .find(|operator| condition.starts_with(operator))
            .ok_or_else(wrong)?;
        let wanted = condition[operator.len()..].trim();
        let order = |wanted: &str| {
            Ok::<_, String>(pep440(version)?.cmp(&pep440(wanted).map_err(|_| wrong())?))
        };
        // `2.1.*` is whatever begins so.
        let begins = |series: &str| {
            format!("{version}.").starts_with(&format!("{series}.")) || version == series
        };
        all &= match (operator, wanted.strip_suffix(".*")) {
            ("==", Some(series)) => begins(series),
            ("!=", Some(series)) => !begins(series),
            (_, Some(_)) => return Err(wrong()),
            ("===", None) => version.eq_ignore_ascii_case(wanted),
            ("==", None) => order(wanted)?.is_eq(),
            ("!=", None) => order(wanted)?.is_ne(),
            ("<=", None) => order(wanted)?.is_le(),
            (">=", None) => order(wanted)?.is_ge(),
            ("<", None) => order(wanted)?.is_lt(),
            (">", None) => order(wanted)?.is_gt(),
            // `~=2.1.3` is `>=2.1.3` and `==2.1.*`.
            (_, None) => {
                let (series, _) = wanted.rsplit_once('.').ok_or_else(wrong)?;
                order(wanted)?.is_ge() && begins(series)
            }
        };
    }
    Ok(all)
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Number(u128),
    Word(String),
}

/// Runs of digits, of small letters, and of what is left; points are dropped.
fn parts(version: &str) -> Vec<Part> {
    let kind = |c: char| match c {
        c if c.is_numeric() => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    let mut parts = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| kind(c) != kind(first))
            .unwrap_or(rest.len());
        let part = &rest[..end];
        rest = &rest[end..];
        match kind(first) {
            2 => {}
            0 => parts.push(match part.parse() {
                Ok(number) => Part::Number(number),
                Err(_) => Part::Word(part.to_owned()),
            }),
            _ => parts.push(Part::Word(part.to_owned())),
        }
    }
    parts
}

fn loose(one: &[Part], two: &[Part]) -> Result<Ordering, String> {
    for (a, b) in one.iter().zip(two) {
        let order = match (a, b) {
            (Part::Number(a), Part::Number(b)) => a.cmp(b),
            (Part::Word(a), Part::Word(b)) => a.cmp(b),
            (Part::Number(_), Part::Word(_)) => {
                return Err("'<' not supported between instances of 'int' and 'str'".to_owned());
            }
            (Part::Word(_), Part::Number(_)) => {
                return Err("'<' not supported between instances of 'str' and 'int'".to_owned());
            }
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(one.len().cmp(&two.len()))
}

type Strict = ([u64; 3], (bool, char, u64));

fn strict(version: &str) -> Result<Strict, String> {
    let wrong = || format!("invalid version number '{version}'");
    let (numbers, pre) = match version.find(['a', 'b']) {
        Some(at) => (&version[..at], Some(&version[at..])),
        None => (version, None),
    };
    let mut read = [0; 3];
    let mut count = 0;
    for part in numbers.split('.') {
        if count == 3 || part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        read[count] = part.parse().map_err(|_| wrong())?;
        count += 1;
    }
    if count < 2 {
        return Err(wrong());
    }
    let pre = match pre {
        // What is finished comes after what is not.
        None => (true, ' ', 0),
        Some(pre) => {
            let digits = &pre[1..];
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            (
                false,
                pre.chars().next().unwrap_or('a'),
                digits.parse().map_err(|_| wrong())?,
            )
        }
    };
    Ok((read, pre))
}

/// Numbers come before words.
type Semantic = (Vec<u128>, Option<Vec<Part>>);

fn semantic(version: &str) -> Result<Semantic, String> {
    let wrong = || format!("invalid semantic version '{version}'");
    let (rest, build) = match version.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (version, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let number = |part: &str| -> Option<u128> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        (digits && (part == "0" || !part.starts_with('0')))
            .then(|| part.parse().ok())
            .flatten()
    };
    let core: Vec<u128> = core
        .split('.')
        .map(|part| number(part).ok_or_else(wrong))
        .collect::<Result<_, _>>()?;
    if core.len() != 3 || build.is_some_and(|build| !build.split('.').all(plain)) {
        return Err(wrong());
    }
    let pre = pre
        .map(|pre| {
            pre.split('.')
                .map(|part| {
                    if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
                        number(part).map(Part::Number).ok_or_else(wrong)
                    } else if plain(part) {
                        Ok(Part::Word(part.to_owned()))
                    } else {
                        Err(wrong())
                    }
                })
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    Ok((core, pre))
}

/// A version of PEP 440 in an order of its own: epoch, release, pre-release, post-release, development, local.
type Pep440 = (
    u64,
    Vec<u64>,
    (u8, u8, u64),
    Option<u64>,
    (bool, u64),
    Option<Vec<(u8, u64, String)>>,
);

fn pep440(version: &str) -> Result<Pep440, String> {
    let wrong = || format!("Invalid version: {}", repr::string(version));
    let text = version.trim().to_ascii_lowercase();
    let text = text.strip_prefix('v').unwrap_or(&text);
    let (text, local) = match text.split_once('+') {
        Some((text, local)) => (text, Some(local)),
        None => (text, None),
    };
    let (epoch, mut rest) = match text.split_once('!') {
        Some((epoch, rest)) => (epoch.parse().map_err(|_| wrong())?, rest),
        None => (0, text),
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut release: Vec<u64> = Vec::new();
    loop {
        let length = digits(rest);
        if length == 0 {
            return Err(wrong());
        }
        release.push(rest[..length].parse().map_err(|_| wrong())?);
        rest = &rest[length..];
        match rest.strip_prefix('.') {
            Some(after) if digits(after) > 0 => rest = after,
            _ => break,
        }
    }
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    let separator = |text: &str| usize::from(text.starts_with(['.', '-', '_']));
    let number = |text: &mut &str| -> u64 {
        let skipped = separator(text);
        let length = digits(&text[skipped..]);
        if length == 0 {
            return 0;
        }
        let number = text[skipped..skipped + length].parse().unwrap_or(u64::MAX);
        *text = &text[skipped + length..];
        number
    };
    let word = |text: &mut &str, words: &[&str]| -> Option<usize> {
        let after = &text[separator(text)..];
        let at = words.iter().position(|word| after.starts_with(word))?;
        *text = &after[words[at].len()..];
        Some(at)
    };
    let pre = word(
        &mut rest,
        &["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"],
    )
    .map(|at| {
        let kind = match at {
            0 | 5 => 0,
            1 | 6 => 1,
            _ => 2,
        };
        (kind, number(&mut rest))
    });
    let post = if let Some(after) = rest.strip_prefix('-')
        && digits(after) > 0
    {
        rest = after;
        Some(number(&mut rest))
    } else {
        word(&mut rest, &["post", "rev", "r"]).map(|_| number(&mut rest))
    };
    let dev = word(&mut rest, &["dev"]).map(|_| number(&mut rest));
    if !rest.is_empty() {
        return Err(wrong());
    }
    let pre = match (pre, post, dev) {
        // Development of a release comes before its pre-releases, the release after them.
        (None, None, Some(_)) => (0, 0, 0),
        (None, _, _) => (2, 0, 0),
        (Some((kind, number)), _, _) => (1, kind, number),
    };
    let local = local
        .map(|local| {
            local
                .split(['.', '-', '_'])
                .map(|part| {
                    if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                        return Err(wrong());
                    }
                    Ok(match part.parse() {
                        Ok(number) => (1, number, String::new()),
                        Err(_) => (0, 0, part.to_owned()),
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    Ok((
        epoch,
        release,
        pre,
        post,
        dev.map_or((true, 0), |dev| (false, dev)),
        local,
    ))
}
