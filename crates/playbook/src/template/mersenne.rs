//! Python's `random.Random`: the Mersenne twister MT19937 (Matsumoto and Nishimura, 1998) and what Python makes of its
//! numbers. The same seed gives the same choices as there.

use consort_jinja::Value;
use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive as _, Zero as _};
use rand::Rng as _;
use sha2::Digest as _;

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// A source of random numbers.
pub(super) enum Random {
    /// The system's.
    System,
    /// Numbers that follow from a seed.
    Seeded(Box<Twister>),
}

pub(super) struct Twister {
    state: [u32; SIZE],
    at: usize,
}

impl Random {
    /// Numbers that follow from a seed, as `Random(seed)` has them; the system's for none.
    pub(super) fn of(seed: Option<&Value>) -> Result<Self, String> {
        let number: BigUint = match seed {
            None | Some(Value::None) => return Ok(Random::System),
            Some(Value::Bool(value)) => BigUint::from(u8::from(*value)),
            Some(Value::Int(value)) => BigUint::from(value.unsigned_abs()),
            Some(Value::Big(value)) => value.magnitude().clone(),
            Some(Value::Float(value)) => BigUint::from(float_hash(*value).unsigned_abs()),
            Some(Value::Str(text)) => of_bytes(text.as_bytes()),
            Some(Value::Bytes(bytes)) => of_bytes(bytes),
            Some(_) => {
                return Err(
                    "The only supported seed types are:\nNone, int, float, str, bytes, and bytearray."
                        .to_owned(),
                );
            }
        };
        let mut key = number.to_u32_digits();
        if key.is_empty() {
            key.push(0);
        }
        Ok(Random::Seeded(Box::new(Twister::of_array(&key))))
    }

    fn word(&mut self) -> u32 {
        match self {
            Random::System => rand::rng().next_u32(),
            Random::Seeded(twister) => twister.next(),
        }
    }

    /// So many random bits.
    fn bits(&mut self, count: u64) -> BigUint {
        let mut left = count;
        let mut words = Vec::new();
        while left > 0 {
            let mut word = self.word();
            if left < 32 {
                word >>= 32 - left;
            }
            words.push(word);
            left = left.saturating_sub(32);
        }
        BigUint::new(words)
    }

    /// A number below another, which is not zero.
    pub(super) fn below_big(&mut self, limit: &BigUint) -> BigUint {
        let count = limit.bits();
        loop {
            let number = self.bits(count);
            if number < *limit {
                return number;
            }
        }
    }

    /// A number below another, which is not zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.below_big(&BigUint::from(limit))
            .to_usize()
            .unwrap_or(0)
    }

    /// `randrange(start, stop, step)`.
    pub(super) fn range(
        &mut self,
        start: &BigInt,
        stop: &BigInt,
        step: &BigInt,
    ) -> Result<BigInt, String> {
        let zero = BigInt::zero();
        if *step == zero {
            return Err("zero step for randrange()".to_owned());
        }
        let width = stop - start;
        let one = BigInt::from(1);
        let count = if *step > zero {
            (&width + step - &one) / step
        } else {
            (&width + step + &one) / step
        };
        let empty = if *step > zero {
            width <= zero
        } else {
            width >= zero
        };
        if empty || count <= zero {
            return Err(if *step == one {
                format!("empty range in randrange({start}, {stop})")
            } else {
                format!("empty range in randrange({start}, {stop}, {step})")
            });
        }
        Ok(start + step * BigInt::from(self.below_big(count.magnitude())))
    }

    /// Brings items into another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

fn of_bytes(bytes: &[u8]) -> BigUint {
    let mut all = bytes.to_vec();
    all.extend_from_slice(&sha2::Sha512::digest(bytes));
    BigUint::from_bytes_be(&all)
}

/// `hash()` of a float: its value modulo 2^61 - 1.
fn float_hash(value: f64) -> i64 {
    const BITS: i32 = 61;
    const MODULUS: u64 = (1 << BITS) - 1;
    if !value.is_finite() {
        return if value.is_nan() {
            0
        } else if value > 0.0 {
            314_159
        } else {
            -314_159
        };
    }
    let raw = value.abs().to_bits();
    let exponent_bits = (raw >> 52) as i32 & 0x7ff;
    let fraction = raw & ((1 << 52) - 1);
    let (mantissa, exponent) = if exponent_bits == 0 {
        (fraction, -1074)
    } else {
        (fraction | 1 << 52, exponent_bits - 1075)
    };
    // Multiplying by two is a rotation of 61 bits.
    let shift = exponent.rem_euclid(BITS) as u32;
    let mantissa = mantissa % MODULUS;
    let turned = if shift == 0 {
        mantissa
    } else {
        (mantissa << shift & MODULUS) | mantissa >> (BITS as u32 - shift)
    };
    let hash = turned as i64;
    match if value < 0.0 { -hash } else { hash } {
        -1 => -2,
        hash => hash,
    }
}

impl Twister {
    fn of_number(seed: u32) -> Self {
        let mut state = [0_u32; SIZE];
        state[0] = seed;
        for at in 1..SIZE {
            state[at] = 1_812_433_253_u32
                .wrapping_mul(state[at - 1] ^ state[at - 1] >> 30)
                .wrapping_add(at as u32);
        }
        Twister { state, at: SIZE }
    }

    fn of_array(key: &[u32]) -> Self {
        let mut twister = Self::of_number(19_650_218);
        let state = &mut twister.state;
        let (mut i, mut j) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            j += 1;
            if i >= SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
            if j >= key.len() {
                j = 0;
            }
        }
        for _ in 0..SIZE - 1 {
            state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            i += 1;
            if i >= SIZE {
                state[0] = state[SIZE - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        twister
    }

    fn next(&mut self) -> u32 {
        if self.at >= SIZE {
            for at in 0..SIZE {
                let pair = self.state[at] & 0x8000_0000 | self.state[(at + 1) % SIZE] & 0x7fff_ffff;
                let twist = if pair & 1 == 0 { 0 } else { 0x9908_b0df };
                self.state[at] = self.state[(at + SHIFT) % SIZE] ^ pair >> 1 ^ twist;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }
}
