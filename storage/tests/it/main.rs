//! Tests of the store through its public surface, on real files in temporary folders.
//!
//! One module a subject; `harness` opens stores and makes nouns. Crashes of a simulated disk are
//! tested inside the crate (`src/crash_tests.rs`), where redb's backend can be replaced.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer; this is all tests")]

mod backup;
mod executions;
mod expiry;
mod grouping;
mod harness;
mod heaps;
mod kill;
mod kv;
mod memory;
mod migration;
mod paging;
mod recovery;
mod refusals;
mod round_trips;
mod sessions;
mod sweeping;
mod templates;
mod tenants;
