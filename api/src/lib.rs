//! The `vm-system` binary's library: the REST server, a typed client of it, and the command line.
//!
//! Owns everything that a user sees: routes and their bodies, flags, exit codes, what goes to which
//! stream. What a session is and does is the host's.

pub mod cli;
pub mod client;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod libraries;
pub mod server;
mod settings_patch;
mod strict_json;
mod whole;
pub mod wire;

pub use error::ErrorCode;
