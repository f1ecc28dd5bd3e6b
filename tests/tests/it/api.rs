//! The REST API, a file for each family of routes and for each thing that must hold for all of them.

mod abuse;
mod artifacts;
mod cancel;
mod capacity;
mod concurrency;
mod databases;
mod decoding;
mod errors;
mod executions;
mod faults;
mod following;
mod http2;
mod keys;
mod kill;
mod log;
mod migration;
mod ops;
mod packages;
mod restart;
mod runtime;
mod safety;
mod sessions;
mod shutdown;
mod templates;
mod tls;
