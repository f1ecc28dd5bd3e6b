//! The guest of vm-system: QuickJS, through the javy crate, as a WebAssembly reactor. One instance
//! of it is one session, and its linear memory is all the state the session has.
//!
//! [`abi`] is its border and the place to start reading; [`evaluate`] is what an execution does.

mod abi;
mod console;
mod evaluate;
mod format;
mod inspect;
mod json;
mod modules;
mod pending;
mod primordials;
mod raw;
mod repl;
mod require;
mod reserve;
mod session;
mod state;
mod text;
mod timers;
mod web;
