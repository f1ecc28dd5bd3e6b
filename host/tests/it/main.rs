//! The host through its public surface, on the real guest and a real database.
#![expect(clippy::unwrap_used, reason = "a test may panic, and says where")]

mod capabilities;
mod console;
mod continuity;
mod database;
mod durability;
mod effective;
mod environment;
mod errors;
mod exec;
mod files;
mod following;
mod harness;
mod hibernation;
mod images;
mod kv;
mod limits;
mod model;
mod modules;
mod net;
mod outlives;
mod races;
mod recursion;
mod repl;
mod sessions;
mod startup;
mod timers;
mod transactions;
mod typescript;
mod values;
mod web;
