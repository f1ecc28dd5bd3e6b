//! Kernels in process, without sessions, commits or limits: what the guest takes when nothing is metered.
//!
//! `cargo run --release -p vm-host --features bench --example bare_kernels -- FILE…`; one line of JSON,
//! the best milliseconds of five by the files' names, with `fresh`, a new runtime with `1+1` and its end,
//! and `warm`, one more `1+1`. With `--metered` before the files, the same with fuel.

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use vm_host::PageTracking;
use vm_host::bare::BareEngine;

/// Times that a kernel runs; the best counts.
const TIMES: usize = 5;
/// Times that what takes microseconds is done; the median counts.
const SMALL_TIMES: usize = 2_000;

fn milliseconds(start: Instant) -> Value {
    json!(start.elapsed().as_secs_f64() * 1e3)
}

fn median(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    json!(times[times.len() / 2])
}

async fn kernel(engine: &BareEngine, source: &str) -> Value {
    let mut best = Value::Null;
    for _ in 0..TIMES {
        let mut runtime = engine.runtime().await.expect("the pool has room");
        let start = Instant::now();
        runtime.evaluate(source).await;
        let took = milliseconds(start);
        if best.as_f64().is_none_or(|best| took.as_f64() < Some(best)) {
            best = took;
        }
    }
    best
}

async fn measured(engine: &BareEngine, files: &[PathBuf]) -> Map<String, Value> {
    let mut told = Map::new();
    for file in files {
        let source = std::fs::read_to_string(file).expect("a kernel can be read");
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        told.insert(name, kernel(engine, &source).await);
    }
    engine.learn().await;
    let (mut fresh, mut warm) = (Vec::new(), Vec::new());
    let mut kept = engine.runtime().await.expect("the pool has room");
    for _ in 0..SMALL_TIMES {
        let start = Instant::now();
        let mut runtime = engine.runtime().await.expect("the pool has room");
        runtime.evaluate("1+1").await;
        drop(runtime);
        fresh.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        kept.evaluate("1+1").await;
        warm.push(start.elapsed().as_secs_f64() * 1e3);
    }
    told.insert("fresh".to_owned(), median(fresh));
    told.insert("warm".to_owned(), median(warm));
    told
}

fn main() {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let metered = files.first().is_some_and(|first| first == Path::new("--metered"));
    if metered {
        files.remove(0);
    }
    if files.is_empty() {
        eprintln!("usage: bare_kernels [--metered] FILE...");
        std::process::exit(2);
    }
    let tokio = tokio::runtime::Runtime::new().expect("a runtime starts");
    let engine = if metered {
        BareEngine::new(None, PageTracking::Kernel)
    } else {
        BareEngine::unmetered(None)
    };
    let engine = engine.expect("the engine starts");
    println!("{}", Value::from(tokio.block_on(measured(&engine, &files))));
}
