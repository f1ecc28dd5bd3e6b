//! The tests that are known to fail, a path a line; `#` begins a comment.
//!
//! Invariant: a test that fails and is not listed is an error, and so is one that is listed and does
//! not fail, if it is among those that were asked for.

use crate::Failed;
use crate::suite::{Outcome, Test};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Compares what failed with a list, and prints the differences.
pub(crate) fn compare(file: &Path, results: &[(&Test, Outcome)]) -> Result<ExitCode, Failed> {
    let list = fs::read_to_string(file)?;
    let lines = list.lines().map(str::trim);
    let expected: BTreeSet<&str> =
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut differences = 0;
    for (test, outcome) in results {
        let difference = match outcome {
            Outcome::Failed { mode, reason } if !expected.contains(test.path.as_str()) => {
                format!("failed ({}): {reason}", mode.name())
            }
            Outcome::Passed if expected.contains(test.path.as_str()) => {
                "passed, and was expected to fail".to_owned()
            }
            Outcome::Failed { .. } | Outcome::Passed | Outcome::Skipped(_) => continue,
        };
        differences += 1;
        println!("{}: {difference}", test.path);
    }
    println!("{differences} differences from {}", file.display());
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
