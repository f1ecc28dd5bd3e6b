//! What a run of the suite came to, for people and for programs.
//!
//! Invariant: passed, failed and skipped together are all tests.

use crate::Failed;
use crate::suite::{Outcome, Test};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

type Results<'a> = [(&'a Test, Outcome)];

/// Reasons of failures that are printed.
const REASONS: usize = 40;
/// Characters of a reason by which failures are counted together.
const REASON_LEN: usize = 100;

#[derive(Clone, Copy, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }

    fn line(self, name: &str) -> String {
        let Self { passed, failed, skipped } = self;
        let (run, all) = (passed + failed, passed + failed + skipped);
        format!(
            "| {name} | {all} | {skipped} | {run} | {passed} | {failed} | {} | {} |",
            percent(passed, run),
            percent(passed, all)
        )
    }
}

fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // Cut, not rounded: 100 % is all of them.
    let tenths = part * 1_000 / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Prints tables in Markdown: by folder, why tests were skipped, why they failed.
pub(crate) fn print(results: &Results<'_>) {
    let mut folders: BTreeMap<String, Count> = BTreeMap::new();
    let (mut reasons, mut skips) = (BTreeMap::new(), BTreeMap::new());
    let mut all = Count::default();
    for (test, outcome) in results {
        let levels: Vec<&str> = test.path.split('/').collect();
        for depth in [2, 3] {
            if levels.len() > depth {
                folders.entry(levels[..depth].join("/")).or_default().add(outcome);
            }
        }
        all.add(outcome);
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed { reason, .. } => {
                let start: String = reason.chars().take(REASON_LEN).collect();
                *reasons.entry(start.replace('\n', " ")).or_insert(0) += 1;
            }
            Outcome::Skipped(reason) => *skips.entry(*reason).or_insert(0_usize) += 1,
        }
    }
    println!("| folder | tests | skipped | run | passed | failed | of those run | of all |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (folder, count) in folders {
        println!("{}", count.line(&folder));
    }
    println!("{}", all.line("all"));
    println!("\n| skipped | why |\n| --- | --- |");
    for (reason, count) in skips {
        println!("| {count} | {reason} |");
    }
    println!("\n| failed | why |\n| --- | --- |");
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(&right.0)));
    for (reason, count) in reasons.iter().take(REASONS) {
        println!("| {count} | {reason} |");
    }
    if reasons.len() > REASONS {
        println!("and {} more reasons", reasons.len() - REASONS);
    }
}

/// Writes every test with what became of it.
pub(crate) fn write_json(file: &Path, results: &Results<'_>) -> Result<(), Failed> {
    let tests: Vec<_> = results
        .iter()
        .map(|(test, outcome)| match outcome {
            Outcome::Passed => json!({ "path": test.path, "outcome": "passed" }),
            Outcome::Failed { mode, reason } => json!({
                "path": test.path, "outcome": "failed", "mode": mode.name(), "reason": reason,
                "features": test.metadata.features,
            }),
            Outcome::Skipped(reason) => {
                json!({ "path": test.path, "outcome": "skipped", "reason": reason })
            }
        })
        .collect();
    fs::write(file, serde_json::to_vec(&tests)?)?;
    Ok(())
}
