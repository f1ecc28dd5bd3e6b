//! The `vm-system` binary's library: the command line on an in-process host.
//!
//! Owns everything a user sees: flags, exit codes, what goes to which stream. What a session is
//! and does is the host's; the REST layer will stand beside [`cli`] as another caller of it.

pub mod cli;
mod settings_patch;
