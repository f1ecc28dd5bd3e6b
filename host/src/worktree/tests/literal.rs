//! Paths taken literally: what their text says is where they lead, whatever links there are.

use super::{FileError, Fixture, assert_is, in_time};
use crate::worktree::{FileStat, LiteralPath};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn literal(fixture: &Fixture, path: &str) -> LiteralPath {
    LiteralPath::of(&fixture.path(path)).unwrap()
}

#[test]
fn the_text_of_a_path_says_what_it_is_beneath() {
    let fixture = Fixture::new();
    let path = |path| literal(&fixture, path);
    assert!(path("data/a/b").is_beneath(&path("data")));
    assert!(path("data").is_beneath(&path("data")));
    assert!(path("data/x/../y").is_beneath(&path("data/y")));
    assert!(path("anything").is_beneath(&path(".")));
    assert!(!path("data-beside").is_beneath(&path("data")));
    assert!(!path("data/../other").is_beneath(&path("data")));
    assert!(!path(".").is_beneath(&path("data")));
    LiteralPath::of(&fixture.path("data/../../up")).unwrap_err();
    assert_eq!(path("a/b/c").steps(), [path("a"), path("a/b"), path("a/b/c")]);
}

#[test]
fn no_link_is_followed_on_the_way_or_at_the_end() {
    let fixture = Fixture::new();
    fixture
        .folder("real")
        .file("real/file", "text")
        .link("folder", "real")
        .link("file", "real/file");
    let worktree = &fixture.worktree;
    assert_eq!(worktree.read_literal(&literal(&fixture, "real/file"), 9).unwrap(), b"text");
    for path in ["file", "folder/file"] {
        let path = literal(&fixture, path);
        assert_is!(worktree.read_literal(&path, 9), Err(FileError::Link));
        assert_is!(worktree.write_literal(&path, b"x", false), Err(FileError::Link));
        let stat = worktree.stat_literal(&path).and_then(FileStat::not_of_a_link);
        assert_is!(stat, Err(FileError::Link));
    }
    let folder = literal(&fixture, "folder");
    assert_is!(worktree.read_dir_literal(&folder, 9), Err(FileError::Link));
    assert_is!(worktree.make_dir_literal(&literal(&fixture, "folder/made")), Err(FileError::Link));
    assert_is!(worktree.unlink_literal(&literal(&fixture, "folder/file")), Err(FileError::Link));
    let moved = worktree.rename_literal(&literal(&fixture, "folder/file"), &literal(&fixture, "x"));
    assert_is!(moved, Err(FileError::Link));
    assert_eq!(worktree.read_literal(&literal(&fixture, "real/file"), 9).unwrap(), b"text");
}

#[test]
fn links_that_are_swapped_while_a_file_is_read_lead_nowhere() {
    const READS: usize = 100_000;
    let fixture = Arc::new(Fixture::new());
    fixture
        .folder("data")
        .file("data/file", "allowed")
        .folder("other")
        .file("other/file", "denied");
    let over = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (fixture, over) = (Arc::clone(&fixture), Arc::clone(&over));
        std::thread::spawn(move || {
            let at = |name: &str| fixture.inside.join(name);
            let mut swaps = 0_usize;
            while !over.load(Ordering::Relaxed) {
                std::fs::rename(at("data"), at("away")).unwrap();
                symlink("other", at("data")).unwrap();
                std::fs::remove_file(at("data")).unwrap();
                std::fs::rename(at("away"), at("data")).unwrap();
                swaps += 1;
            }
            swaps
        })
    };
    let swaps = in_time(move || {
        let path = literal(&fixture, "data/file");
        let mut read = 0;
        for _ in 0..READS {
            match fixture.worktree.read_literal(&path, 64) {
                Ok(text) => {
                    assert_eq!(text, b"allowed");
                    read += 1;
                }
                Err(FileError::Link | FileError::NotFound | FileError::NotADirectory) => {}
                Err(error) => panic!("{error}"),
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(read > 0);
        swapping.join().unwrap()
    });
    assert!(swaps > 0);
}

#[test]
fn the_bytes_of_a_worktree_are_those_of_its_files() {
    let fixture = Fixture::new();
    fixture.file("a", "12345").folder("b").file("b/c", "123").link("d", "a").fifo("e");
    assert_eq!(fixture.worktree.usage(5).unwrap(), 8);
    assert_is!(fixture.worktree.usage(4), Err(FileError::TooManyEntries { limit: 4 }));
}
