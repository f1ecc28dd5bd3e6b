//! Strips types from TypeScript, for the host. One instance strips one source and is dropped: a
//! parser recurses as deep as its source says, and here that ends an instance, not the host.
//!
//! Invariant: it imports nothing that tells it anything, so that the same source gives the same text.

mod abi;
mod imports;
mod strip;
