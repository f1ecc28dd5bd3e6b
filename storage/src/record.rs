//! Records as bytes: JSON, bounded when written, checked when read.
//!
//! Invariant: whatever `encode` lets through, `decode` reads back. Bytes that it cannot read are a
//! typed error, never a panic.

use crate::error::StorageError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// How deep a record may nest its arrays and objects: `serde_json` reads no deeper, so that a
/// record cannot exhaust the stack. An event takes 3 levels and an execution 2 of it.
pub const MAX_RECORD_DEPTH: usize = 127;

/// How large one record may be, in bytes. The largest upstream is an execution whose input fills a
/// request body; this is well above, and well under redb's 3 GiB, past which a group would fail.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// The bytes of a record; `name` says which one, for errors.
pub(crate) fn encode<T: Serialize>(name: &dyn Display, value: &T) -> Result<Vec<u8>, StorageError> {
    let bytes = serde_json::to_vec(value)
        .expect("checked by construction: records have string keys and no failing serializers");
    if bytes.len() > MAX_RECORD_BYTES {
        let (record, limit) = (name.to_string(), MAX_RECORD_BYTES);
        return Err(StorageError::RecordTooLarge { record, bytes: bytes.len(), limit });
    }
    let depth = depth(&bytes);
    if depth > MAX_RECORD_DEPTH {
        let (record, limit) = (name.to_string(), MAX_RECORD_DEPTH);
        return Err(StorageError::RecordTooDeep { record, depth, limit });
    }
    Ok(bytes)
}

/// The record of these bytes; `name` says which one, for errors.
pub(crate) fn decode<T: DeserializeOwned>(
    name: &dyn Display,
    bytes: &[u8],
) -> Result<T, StorageError> {
    serde_json::from_slice(bytes).map_err(|error| StorageError::DamagedRecord {
        record: name.to_string(),
        detail: error.to_string(),
    })
}

/// How deep a well-formed JSON text nests.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!("]]}\\\"[["), |inner, _| json!([inner]))
    }

    #[test]
    fn the_deepest_record_that_is_written_can_be_read() {
        let value = nested(MAX_RECORD_DEPTH);
        let bytes = encode(&"probe", &value).unwrap();
        assert_eq!(decode::<Value>(&"probe", &bytes).unwrap(), value);
    }

    #[test]
    fn a_deeper_record_is_refused_by_name() {
        let error = encode(&"probe", &nested(MAX_RECORD_DEPTH + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the probe nests 128 levels, past the limit of 127");
    }

    #[test]
    fn a_record_past_the_size_limit_is_refused_by_name() {
        encode(&"probe", &"x".repeat(MAX_RECORD_BYTES - 2)).unwrap();
        let error = encode(&"probe", &"x".repeat(MAX_RECORD_BYTES - 1)).unwrap_err();
        assert_eq!(error.to_string(), "the probe has 16777217 bytes, past the limit of 16777216");
    }

    #[test]
    fn bytes_that_are_no_record_are_a_typed_error() {
        let error = decode::<Value>(&"probe", b"{\"a\":").unwrap_err();
        assert!(
            matches!(error, StorageError::DamagedRecord { ref record, .. } if record == "probe")
        );
    }
}
