//! The border to the host.
#![expect(unsafe_code, reason = "buffers that the host writes are raw memory")]

use crate::strip::{self, Refused};

/// The source is a line of a REPL.
const FLAG_REPL: u32 = 1;

/// First byte of an answer that is the source without its types.
const STRIPPED: u8 = 0;
/// First byte of an answer that says why not: a line and a column follow, each 32-bit and
/// little-endian, then a sentence.
const REFUSED: u8 = 1;

unsafe extern "C" {
    /// Runs the constructors that the linker collected. That it is called here has the linker not wrap
    /// every export in a call of it, as it would for a command.
    fn __wasm_call_ctors();
}

/// Makes the memory ready. Called once, before anything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: this is the first call into a fresh memory.
    unsafe { __wasm_call_ctors() };
}

/// Memory for a source.
#[unsafe(no_mangle)]
extern "C" fn ts_alloc(len: usize) -> *mut u8 {
    Box::leak(vec![0; len].into_boxed_slice()).as_mut_ptr()
}

/// Strips the source, which is UTF-8, in memory that [`ts_alloc`] gave; gives the address and length of
/// the answer (address in the upper half).
#[unsafe(no_mangle)]
extern "C" fn ts_strip(pointer: *mut u8, len: usize, flags: u32) -> u64 {
    // SAFETY: the host had it made for this call, and wrote all of it.
    let source = unsafe { Vec::from_raw_parts(pointer, len, len) };
    let source = String::from_utf8(source).unwrap_or_default();
    let is_line = flags & FLAG_REPL != 0;
    let stripped = if is_line { strip::line(source) } else { strip::file(source) };
    let answer = match stripped {
        Ok(text) => [&[STRIPPED], text.as_bytes()].concat(),
        Err(Refused { line, column, message }) => {
            let (line, column) = (line.to_le_bytes(), column.to_le_bytes());
            [&[REFUSED], &line[..], &column, message.as_bytes()].concat()
        }
    };
    let answer = Box::leak(answer.into_boxed_slice());
    ((answer.as_ptr() as u64) << 32) | answer.len() as u64
}
