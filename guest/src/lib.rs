//! The guest that every session runs: `QuickJS` on the javy crate, compiled to WebAssembly, embedded
//! here as bytes; the types of the border between it and the host; and what the host makes of its code
//! before it compiles it: split from its memory, and metered.
//!
//! Invariant: [`wasm`] and [`sha256`] describe the same artifact (a test compares them). Running
//! it is the host's part.

pub mod abi;
mod meter;
mod split;

pub use meter::{MAX_TURN_COST, METER_VERSION, metered};
pub use split::{SplitError, SplitGuest, split};

/// The guest as it was built: a reactor that defines and exports its memory.
pub fn wasm() -> &'static [u8] {
    include_bytes!("../guest.wasm")
}

/// What strips types from TypeScript, as it was built: a reactor that imports nothing that it needs.
pub fn typescript() -> &'static [u8] {
    include_bytes!("../typescript.wasm")
}

/// The SHA-256 of [`wasm`], in hexadecimal, as `guest.toml` records it. Compiled modules and heap
/// images are only good for the guest they were made with, and are kept under this name.
#[expect(clippy::missing_panics_doc, reason = "the expectation cannot fail, as it says")]
pub fn sha256() -> &'static str {
    const STAMP: &str = include_str!("../guest.toml");
    STAMP
        .lines()
        .find_map(|line| line.strip_prefix("wasm_sha256 = "))
        .map(|value| value.trim_matches('"'))
        .expect("build.sh writes the line into every guest.toml")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn a_guest_that_is_cut_off_is_refused() {
        let wasm = crate::wasm();
        for parts in 1..64 {
            assert!(crate::split(&wasm[..wasm.len() * parts / 64]).is_err(), "{parts} of 64");
        }
    }

    #[test]
    fn the_guest_is_valid_with_its_meter_and_metered_code_is_not_metered_again() {
        let code = crate::split(crate::wasm()).unwrap().code;
        let metered = crate::metered(&code).unwrap();
        wasmparser::Validator::new().validate_all(&metered).unwrap();
        // It would export its counter twice.
        let twice = crate::metered(&metered).unwrap();
        assert!(wasmparser::Validator::new().validate_all(&twice).is_err());
        for parts in 0..64 {
            assert!(crate::metered(&code[..code.len() * parts / 64]).is_err(), "{parts} of 64");
        }
    }

    #[test]
    fn the_stamp_names_the_embedded_artifacts() {
        let hash = Sha256::digest(crate::wasm());
        assert_eq!(format!("{hash:x}"), crate::sha256());
        let line = format!("typescript_sha256 = \"{:x}\"\n", Sha256::digest(crate::typescript()));
        assert!(include_str!("../guest.toml").contains(&line), "{line}");
    }
}
