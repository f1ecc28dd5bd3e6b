//! A whole number as a client may write it, before it is known to be in range.
//!
//! Invariant: a number that is whole is taken however large it is, so that one out of range is told
//! from one of the wrong type.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

/// A whole number of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(i128);

/// A number that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {min} and {max}, not {found}")]
pub(crate) struct OutOfRange {
    pub(crate) field: &'static str,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) found: i128,
}

impl Whole {
    /// The number, if it is in the range.
    pub(crate) fn within(self, field: &'static str, min: i64, max: i64) -> Result<i64, OutOfRange> {
        match i64::try_from(self.0) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(_) | Err(_) => Err(OutOfRange { field, min, max, found: self.0 }),
        }
    }
}

impl From<u64> for Whole {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl From<i64> for Whole {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i128(self.0)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
            #[expect(clippy::cast_possible_truncation, reason = "a cast to i128 saturates")]
            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                if number.fract() == 0.0 {
                    return Ok(Whole(number as i128));
                }
                Err(E::invalid_type(serde::de::Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_told_from_one_of_the_wrong_type() {
        for (text, found) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("1e2", Some(100)),
            ("101", None),
            ("-1", None),
            ("1e300", None),
            ("18446744073709551616", None),
        ] {
            let number: Whole = serde_json::from_str(text).unwrap();
            assert_eq!(number.within("n", 0, 100).ok(), found, "{text}");
        }
        for wrong in ["1.5", "\"5\"", "null", "true", "[]"] {
            serde_json::from_str::<Whole>(wrong).unwrap_err();
        }
    }
}
