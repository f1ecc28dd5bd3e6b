//! One thread swaps what a name leads to as fast as it can, while another uses the name.
//!
//! Invariant: a race is only over once the swap has been seen from both sides, so that none passes
//! because the threads never met.

use super::{FileError, Fixture, in_time};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// Attempts that a race takes at least.
const MIN_ATTEMPTS: u32 = 20_000;

/// Swaps that it takes at least.
const MIN_SWAPS: u32 = 100_000;

/// Attempts after which a race in which one side was never seen has failed.
const MAX_ATTEMPTS: u32 = 100 * MIN_ATTEMPTS;

/// Ends the swapping also when an attempt panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Attempts over and over while `first` and `second` trade places. Which error an attempt gives
/// depends on how far it was, and on whether the kernel has `openat2` for it: any will do.
fn race(first: &Path, second: &Path, mut attempt: impl FnMut() -> Result<(), FileError>) {
    let (stopped, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, first, CWD, second, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = Stop(&stopped);
        let (mut attempts, mut inside, mut refused) = (0, 0, 0);
        let swapped_enough = || swaps.load(Ordering::Relaxed) >= MIN_SWAPS;
        while attempts < MIN_ATTEMPTS || !swapped_enough() || inside == 0 || refused == 0 {
            assert!(attempts < MAX_ATTEMPTS, "{inside} inside, {refused} refused");
            attempts += 1;
            match attempt() {
                Ok(()) => inside += 1,
                Err(_) => refused += 1,
            }
        }
    });
}

/// Reads what must be `inside` if it can be read.
fn read(fixture: &Fixture, path: &str) -> Result<(), FileError> {
    fixture.read(path).map(|content| assert_eq!(content, "inside"))
}

#[test]
fn a_file_swapped_for_a_link_out_never_gives_the_secret() {
    let fixture = Fixture::new();
    fixture.file("file", "inside").link("link", "../outside/secret");
    let (file, link) = (fixture.inside.join("file"), fixture.inside.join("link"));
    race(&file, &link, || read(&fixture, "file"));
}

#[test]
fn a_folder_swapped_for_a_link_out_never_gives_the_secret() {
    let fixture = Fixture::new();
    fixture.folder("folder").file("folder/secret", "inside").link("link", &fixture.outside);
    let (folder, link) = (fixture.inside.join("folder"), fixture.inside.join("link"));
    race(&folder, &link, || read(&fixture, "folder/secret"));
}

#[test]
fn a_folder_moved_out_while_its_parent_is_asked_for_never_gives_the_secret() {
    let fixture = Fixture::new();
    // With `folder` moved outside, its `..` is the folder with the secret.
    fixture.folder("folder").file("secret", "inside");
    let (folder, other) = (fixture.inside.join("folder"), fixture.outside.join("file"));
    fs::write(&other, "").unwrap();
    // cap-std gives up on the kernel's resolution after a few renames and walks by itself, so this
    // tries both.
    race(&folder, &other, || read(&fixture, "folder/../secret"));
}

#[test]
fn a_file_swapped_for_a_fifo_is_never_waited_for() {
    let fixture = Fixture::new();
    fixture.file("file", "inside").fifo("fifo");
    in_time(move || {
        let (file, fifo) = (fixture.inside.join("file"), fixture.inside.join("fifo"));
        race(&file, &fifo, || read(&fixture, "file"));
    });
}

#[test]
fn a_file_swapped_for_a_link_out_never_writes_to_the_secret() {
    let fixture = Fixture::new();
    fixture.file("file", "").link("link", "../outside/secret");
    let (file, link) = (fixture.inside.join("file"), fixture.inside.join("link"));
    race(&file, &link, || fixture.write("file", "overwritten"));
    fixture.assert_outside_is_untouched();
}

#[test]
fn a_folder_swapped_for_a_link_out_never_makes_or_takes_files_outside() {
    let fixture = Fixture::new();
    fixture.folder("folder").link("link", "../outside");
    let (folder, link) = (fixture.inside.join("folder"), fixture.inside.join("link"));
    let mut turn = 0_u32;
    race(&folder, &link, || {
        turn += 1;
        match turn % 3 {
            0 => fixture.write("folder/secret", "overwritten"),
            1 => fixture.worktree.unlink(&fixture.path("folder/secret")),
            _ => fixture.write("folder/new", ""),
        }
    });
    fixture.assert_outside_is_untouched();
}
