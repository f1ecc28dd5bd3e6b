//! The command line as a user or a script meets it: exit codes, streams, files.
#![expect(clippy::unwrap_used, reason = "a test may panic, and says where")]

mod binary;
mod kill;
mod repl;
mod run;
