//! The binary: see [`vm_api::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vm_api::cli::main()
}
