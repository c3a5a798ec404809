//! Numbers with a meaning: heights, sequences, times and fixed-point scores.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The chain's number of a block; genesis is 0. Not to be assumed from a [`Sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Height(pub u64);

/// The log's number of a message; the first is 1 and 0 stands for *before the first*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
display_inner!(Height, Sequence, Timestamp, Micros);

impl Height {
    /// Block 0.
    pub const GENESIS: Self = Self(0);

    /// The height after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Sequence {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Timestamp {
    /// This time and `span` more, at most the end of time.
    #[must_use]
    pub const fn saturating_add(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long before this time `earlier` was; zero if it was not.
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl Micros {
    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }
}

/// A fixed-point number in millionths: `Fixed::from_millionths(500_000)` is one half.
///
/// Scores live in state as integers so that every machine computes the same bits. Products are truncated toward
/// zero. The text form is a decimal with at most six places, `-0.25`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fixed(i64);

impl Fixed {
    /// How many parts make one.
    pub const SCALE: i64 = 1_000_000;
    /// 0
    pub const ZERO: Self = Self(0);
    /// ½
    pub const HALF: Self = Self(Self::SCALE / 2);
    /// 1
    pub const ONE: Self = Self(Self::SCALE);

    /// `millionths` parts of a million.
    pub const fn from_millionths(millionths: i64) -> Self {
        Self(millionths)
    }

    /// This number in millionths.
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// The product, truncated toward zero; saturates at the ends of `i64`.
    #[must_use]
    pub const fn times(self, other: Self) -> Self {
        Self(saturate(self.0 as i128 * other.0 as i128 / Self::SCALE as i128))
    }

    /// This number times `num`/`den`, truncated toward zero once; saturates. A zero `den` gives zero.
    #[must_use]
    pub const fn times_ratio(self, num: i64, den: i64) -> Self {
        if den == 0 {
            return Self::ZERO;
        }
        Self(saturate(self.0 as i128 * num as i128 / den as i128))
    }

    /// The sum; saturates at the ends of `i64`.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The sum, then held within `low..=high`.
    #[must_use]
    pub fn plus_within(self, delta: Self, low: Self, high: Self) -> Self {
        self.plus(delta).clamp(low, high)
    }

    /// The distance from zero; saturates.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Whether this lies in `low..=high`.
    pub fn is_within(self, low: Self, high: Self) -> bool {
        (low..=high).contains(&self)
    }
}

const fn saturate(wide: i128) -> i64 {
    if wide > i64::MAX as i128 {
        i64::MAX
    } else if wide < i64::MIN as i128 {
        i64::MIN
    } else {
        wide as i64
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let scale = Self::SCALE as u64;
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:06}", magnitude / scale, magnitude % scale);
        let kept = text.trim_end_matches('0').trim_end_matches('.');
        f.pad(if kept.is_empty() || kept == "-" { "0" } else { kept })
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a decimal with at most six places, or lies beyond ±9.2 × 10¹².
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a decimal number with at most six places, such as 0.5 or -0.25")]
pub struct FixedError(pub String);

impl FromStr for Fixed {
    type Err = FixedError;

    fn from_str(text: &str) -> Result<Self, FixedError> {
        let bad = || FixedError(text.chars().take(40).collect());
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && places.is_empty())
            || places.len() > 6
            || !all_digits(whole)
            || !all_digits(places)
        {
            return Err(bad());
        }
        let parse = |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<i64>() };
        let whole = parse(whole).map_err(|_| bad())?;
        let places = parse(&format!("{places:0<6}")).map_err(|_| bad())?;
        let magnitude = i128::from(whole) * i128::from(Self::SCALE) + i128::from(places);
        i64::try_from(if negative { -magnitude } else { magnitude }).map(Self).map_err(|_| bad())
    }
}

impl Serialize for Fixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Fixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Fixed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal in quotes, such as \"0.5\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fixed, E> {
                text.parse().map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Text)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_text_round_trips() {
        for (text, millionths) in
            [("0", 0), ("0.5", 500_000), ("-0.25", -250_000), ("12.000001", 12_000_001), ("-3", -3_000_000)]
        {
            let value: Fixed = text.parse().unwrap();
            assert_eq!(value.millionths(), millionths);
            assert_eq!(value.to_string(), text);
        }
        for end in [i64::MIN, i64::MAX].map(Fixed::from_millionths) {
            assert_eq!(end.to_string().parse(), Ok(end));
        }
        for bad in ["", "-", ".", "1.0000001", "1e3", "0x1", "--1", "9999999999999999999"] {
            assert!(bad.parse::<Fixed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn products_truncate_toward_zero() {
        let third = Fixed::from_millionths(333_333);
        assert_eq!(third.times(third).millionths(), 111_110);
        assert_eq!(Fixed::from_millionths(-333_333).times(third).millionths(), -111_110);
        assert_eq!(
            Fixed::from_millionths(i64::MAX).times(Fixed::from_millionths(i64::MAX)).millionths(),
            i64::MAX
        );
    }
}
