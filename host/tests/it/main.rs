//! The host through its public surface, on the real guest and a real database.

mod continuity;
mod durability;
mod errors;
mod files;
mod harness;
mod limits;
mod recursion;
mod startup;
