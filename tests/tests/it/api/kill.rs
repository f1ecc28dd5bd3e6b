//! The daemon is killed again and again under load.

#[path = "../../../kill/kill_loop.rs"]
mod kill_loop;

use crate::harness::Folder;
use kill_loop::{KillLoop, run};
use std::path::PathBuf;

#[test]
fn fifty_kills_under_load_lose_nothing_and_leave_nothing_half_done() {
    let folder = Folder::new();
    let report = run(
        KillLoop {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_vm-system-under-test")),
            folder: folder.path(""),
            cache_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("modules")),
            kills: 50,
            seed: 20_261_123,
        },
        |_| {},
    );
    assert_eq!(report.kills, 50);
    assert!(report.acknowledged > 500 && report.heaps > 100, "{report:?}");
}
