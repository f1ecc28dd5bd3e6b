//! A heap image: a module that defines and exports a memory with given contents. Wasmtime maps it
//! copy-on-write, so that a session pays only for the pages it changes.

use crate::heap::{PAGE, STACK_BYTES};
use vm_guest::abi::exports;
use wasm_encoder::{
    ConstExpr, DataSection, ExportKind, ExportSection, MemorySection, MemoryType, Module,
};

const WASM_PAGE: usize = 64 * 1024;

/// Clears the dead stack of a memory that no call is running in.
pub(super) fn without_stack(mut memory: Vec<u8>) -> Vec<u8> {
    let end = STACK_BYTES.min(memory.len());
    memory[..end].fill(0);
    memory
}

/// Encodes a memory, a whole number of WebAssembly pages, leaving out the pages that are zero.
pub(super) fn encode(memory: &[u8]) -> Vec<u8> {
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
    fn only_filled_pages_are_kept() {
        let mut memory = vec![0; 2 * WASM_PAGE];
        memory[PAGE + 5] = 1;
        memory[2 * PAGE] = 2;
        memory[2 * WASM_PAGE - 1] = 3;
        let runs: Vec<_> = filled_runs(&memory).iter().map(|(at, run)| (*at, run.len())).collect();
        assert_eq!(runs, [(PAGE, 2 * PAGE), (2 * WASM_PAGE - PAGE, PAGE)]);
    }
}
