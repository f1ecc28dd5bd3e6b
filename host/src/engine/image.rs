//! A heap image: a module that defines and exports a memory with given contents. Wasmtime maps it
//! copy-on-write, so that a session pays only for the pages it changes.

use crate::heap::{PAGE, STACK_BYTES};
use vm_guest::abi::exports;
use wasm_encoder::{
    ConstExpr, DataSection, ExportKind, ExportSection, MemorySection, MemoryType, Module,
};
use wasmparser::{Parser, Payload};

const WASM_PAGE: usize = 64 * 1024;
/// Bytes of an image: what a template's startup may leave to become one.
pub(crate) const MAX_IMAGE_BYTES: usize = 64 << 20;

/// Clears the dead stack of a memory that no call is running in.
pub(super) fn without_stack(mut memory: Vec<u8>) -> Vec<u8> {
    let end = STACK_BYTES.min(memory.len());
    memory[..end].fill(0);
    memory
}

/// Encodes a memory, a whole number of WebAssembly pages, leaving out the pages that are zero.
pub(crate) fn encode(memory: &[u8]) -> Vec<u8> {
    debug_assert_eq!(memory.len() % WASM_PAGE, 0, "memories grow by whole pages");
    let mut module = Module::new();
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: (memory.len() / WASM_PAGE) as u64,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut exported = ExportSection::new();
    exported.export(exports::MEMORY, ExportKind::Memory, 0);
    module.section(&exported);
    let mut data = DataSection::new();
    for (start, bytes) in filled_runs(memory) {
        let offset = u32::try_from(start).expect("a memory has at most 4 GiB").cast_signed();
        data.active(0, &ConstExpr::i32_const(offset), bytes.iter().copied());
    }
    module.section(&data);
    module.finish()
}

/// Why a module is no heap image.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAnImage {
    #[error("the image is no valid module: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    #[error("the image cannot be used: {0}")]
    Unsupported(&'static str),
}

/// The memory of a module that [`encode`] made.
pub(super) fn decode(module: &[u8]) -> Result<Vec<u8>, NotAnImage> {
    let mut memory = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(section) => {
                for kind in section {
                    let pages = usize::try_from(kind?.initial).unwrap_or(usize::MAX);
                    let bytes = pages.saturating_mul(WASM_PAGE);
                    if memory.is_some() || bytes > MAX_IMAGE_BYTES {
                        return Err(NotAnImage::Unsupported("it has too much memory"));
                    }
                    memory = Some(vec![0; bytes]);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let wasmparser::DataKind::Active { offset_expr, .. } = data.kind else {
                        return Err(NotAnImage::Unsupported("it has passive data"));
                    };
                    let mut offset = offset_expr.get_operators_reader();
                    let wasmparser::Operator::I32Const { value } = offset.read()? else {
                        return Err(NotAnImage::Unsupported("its data has no constant offset"));
                    };
                    let start = value.cast_unsigned() as usize;
                    memory
                        .as_mut()
                        .and_then(|memory| memory.get_mut(start..)?.get_mut(..data.data.len()))
                        .ok_or(NotAnImage::Unsupported("its data lies outside its memory"))?
                        .copy_from_slice(data.data);
                }
            }
            Payload::Version { .. }
            | Payload::ExportSection(_)
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Err(NotAnImage::Unsupported("it has more than a memory")),
        }
    }
    memory.ok_or(NotAnImage::Unsupported("it has no memory"))
}

/// The runs of pages that are not zero, with their offsets.
fn filled_runs(memory: &[u8]) -> Vec<(usize, &[u8])> {
    let mut runs = Vec::new();
    let mut start = None;
    for (index, page) in memory.chunks(PAGE).enumerate() {
        let filled = page.iter().any(|byte| *byte != 0);
        match (filled, start) {
            (true, None) => start = Some(index * PAGE),
            (false, Some(begin)) => {
                runs.push((begin, &memory[begin..index * PAGE]));
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    if let Some(begin) = start {
        runs.push((begin, &memory[begin..]));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_decoded_to_the_memory_that_it_was_made_of() {
        let mut memory = vec![0; 2 * WASM_PAGE];
        memory[3 * PAGE..4 * PAGE].fill(7);
        memory[2 * WASM_PAGE - 1] = 3;
        assert!(decode(&encode(&memory)).unwrap() == memory);
        assert!(decode(&encode(&[])).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let module = |text: &str| decode(&wat::parse_str(text).unwrap()).unwrap_err().to_string();
        let refused = |why: &str| format!("the image cannot be used: {why}");
        assert_eq!(module("(module)"), refused("it has no memory"));
        assert_eq!(module("(module (memory 60000))"), refused("it has too much memory"));
        assert_eq!(module("(module (memory 1) (memory 1))"), refused("it has too much memory"));
        let outside = "(module (memory 1) (data (i32.const 65535) \"ab\"))";
        assert_eq!(module(outside), refused("its data lies outside its memory"));
        assert_eq!(module("(module (memory 1) (data \"a\"))"), refused("it has passive data"));
        let runs = "(module (memory 1) (func) (start 0))";
        assert_eq!(module(runs), refused("it has more than a memory"));
        assert!(decode(b"no module").is_err());
    }

    #[test]
    fn only_filled_pages_are_kept() {
        let mut memory = vec![0; 2 * WASM_PAGE];
        memory[PAGE + 5] = 1;
        memory[2 * PAGE] = 2;
        memory[2 * WASM_PAGE - 1] = 3;
        let runs: Vec<_> = filled_runs(&memory).iter().map(|(at, run)| (*at, run.len())).collect();
        assert_eq!(runs, [(PAGE, 2 * PAGE), (2 * WASM_PAGE - PAGE, PAGE)]);
    }
}
