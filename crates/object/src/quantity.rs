//! Kubernetes quantities: exact decimal numbers with a suffix (`100m`, `1.5Gi`, `12e6`).
//!
//! Follows apimachinery's `resource.Quantity`: the same texts are accepted, and a value is
//! written in the same canonical form. There are no floats in here. Numbers of more than 38
//! digits are refused, which upstream would take.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The family of suffixes a quantity is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    BinarySi,
    /// `e3`, `E6`.
    DecimalExponent,
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not look like one.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// Its number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// Its suffix is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An exact amount: `mantissa` times ten to the power of `exponent`.
///
/// Equality and order are those of the amount; the format does not count.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    mantissa: i128,
    exponent: i32,
    format: Format,
}

/// The smallest power of ten that is kept; finer amounts are rounded away from zero.
const NANO: i32 = -9;

/// The parts of a quantity's text, before its number is read.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, Error> {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| {
        from + bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let whole_end = digits_from(start);
    let (fraction, suffix_start) = if bytes.get(whole_end) == Some(&b'.') {
        let end = digits_from(whole_end + 1);
        (&text[whole_end + 1..end], end)
    } else {
        ("", whole_end)
    };
    if start == bytes.len() {
        return Err(Error::Format);
    }
    let letters = bytes[suffix_start..]
        .iter()
        .take_while(|b| b"eEinumkKMGTP".contains(b))
        .count();
    let mut rest = suffix_start + letters;
    if matches!(bytes.get(rest), Some(b'-' | b'+')) {
        rest += 1;
    }
    if digits_from(rest) != bytes.len() {
        return Err(Error::Format);
    }
    Ok(Parts {
        negative,
        whole: text[start..whole_end].trim_start_matches('0'),
        fraction,
        suffix: &text[suffix_start..],
    })
}

/// Base, exponent and format of a suffix.
fn suffix(text: &str) -> Result<(u32, i32, Format), Error> {
    Ok(match text {
        "" => (10, 0, Format::DecimalSi),
        "n" => (10, -9, Format::DecimalSi),
        "u" => (10, -6, Format::DecimalSi),
        "m" => (10, -3, Format::DecimalSi),
        "k" => (10, 3, Format::DecimalSi),
        "M" => (10, 6, Format::DecimalSi),
        "G" => (10, 9, Format::DecimalSi),
        "T" => (10, 12, Format::DecimalSi),
        "P" => (10, 15, Format::DecimalSi),
        "E" => (10, 18, Format::DecimalSi),
        "Ki" => (2, 10, Format::BinarySi),
        "Mi" => (2, 20, Format::BinarySi),
        "Gi" => (2, 30, Format::BinarySi),
        "Ti" => (2, 40, Format::BinarySi),
        "Pi" => (2, 50, Format::BinarySi),
        "Ei" => (2, 60, Format::BinarySi),
        other => {
            let exponent = other.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
            (
                10,
                exponent.parse().map_err(|_| Error::Suffix)?,
                Format::DecimalExponent,
            )
        }
    })
}

/// Reads at most 38 digits.
fn number(whole: &str, fraction: &str) -> Result<i128, Error> {
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')))
            .ok_or(Error::Number)?;
    }
    Ok(value)
}

/// Divides, rounding away from zero. Divisors beyond 10^38 leave the smallest step.
fn divide_up(value: i128, power: u32) -> i128 {
    match 10_i128.checked_pow(power) {
        Some(divisor) => value / divisor + (value % divisor).signum(),
        None => value.signum(),
    }
}

/// The text in the form upstream stores it in, unchanged if it is in that form already.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, Error> {
    let text = text.trim();
    if text == "0" {
        return Ok(Cow::Borrowed(text));
    }
    let parts = split(text)?;
    let (_, exponent, format) = suffix(parts.suffix)?;
    // Upstream keeps a text that is canonical at a glance, and so it keeps a few that are not.
    let places = parts.fraction.len() as i32;
    let last_three = || {
        parts
            .whole
            .bytes()
            .chain(parts.fraction.bytes())
            .rev()
            .take(3)
            .filter(|b| *b == b'0')
            .count()
    };
    let keeps = match format {
        Format::BinarySi => {
            let room = 14 - parts.whole.len().max(1) as i32 - exponent * 3 / 10;
            parts.fraction.is_empty()
                && !text.contains('.')
                && room >= 0
                && parts.whole.parse::<i64>().is_ok_and(|value| value & 7 != 0)
        }
        Format::DecimalSi | Format::DecimalExponent => {
            let digits = parts.whole.len().max(1) + parts.fraction.len();
            let scale = exponent.checked_sub(places);
            digits <= 18
                && scale.is_some_and(|scale| scale >= NANO && scale % 3 == 0)
                && last_three() < 3
                && !parts.whole.is_empty()
        }
    };
    if keeps {
        Ok(Cow::Borrowed(text))
    } else {
        Ok(Cow::Owned(text.parse::<Quantity>()?.to_string()))
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = split(text)?;
        let (base, power, mut format) = suffix(parts.suffix)?;
        let mut mantissa = number(parts.whole, parts.fraction)?;
        let mut exponent = -i32::try_from(parts.fraction.len()).map_err(|_| Error::Number)?;
        let largest = i128::from(i64::MAX);
        if base == 2 {
            // Beyond what fits lies only the cap below.
            mantissa = mantissa.checked_mul(1 << power).unwrap_or(i128::MAX);
        } else {
            exponent = exponent.checked_add(power).ok_or(Error::Suffix)?;
        }
        if exponent < NANO {
            mantissa = divide_up(mantissa, exponent.abs_diff(NANO));
            exponent = NANO;
        }
        if format == Format::BinarySi {
            let one = 10_i128.pow(exponent.unsigned_abs());
            if mantissa / one >= largest {
                (mantissa, exponent) = (largest, 0);
            }
            if mantissa > 0 && exponent < 0 && mantissa < one {
                format = Format::DecimalSi;
            }
        }
        if parts.negative {
            mantissa = -mantissa;
        }
        Ok(Self {
            mantissa,
            exponent,
            format,
        })
    }
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        mantissa: 0,
        exponent: 0,
        format: Format::DecimalSi,
    };

    /// A whole amount.
    pub fn new(value: i64, format: Format) -> Self {
        Self {
            mantissa: i128::from(value),
            exponent: 0,
            format,
        }
    }

    /// An amount in thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self {
            mantissa: i128::from(value),
            exponent: -3,
            format,
        }
    }

    /// The family of suffixes it is written with.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// The whole amount, rounded away from zero, at the bounds of `i64` if it lies beyond them.
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// The amount in thousandths, rounded away from zero, at the bounds of `i64` if it lies beyond them.
    pub fn milli_value(&self) -> i64 {
        self.scaled(-3)
    }

    fn scaled(&self, exponent: i32) -> i64 {
        let shift = i64::from(self.exponent) - i64::from(exponent);
        let value = if shift < 0 {
            divide_up(self.mantissa, u32::try_from(-shift).unwrap_or(u32::MAX))
        } else {
            let factor = u32::try_from(shift)
                .ok()
                .and_then(|shift| 10_i128.checked_pow(shift));
            factor
                .and_then(|factor| self.mantissa.checked_mul(factor))
                .unwrap_or(match self.mantissa.signum() {
                    -1 => i128::MIN,
                    0 => 0,
                    _ => i128::MAX,
                })
        };
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }

    /// Both mantissas at one exponent, unless a number of more than 38 digits came of it.
    fn aligned(&self, other: &Self) -> Option<(i128, i128, i32)> {
        let exponent = match (self.mantissa, other.mantissa) {
            (0, _) => other.exponent,
            (_, 0) => self.exponent,
            _ => self.exponent.min(other.exponent),
        };
        let raise = |quantity: &Self| {
            if quantity.mantissa == 0 {
                return Some(0);
            }
            let shift = quantity.exponent.checked_sub(exponent)?;
            quantity
                .mantissa
                .checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)
        };
        Some((raise(self)?, raise(other)?, exponent))
    }

    /// The sum; its format is the first one's unless that is zero. `None` beyond 38 digits.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let (left, right, exponent) = self.aligned(other)?;
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Some(Self {
            mantissa: left.checked_add(right)?,
            exponent,
            format,
        })
    }

    /// The difference; its format is the first one's unless that is zero. `None` beyond 38 digits.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.checked_add(&Self {
            mantissa: other.mantissa.checked_neg()?,
            ..*other
        })
    }

    /// The product with a whole number. `None` beyond 38 digits.
    pub fn checked_mul(&self, factor: i64) -> Option<Self> {
        Some(Self {
            mantissa: self.mantissa.checked_mul(i128::from(factor))?,
            ..*self
        })
    }

    /// The mantissa without trailing zeros and its exponent.
    fn reduced(&self) -> (i128, i64) {
        let (mut mantissa, mut exponent) = (self.mantissa, i64::from(self.exponent));
        while mantissa != 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        (mantissa, exponent)
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((left, right, _)) = self.aligned(other) {
            return left.cmp(&right);
        }
        // Too far apart for one exponent: the sign and then the length decide, and the digits in the end.
        let by_sign = self.signum().cmp(&other.signum());
        if by_sign != Ordering::Equal {
            return by_sign;
        }
        let shape = |quantity: &Self| {
            let (mantissa, exponent) = quantity.reduced();
            let digits = mantissa.unsigned_abs().to_string();
            (exponent + digits.len() as i64, digits)
        };
        let by_size = shape(self).cmp(&shape(other));
        if self.signum() < 0 {
            by_size.reverse()
        } else {
            by_size
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let (mut mantissa, mut exponent) = self.reduced();
        if self.format == Format::BinarySi && (0..=38).contains(&exponent) {
            let whole = mantissa.checked_mul(10_i128.pow(exponent as u32));
            if let Some(mut whole) = whole.filter(|whole| whole.unsigned_abs() >= 1024) {
                let mut step = 0;
                while whole % 1024 == 0 && step < 6 {
                    whole /= 1024;
                    step += 1;
                }
                return write!(
                    f,
                    "{whole}{}",
                    ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]
                );
            }
        }
        let suffix = |exponent: i64| {
            let at = usize::try_from((exponent + 9) / 3).ok()?;
            ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
                .get(at)
                .copied()
        };
        while exponent % 3 != 0 || (self.format != Format::DecimalExponent && exponent > 18) {
            let Some(raised) = mantissa.checked_mul(10) else {
                break;
            };
            mantissa = raised;
            exponent -= 1;
        }
        match suffix(exponent)
            .filter(|_| self.format != Format::DecimalExponent && exponent % 3 == 0)
        {
            Some(suffix) => write!(f, "{mantissa}{suffix}"),
            None if exponent == 0 => write!(f, "{mantissa}"),
            None => write!(f, "{mantissa}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn amounts_are_written_in_canonical_form() {
        for (text, expected) in [
            ("0", "0"),
            ("0.0", "0"),
            ("-0", "0"),
            ("0Mi", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("2", "2"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1000Ki", "1000Ki"),
            ("1000k", "1M"),
            ("12e6", "12e6"),
            ("1.2e3", "1200"),
            ("12E3", "12e3"),
            ("1e-3", "1e-3"),
            ("100Ki", "100Ki"),
            ("1Ki", "1Ki"),
            ("0.001Ki", "1024m"),
            ("0.0001Ki", "102400u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-1.5Gi", "-1536Mi"),
            ("9223372036854775808Ki", "9223372036854775807"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("100Ei", "9223372036854775807"),
            ("1e20", "100e18"),
            (".5", "500m"),
            ("5.", "5"),
            ("+5", "5"),
            ("1.1111111111", "1111111112n"),
        ] {
            assert_eq!(quantity(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn stored_texts_are_kept_or_made_canonical() {
        for (text, expected) in [
            ("100m", "100m"),
            ("64Mi", "64Mi"),
            ("1024Mi", "1Gi"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.500", "1.500"),
            (" 2 ", "2"),
            ("3Gi", "3Gi"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1e3"),
        ] {
            assert_eq!(canonical(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_upstreams_words() {
        for (text, expected) in [
            ("", Error::Format),
            ("x", Error::Format),
            ("1 Gi", Error::Format),
            ("1.2.3", Error::Format),
            ("1Gi2x", Error::Format),
            ("1Kx", Error::Format),
            ("1KK", Error::Suffix),
            ("1i", Error::Suffix),
            ("1e", Error::Suffix),
            ("-", Error::Format),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(expected), "{text}");
        }
        assert!("9".repeat(60).parse::<Quantity>().is_err());
    }

    #[test]
    fn sums_keep_the_first_format() {
        let sum = quantity("1Gi").checked_add(&quantity("500m")).unwrap();
        assert_eq!(sum.to_string(), "1073741824500m");
        assert_eq!(
            quantity("0")
                .checked_add(&quantity("1Gi"))
                .unwrap()
                .to_string(),
            "1Gi"
        );
        assert_eq!(
            quantity("2")
                .checked_sub(&quantity("500m"))
                .unwrap()
                .to_string(),
            "1500m"
        );
        assert_eq!(
            quantity("1Gi")
                .checked_sub(&quantity("1Gi"))
                .unwrap()
                .to_string(),
            "0"
        );
        assert_eq!(quantity("250m").checked_mul(4).unwrap().to_string(), "1");
    }

    #[test]
    fn values_round_away_from_zero() {
        assert_eq!(quantity("1.1").value(), 2);
        assert_eq!(quantity("-1.1").value(), -2);
        assert_eq!(quantity("100m").milli_value(), 100);
        assert_eq!(quantity("1u").milli_value(), 1);
        assert_eq!(quantity("1e30").value(), i64::MAX);
    }

    #[test]
    fn order_is_that_of_the_amounts_however_far_apart() {
        assert!(quantity("1e2000000000") > quantity("1n"));
        assert!(quantity("-1e2000000000") < quantity("1n"));
        assert!(quantity("-1e2000000000") < quantity("-1n"));
        assert!(quantity("0") < quantity("1e2000000000"));
        assert_eq!(quantity("1000m"), quantity("1"));
        assert_eq!(quantity("1Gi"), quantity("1073741824"));
    }

    proptest! {
        #[test]
        fn writing_and_reading_keeps_the_amount(mantissa in any::<i64>(), suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "e3", "Ki", "Mi", "e-9", "e12"])) {
            let first = quantity(&format!("{mantissa}{suffix}"));
            let text = first.to_string();
            prop_assert_eq!(quantity(&text), first);
            prop_assert_eq!(quantity(&text).to_string(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
            if let Ok(parsed) = text.parse::<Quantity>() {
                let _ = (parsed.to_string(), parsed.value(), parsed.milli_value(), parsed.checked_add(&quantity("1Gi")), parsed.cmp(&quantity("1")));
            }
            let _ = canonical(&text);
        }

        #[test]
        fn sums_undo_differences(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (Quantity::from_milli(a.into(), Format::DecimalSi), Quantity::new(b.into(), Format::BinarySi));
            prop_assert_eq!(a.checked_add(&b).unwrap().checked_sub(&b).unwrap(), a);
        }
    }
}
