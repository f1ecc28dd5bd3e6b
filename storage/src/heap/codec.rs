//! Rows of a heap, as bytes.
//!
//! ```text
//! row      checksum (4, CRC-32 of what follows)  form (1)  payload
//! form     0 zero page, no payload   1 as it is   2 LZ4, with its length before it
//! page     4,096 bytes
//! base     postcard of BaseRow
//! patch    postcard of PatchRow
//! ```
//!
//! Invariant: bytes that are not exactly what was written are a typed error, never a panic, and
//! take no more memory than a row may have.

use super::{HEAP_PAGE_BYTES, HeapMemory, HeapPage, HeapPatch, PagePatch};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Bytes of a patch, before it is compressed: the host writes whole pages instead of large ones.
pub(crate) const MAX_PATCH_BYTES: usize = 1 << 20;

/// Payloads below this are not worth compressing.
const MIN_COMPRESSED: usize = 128;

const ZERO: u8 = 0;
const PLAIN: u8 = 1;
const LZ4: u8 = 2;
const CHECKSUM: usize = 4;

/// The row of a heap's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BaseRow {
    /// The ordinal of the commit that wrote it.
    pub(crate) ordinal: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) clock_ms: u64,
    /// Rows of pages.
    pub(crate) pages: u64,
}

/// What an execution changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PatchRow {
    /// The ordinal of the commit that changed the heap before.
    pub(crate) follows: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) clock_ms: u64,
    pub(crate) pages: Vec<PagePatch>,
}

pub(crate) fn encode_page(page: &HeapPage) -> Vec<u8> {
    if page.iter().all(|byte| *byte == 0) {
        return seal(ZERO, &[]);
    }
    let compressed = lz4_flex::compress_prepend_size(page);
    if compressed.len() < HEAP_PAGE_BYTES { seal(LZ4, &compressed) } else { seal(PLAIN, page) }
}

pub(crate) fn decode_page(row: &[u8]) -> Result<Box<HeapPage>, String> {
    let mut page = Box::new([0; HEAP_PAGE_BYTES]);
    let payload = open(row, HEAP_PAGE_BYTES)?;
    match payload.len() {
        0 => {}
        HEAP_PAGE_BYTES => page.copy_from_slice(&payload),
        bytes => return Err(format!("a page has {bytes} bytes")),
    }
    Ok(page)
}

pub(crate) fn encode_base(base: &BaseRow) -> Vec<u8> {
    seal(PLAIN, &to_postcard(base))
}

pub(crate) fn decode_base(row: &[u8]) -> Result<BaseRow, String> {
    from_postcard(&open(row, 64)?)
}

/// The row of a patch; `None` when it is larger than one may be.
pub(crate) fn encode_patch(follows: u64, memory: HeapMemory, patch: &HeapPatch) -> Option<Vec<u8>> {
    // The fields of a `PatchRow`, in its order.
    let payload = to_postcard(&(follows, memory.bytes, memory.clock_ms, patch.pages()));
    if payload.len() > MAX_PATCH_BYTES {
        return None;
    }
    if payload.len() < MIN_COMPRESSED {
        return Some(seal(PLAIN, &payload));
    }
    let compressed = lz4_flex::compress_prepend_size(&payload);
    Some(if compressed.len() < payload.len() {
        seal(LZ4, &compressed)
    } else {
        seal(PLAIN, &payload)
    })
}

pub(crate) fn decode_patch(row: &[u8]) -> Result<PatchRow, String> {
    let row: PatchRow = from_postcard(&open(row, MAX_PATCH_BYTES)?)?;
    for run in row.pages.iter().flat_map(|page| &page.runs) {
        if usize::from(run.at) + run.bytes.len() > HEAP_PAGE_BYTES {
            return Err("a patch goes past the end of its page".to_owned());
        }
    }
    Ok(row)
}

fn to_postcard(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("checked by construction: plain numbers and bytes")
}

fn from_postcard<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

fn seal(form: u8, payload: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(CHECKSUM + 1 + payload.len());
    row.extend_from_slice(&[0; CHECKSUM]);
    row.push(form);
    row.extend_from_slice(payload);
    let checksum = crc32fast::hash(&row[CHECKSUM..]);
    row[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    row
}

/// The payload of a row, of at most `max` bytes.
fn open(row: &[u8], max: usize) -> Result<Cow<'_, [u8]>, String> {
    let (checksum, rest) = row.split_first_chunk().ok_or("it is cut short")?;
    if crc32fast::hash(rest).to_le_bytes() != *checksum {
        return Err("its checksum is wrong".to_owned());
    }
    match rest.split_first() {
        Some((&ZERO, [])) => Ok(Cow::Borrowed(&[])),
        Some((&PLAIN, payload)) if payload.len() <= max => Ok(Cow::Borrowed(payload)),
        Some((&LZ4, compressed)) => {
            let (length, compressed) = lz4_flex::block::uncompressed_size(compressed)
                .map_err(|error| error.to_string())?;
            if length > max {
                return Err(format!("it has {length} bytes"));
            }
            let payload = lz4_flex::decompress(compressed, length);
            Ok(Cow::Owned(payload.map_err(|error| error.to_string())?))
        }
        Some(_) | None => Err("it has no known form".to_owned()),
    }
}

/// Bytes as a length and themselves, not as a sequence of numbers.
pub(crate) mod bytes {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that no compressor makes smaller.
    fn noise() -> HeapPage {
        let mut state = 1_u64;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
    }

    fn patch() -> (HeapMemory, HeapPatch) {
        let mut patch = HeapPatch::default();
        patch.add(3, &[0; HEAP_PAGE_BYTES], &noise());
        patch.add(u32::MAX, &[0; HEAP_PAGE_BYTES], &[1; HEAP_PAGE_BYTES]);
        (HeapMemory { bytes: 4 << 20, clock_ms: 99 }, patch)
    }

    #[test]
    fn a_page_comes_back_as_it_was() {
        let text: HeapPage = std::array::from_fn(|at| u8::try_from(at / 100).unwrap());
        for (page, most) in [([0; HEAP_PAGE_BYTES], 5), (text, 400), (noise(), 4_101)] {
            let row = encode_page(&page);
            assert!(row.len() <= most, "{}", row.len());
            assert_eq!(*decode_page(&row).unwrap(), page);
        }
    }

    #[test]
    fn a_patch_comes_back_as_it_was() {
        let (memory, patch) = patch();
        let row = decode_patch(&encode_patch(7, memory, &patch).unwrap()).unwrap();
        assert_eq!((row.follows, row.memory_bytes, row.clock_ms), (7, 4 << 20, 99));
        assert_eq!(row.pages, patch.pages());
    }

    #[test]
    fn a_patch_past_its_bound_is_not_written() {
        let mut patch = HeapPatch::default();
        (0..300).for_each(|page| patch.add(page, &[0; HEAP_PAGE_BYTES], &noise()));
        assert_eq!(encode_patch(0, HeapMemory::default(), &patch), None);
    }

    type Decode = fn(&[u8]) -> bool;

    #[test]
    fn no_byte_of_a_row_can_change_unnoticed() {
        let (memory, patch) = patch();
        let base = BaseRow { ordinal: 1, memory_bytes: 2, clock_ms: 3, pages: 4 };
        let rows: [(Vec<u8>, Decode); 3] = [
            (encode_page(&noise()), |row| decode_page(row).is_ok()),
            (encode_patch(7, memory, &patch).unwrap(), |row| decode_patch(row).is_ok()),
            (encode_base(&base), |row| decode_base(row).is_ok()),
        ];
        for (row, decodes) in rows {
            assert!(decodes(&row));
            for at in 0..row.len() {
                let mut damaged = row.clone();
                damaged[at] ^= 1;
                assert!(!decodes(&damaged), "byte {at}");
                assert!(!decodes(&row[..at]), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_row_that_lies_about_itself_is_refused() {
        let huge = [&u32::MAX.to_le_bytes()[..], &[0; 8]].concat();
        let outside = PatchRow {
            follows: 0,
            memory_bytes: 0,
            clock_ms: 0,
            pages: vec![PagePatch {
                page: 0,
                runs: vec![super::super::PatchRun { at: 4_095, bytes: vec![1, 2] }],
            }],
        };
        assert!(decode_page(&seal(LZ4, &huge)).is_err());
        assert!(decode_page(&seal(PLAIN, &[1; 100])).is_err());
        assert!(decode_page(&seal(9, &[1; 100])).is_err());
        assert!(decode_patch(&seal(PLAIN, &to_postcard(&outside))).is_err());
        assert!(decode_patch(&seal(PLAIN, &[0xff; 50])).is_err());
    }
}
