//! Runs a checkout of test262, ECMAScript's conformance suite, through the guest, in process:
//!
//! ```text
//! cargo run --release -p vm-tests --example test262 -- PATH/TO/test262
//!   [--filter TEXT]…        tests whose path has one of these
//!   [--jobs N]              sessions at one time (2)
//!   [--json FILE]           every test with what became of it
//!   [--expectations FILE]   the tests that fail; any difference is an error
//! ```
//!
//! Each run of a test has a session of its own, from a template whose startup files are those of the
//! suite's harness that the test asks for. It prints what passed by folder, and why tests were not run.
//!
//! Invariant: a test passes when each of its runs did what the suite says; one that is not run is
//! counted apart, and never as passed. Nothing of the suite is written but to a folder that goes.

mod expectations;
mod judge;
mod metadata;
mod report;
mod run;
mod suite;

use run::Runner;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use suite::{Outcome, Suite};

/// What the runner itself can fail with: files, the store, the engine.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How many tests pass between two lines that say how far it is.
const PROGRESS: usize = 5_000;

struct Arguments {
    suite: PathBuf,
    filters: Vec<String>,
    jobs: usize,
    json: Option<PathBuf>,
    expectations: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!(
            "usage: test262 SUITE [--filter TEXT]… [--jobs N] [--json FILE] [--expectations FILE]"
        );
        return ExitCode::from(2);
    };
    match test(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("test262: {error}");
            ExitCode::from(70)
        }
    }
}

fn arguments() -> Option<Arguments> {
    let mut given = std::env::args().skip(1);
    let mut arguments = Arguments {
        suite: given.next().filter(|first| !first.starts_with('-'))?.into(),
        filters: Vec::new(),
        jobs: 2,
        json: None,
        expectations: None,
    };
    while let Some(flag) = given.next() {
        let value = given.next()?;
        match flag.as_str() {
            "--filter" => arguments.filters.push(value),
            "--jobs" => arguments.jobs = value.parse().ok().filter(|jobs| *jobs > 0)?,
            "--json" => arguments.json = Some(value.into()),
            "--expectations" => arguments.expectations = Some(value.into()),
            _ => return None,
        }
    }
    Some(arguments)
}

async fn test(arguments: Arguments) -> Result<ExitCode, Failed> {
    let started = Instant::now();
    let suite = Suite::read(&arguments.suite, &arguments.filters)?;
    if suite.tests.is_empty() {
        return Err("there are no such tests".into());
    }
    eprintln!("{} tests, of them {} to run", suite.tests.len(), suite.to_run());
    let runner = Arc::new(Runner::start(&suite).await?);
    let suite = Arc::new(suite);
    let (next, jobs) = (Arc::new(AtomicUsize::new(0)), arguments.jobs);
    let work = (0..jobs).map(|_| {
        let (suite, runner, next) = (Arc::clone(&suite), Arc::clone(&runner), Arc::clone(&next));
        tokio::spawn(async move {
            let mut outcomes = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(test) = suite.tests.get(index) else { return Ok::<_, Failed>(outcomes) };
                outcomes.push((index, runner.outcome(test).await?));
                if (index + 1).is_multiple_of(PROGRESS) {
                    eprintln!("{} tests after {} s", index + 1, started.elapsed().as_secs());
                }
            }
        })
    });
    let mut outcomes = vec![Outcome::Passed; suite.tests.len()];
    for worker in work.collect::<Vec<_>>() {
        for (index, outcome) in worker.await?? {
            outcomes[index] = outcome;
        }
    }
    let results: Vec<_> = suite.tests.iter().zip(outcomes).collect();
    report::print(&results);
    println!("\n{} s, {jobs} at a time", started.elapsed().as_secs());
    if let Some(file) = &arguments.json {
        report::write_json(file, &results)?;
    }
    match &arguments.expectations {
        Some(file) => expectations::compare(file, &results),
        None => Ok(ExitCode::SUCCESS),
    }
}
