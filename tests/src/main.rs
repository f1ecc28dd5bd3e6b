//! The `vm-system` binary, for tests to start: the same one line as in `api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vm_api::cli::main()
}
