//! Kills a daemon under load as often as one likes, and checks after each kill that everything that
//! was acknowledged is there:
//!
//! ```text
//! cargo build --release
//! cargo run --release -p vm-tests --example kill -- 1000 target/release/vm-system [SEED]
//! ```
#![expect(clippy::unwrap_used, reason = "it may panic, and says where")]

#[path = "../kill/kill_loop.rs"]
mod kill_loop;

use kill_loop::{KillLoop, run};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(kills), Some(binary)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: kill KILLS BINARY [SEED]");
        return ExitCode::from(2);
    };
    let folder = tempfile::tempdir().unwrap();
    let seed = arguments.next().map_or(1, |seed| seed.parse().unwrap());
    let kill_loop = KillLoop {
        binary: PathBuf::from(binary).canonicalize().unwrap(),
        folder: folder.path().to_owned(),
        cache_dir: None,
        kills: kills.parse().unwrap(),
        seed,
    };
    let report = run(kill_loop, |report| {
        if report.kills.is_multiple_of(50) {
            println!("{report:?}");
        }
    });
    println!("seed {seed}: {report:?}");
    ExitCode::SUCCESS
}
