//! Any bytes for a guest: they are split, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|wasm: &[u8]| {
    if let Ok(split) = vm_guest::split(wasm) {
        // The halves are modules again: neither is a guest, since each lacks the other.
        assert!(split.code.starts_with(b"\0asm"));
        assert!(split.initial_memory.starts_with(b"\0asm"));
    }
});
