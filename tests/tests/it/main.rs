//! The binary as its users meet it: the REST API on a daemon that was really started, and the
//! command line. See docs/coverage.md for which test holds what.
#![expect(clippy::unwrap_used, reason = "a test may panic, and says where")]

mod api;
mod cli;
mod coverage;
mod harness;
mod hostile;
mod scripts;
