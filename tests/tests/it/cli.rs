//! The command line: exit codes, streams, files.

mod daemon;
mod kill;
mod libs;
mod repl;
mod run;
mod serve;
mod typescript;
