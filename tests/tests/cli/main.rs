//! The command line as a user or a script meets it: exit codes, streams, files.

mod binary;
mod kill;
mod repl;
mod run;
