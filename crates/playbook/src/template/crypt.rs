//! Passwords as `crypt(3)` hashes them: MD5 (`$1$`), bcrypt (`$2b$`), SHA-256 (`$5$`) and SHA-512 (`$6$`), with salts made as
//! libxcrypt makes them.
//!
//! The SHA variants follow Ulrich Drepper's specification ("Unix crypt using SHA-256 and SHA-512"), that of MD5
//! Poul-Henning Kamp's program.

use consort_jinja::repr;
use rand::RngExt as _;
use sha1::Digest;

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The digits of bcrypt come in another order.
const BCRYPT: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A way to hash passwords.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Md5,
    Bcrypt,
    Sha256,
    Sha512,
}

/// What a hash is made with, beside the password.
#[derive(Clone, Debug, Default)]
pub(super) struct Salted {
    pub(super) salt: Option<String>,
    pub(super) salt_size: Option<i64>,
    pub(super) rounds: Option<i64>,
    pub(super) ident: Option<String>,
}

impl Algorithm {
    /// The algorithm of a name.
    ///
    /// # Errors
    /// There is none of this name.
    pub(super) fn of(name: &str) -> Result<Self, String> {
        match name {
            "md5_crypt" => Ok(Algorithm::Md5),
            "bcrypt" => Ok(Algorithm::Bcrypt),
            "sha256_crypt" => Ok(Algorithm::Sha256),
            "sha512_crypt" => Ok(Algorithm::Sha512),
            _ => Err(format!(
                "crypt does not support {} algorithm",
                repr::string(name)
            )),
        }
    }

    /// How many characters its salt has, and whether it must have just as many.
    pub(super) fn salt_size(self) -> (usize, bool) {
        match self {
            Algorithm::Md5 => (8, false),
            Algorithm::Bcrypt => (22, true),
            Algorithm::Sha256 | Algorithm::Sha512 => (16, false),
        }
    }

    fn rounds(self) -> u64 {
        match self {
            Algorithm::Md5 => 0,
            Algorithm::Bcrypt => 12,
            Algorithm::Sha256 => 535_000,
            Algorithm::Sha512 => 656_000,
        }
    }

    fn ident(self) -> &'static str {
        match self {
            Algorithm::Md5 => "1",
            Algorithm::Bcrypt => "2b",
            Algorithm::Sha256 => "5",
            Algorithm::Sha512 => "6",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5_crypt",
            Algorithm::Bcrypt => "bcrypt",
            Algorithm::Sha256 => "sha256_crypt",
            Algorithm::Sha512 => "sha512_crypt",
        }
    }
}

/// The letters of salts.
const SALT: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./";

/// So many random letters.
pub(super) fn random_salt(length: usize) -> String {
    let mut source = rand::rng();
    (0..length)
        .map(|_| char::from(SALT[source.random_range(0..SALT.len())]))
        .collect()
}

/// Hashes a password.
///
/// # Errors
/// Salt, rounds or ident are none of the algorithm's: a message of ansible-core.
pub(super) fn hash(
    algorithm: Algorithm,
    password: &str,
    salted: &Salted,
) -> Result<String, String> {
    let (size, exact) = algorithm.salt_size();
    let check = |length: i64| -> Result<(), String> {
        let fits = usize::try_from(length).unwrap_or(0);
        if exact && fits != size {
            return Err(format!(
                "invalid salt size supplied ({length}), expected {size}"
            ));
        }
        if !exact && fits > size {
            return Err(format!(
                "invalid salt size supplied ({length}), expected at most {size}"
            ));
        }
        Ok(())
    };
    let wanted = salted
        .salt_size
        .filter(|wanted| *wanted != 0)
        .unwrap_or(size as i64);
    check(wanted)?;
    let raw: Vec<u8> = match salted.salt.as_deref() {
        None => {
            let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(size)];
            rand::rng().fill(&mut bytes[..]);
            bytes
        }
        Some(given) => {
            let given = if given.is_empty() {
                random_salt(usize::try_from(wanted).unwrap_or(size))
            } else {
                given.to_owned()
            };
            if !given.bytes().all(|byte| SALT.contains(&byte)) {
                return Err("invalid characters in salt".to_owned());
            }
            check(given.len() as i64)?;
            given.into_bytes()
        }
    };
    let rounds = match salted.rounds.filter(|rounds| *rounds != 0) {
        None => algorithm.rounds(),
        Some(rounds) => u64::try_from(rounds).unwrap_or(0),
    };
    let unsalted = || {
        format!(
            "Failed to generate salt for {} algorithm",
            repr::string(algorithm.name())
        )
    };
    let ident = salted
        .ident
        .as_deref()
        .filter(|ident| !ident.is_empty())
        .unwrap_or(algorithm.ident());
    match algorithm {
        Algorithm::Bcrypt => {
            if !matches!(ident, "2a" | "2b" | "2x" | "2y") || !(4..=31).contains(&rounds) {
                return Err(unsalted());
            }
            let salt: [u8; 16] = raw
                .get(..16)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(unsalted)?;
            Ok(bcrypt(password, ident, rounds as u32, salt))
        }
        Algorithm::Md5 => {
            if raw.len() < 3 || rounds != 0 && rounds != 1000 || ident != "1" {
                return Err(unsalted());
            }
            let mut salt = digits(&raw[..3]);
            if raw.len() >= 6 {
                salt.push_str(&digits(&raw[3..6]));
            }
            Ok(md5(password.as_bytes(), &salt))
        }
        Algorithm::Sha256 | Algorithm::Sha512 => {
            if raw.len() < 3 || ident != algorithm.ident() {
                return Err(unsalted());
            }
            let rounds = rounds.clamp(1000, 999_999_999);
            let mut salt = String::new();
            let mut used = 0;
            while used + 3 < raw.len() && used * 4 / 3 < 16 {
                salt.push_str(&digits(&raw[used..used + 3]));
                used += 3;
            }
            let stated = if rounds == 5000 {
                String::new()
            } else {
                format!("rounds={rounds}$")
            };
            let hashed = if algorithm == Algorithm::Sha256 {
                sha::<sha2::Sha256>(password.as_bytes(), salt.as_bytes(), rounds, &SHA256)
            } else {
                sha::<sha2::Sha512>(password.as_bytes(), salt.as_bytes(), rounds, &SHA512)
            };
            Ok(format!("${ident}${stated}{salt}${hashed}"))
        }
    }
}

/// Three bytes as four digits.
fn digits(bytes: &[u8]) -> String {
    let value = bytes.iter().enumerate().fold(0_u32, |value, (at, byte)| {
        value | u32::from(*byte) << (8 * at)
    });
    (0..4)
        .map(|at| char::from(DIGITS[(value >> (6 * at) & 0x3f) as usize]))
        .collect()
}

fn bcrypt(password: &str, ident: &str, cost: u32, salt: [u8; 16]) -> String {
    // What comes after 72 bytes does not count.
    let bytes = password.as_bytes();
    let bytes = &bytes[..bytes.len().min(72)];
    let raw = ::bcrypt::bcrypt(
        cost,
        salt,
        &[bytes, &[0]].concat()[..(bytes.len() + 1).min(72)],
    );
    let encode = |bytes: &[u8]| -> String {
        let mut out = String::new();
        let mut bits = 0_u32;
        let mut count = 0;
        for byte in bytes {
            bits = bits << 8 | u32::from(*byte);
            count += 8;
            while count >= 6 {
                count -= 6;
                out.push(char::from(BCRYPT[(bits >> count & 0x3f) as usize]));
            }
        }
        if count > 0 {
            out.push(char::from(BCRYPT[(bits << (6 - count) & 0x3f) as usize]));
        }
        out
    };
    format!("${ident}${cost:02}${}{}", encode(&salt), encode(&raw[..23]))
}

/// In which order the bytes of a digest are written, in groups of up to four digits.
type Order = [([usize; 3], usize)];

/// A place beyond the digest: a zero.
const NONE: usize = usize::MAX;

const SHA256: [([usize; 3], usize); 11] = [
    ([0, 10, 20], 4),
    ([21, 1, 11], 4),
    ([12, 22, 2], 4),
    ([3, 13, 23], 4),
    ([24, 4, 14], 4),
    ([15, 25, 5], 4),
    ([6, 16, 26], 4),
    ([27, 7, 17], 4),
    ([18, 28, 8], 4),
    ([9, 19, 29], 4),
    ([NONE, 31, 30], 3),
];
const SHA512: [([usize; 3], usize); 22] = [
    ([0, 21, 42], 4),
    ([22, 43, 1], 4),
    ([44, 2, 23], 4),
    ([3, 24, 45], 4),
    ([25, 46, 4], 4),
    ([47, 5, 26], 4),
    ([6, 27, 48], 4),
    ([28, 49, 7], 4),
    ([50, 8, 29], 4),
    ([9, 30, 51], 4),
    ([31, 52, 10], 4),
    ([53, 11, 32], 4),
    ([12, 33, 54], 4),
    ([34, 55, 13], 4),
    ([56, 14, 35], 4),
    ([15, 36, 57], 4),
    ([37, 58, 16], 4),
    ([59, 17, 38], 4),
    ([18, 39, 60], 4),
    ([40, 61, 19], 4),
    ([62, 20, 41], 4),
    ([NONE, NONE, 63], 2),
];
const MD5: [([usize; 3], usize); 6] = [
    ([0, 6, 12], 4),
    ([1, 7, 13], 4),
    ([2, 8, 14], 4),
    ([3, 9, 15], 4),
    ([4, 10, 5], 4),
    ([NONE, NONE, 11], 2),
];

fn written(digest: &[u8], order: &Order) -> String {
    let mut out = String::new();
    for (places, count) in order {
        let value = places.iter().fold(0_u32, |value, place| {
            value << 8 | u32::from(digest.get(*place).copied().unwrap_or(0))
        });
        for at in 0..*count {
            out.push(char::from(DIGITS[(value >> (6 * at) & 0x3f) as usize]));
        }
    }
    out
}

/// As many bytes as asked for, of a digest over and over.
fn repeated(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

// The names of the specification.
#[allow(clippy::many_single_char_names)]
fn sha<D: Digest>(password: &[u8], salt: &[u8], rounds: u64, order: &Order) -> String {
    let b = D::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut a = D::new().chain_update(password).chain_update(salt);
    a.update(repeated(&b, password.len()));
    let mut length = password.len();
    while length > 0 {
        if length & 1 == 1 {
            a.update(&b);
        } else {
            a.update(password);
        }
        length >>= 1;
    }
    let mut digest = a.finalize();
    let mut dp = D::new();
    for _ in 0..password.len() {
        dp.update(password);
    }
    let p = repeated(&dp.finalize(), password.len());
    let mut ds = D::new();
    for _ in 0..16 + usize::from(digest[0]) {
        ds.update(salt);
    }
    let s = repeated(&ds.finalize(), salt.len());
    for round in 0..rounds {
        let mut c = D::new();
        if round & 1 == 1 {
            c.update(&p);
        } else {
            c.update(&digest);
        }
        if round % 3 != 0 {
            c.update(&s);
        }
        if round % 7 != 0 {
            c.update(&p);
        }
        if round & 1 == 1 {
            c.update(&digest);
        } else {
            c.update(&p);
        }
        digest = c.finalize();
    }
    written(&digest, order)
}

fn md5(password: &[u8], salt: &str) -> String {
    let b = md5::Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut a = md5::Md5::new()
        .chain_update(password)
        .chain_update("$1$")
        .chain_update(salt);
    a.update(repeated(&b, password.len()));
    let mut length = password.len();
    while length > 0 {
        if length & 1 == 1 {
            a.update([0]);
        } else {
            a.update(&password[..1]);
        }
        length >>= 1;
    }
    let mut digest = a.finalize();
    for round in 0..1000 {
        let mut c = md5::Md5::new();
        if round & 1 == 1 {
            c.update(password);
        } else {
            c.update(digest);
        }
        if round % 3 != 0 {
            c.update(salt);
        }
        if round % 7 != 0 {
            c.update(password);
        }
        if round & 1 == 1 {
            c.update(digest);
        } else {
            c.update(password);
        }
        digest = c.finalize();
    }
    format!("$1${salt}${}", written(&digest, &MD5))
}
