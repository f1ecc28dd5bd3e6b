//! Strict JSON: what a lenient reader would let pass in silence is refused.
//!
//! Invariant: a text that is decoded has no duplicate key at any depth, nothing after its value, no
//! invalid UTF-8, and no deeper nesting than `MAX_DEPTH`. A structure is written as an object, never
//! as an array of its fields, which serde would take as well.

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor,
};
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// Levels of arrays and objects. Half of what a record of the store takes, because a body's parts
/// are kept some levels deeper in records.
pub(crate) const MAX_DEPTH: usize = 64;

/// Decodes a JSON text, which is an object.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Check { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    object(&mut serde_json::Deserializer::from_slice(text))
}

/// Decodes a structure from an object and from nothing else. A field that is a structure has this as
/// its `deserialize_with`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Object(PhantomData))
}

/// Walks a value that is `depth` levels deep, and keeps nothing of it.
#[derive(Clone, Copy)]
struct Check {
    depth: usize,
}

impl Check {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("the JSON nests more than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(inside)?;
            if let Some(again) = seen.replace(key) {
                return Err(A::Error::custom(format!("the key {again:?} is there twice")));
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_is_strict_json_is_decoded() {
        let inside = MAX_DEPTH - 1;
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(inside), "]".repeat(inside));
        for good in ["{}", " {\"a\":{\"b\":1},\"b\":[1,2.5,-3,true,null,\"x\"]} ", &nested] {
            decode::<Value>(good.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_not_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        let very_deep = "[".repeat(1_000_000);
        let cases: [&[u8]; 15] = [
            b"null",
            b"[]",
            b"",
            b"{",
            b"{} {}",
            b"{}x",
            b"{\"a\":1,\"a\":1}",
            b"[{\"b\":{\"a\":1,\"\\u0061\":2}}]",
            b"{'a':1}",
            b"[1,]",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\xef\xbb\xbf{}",
            deep.as_bytes(),
            very_deep.as_bytes(),
        ];
        for bad in cases {
            decode::<Value>(bad).unwrap_err();
        }
    }
}
