//! The command line: exit codes, streams, files.

mod daemon;
mod kill;
mod libs;
mod programs;
mod repl;
mod run;
mod serve;
mod tenants;
mod typescript;
