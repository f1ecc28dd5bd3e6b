//! Listing, looking at, making and taking away, among names that lead out.
//!
//! Invariant: the folder outside is looked at after every attempt to change it.

use super::{FileError, FileKind, FileStat, Fixture, Parents, assert_is, in_time};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

fn check_stat(fixture: &Fixture, path: &str, expected: (FileKind, u64)) {
    let stat = fixture.worktree.stat(&fixture.path(path)).unwrap();
    assert_eq!((stat.kind, stat.size), expected, "{path}");
}

fn listed(fixture: &Fixture, path: &str, max: usize) -> Result<Vec<String>, FileError> {
    let entries = fixture.worktree.read_dir(&fixture.path(path), max)?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

#[test]
fn names_in_a_directory_are_sorted() {
    let fixture = Fixture::new();
    fixture.file("b", "").folder("c").file("a", "").link("d", "/nowhere").fifo("e");
    let names = |path| listed(&fixture, path, 5);
    assert_eq!(names(".").unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(names("c/..").unwrap(), ["a", "b", "c", "d", "e"]);
    assert!(names("c").unwrap().is_empty());
}

#[test]
fn a_name_that_is_not_text_is_listed_all_the_same() {
    let fixture = Fixture::new();
    fs::write(fixture.inside.join(OsStr::from_bytes(b"a\xff")), "").unwrap();
    assert_eq!(listed(&fixture, ".", 1).unwrap(), ["a\u{fffd}"]);
}

#[test]
fn a_directory_with_more_entries_than_the_limit_is_refused() {
    let fixture = Fixture::new();
    fixture.file("a", "").file("b", "");
    let names = |limit| listed(&fixture, ".", limit);
    assert_eq!(names(2).unwrap(), ["a", "b"]);
    assert_is!(names(1), Err(FileError::TooManyEntries { limit: 1 }));
    assert_is!(names(0), Err(FileError::TooManyEntries { limit: 0 }));
}

#[test]
fn only_directories_inside_are_listed() {
    let fixture = Fixture::new();
    fixture.file("file", "").fifo("fifo").link("out", "../outside").link("loop", "loop");
    fixture.link("absolute", &fixture.outside);
    let (worktree, fifo) = (Arc::clone(&fixture.worktree), fixture.path("fifo"));
    assert_is!(in_time(move || worktree.read_dir(&fifo, 9)), Err(FileError::NotADirectory));
    let names = |path| fixture.worktree.read_dir(&fixture.path(path), 9);
    assert_is!(names("file"), Err(FileError::NotADirectory));
    assert_is!(names("missing"), Err(FileError::NotFound));
    assert_is!(names("loop"), Err(FileError::TooManyLinks));
    for path in ["..", "out", "absolute", "../outside", "out/../inside"] {
        assert_is!(names(path), Err(FileError::Escapes));
    }
}

#[test]
fn a_stat_says_kind_size_and_time() {
    let fixture = Fixture::new();
    fixture.file("file", "12345").folder("folder").fifo("fifo").link("link", "file");
    check_stat(&fixture, "file", (FileKind::File, 5));
    check_stat(&fixture, "link", (FileKind::File, 5));
    let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_250_500);
    fs::File::open(fixture.inside.join("file")).unwrap().set_modified(time).unwrap();
    let FileStat { kind, size: _, modified_ms } =
        fixture.worktree.stat(&fixture.path("folder")).unwrap();
    assert_eq!(kind, FileKind::Directory);
    assert!(modified_ms > 1_700_000_000_000.0);
    let modified_ms = fixture.worktree.stat(&fixture.path("link")).unwrap().modified_ms;
    assert!((modified_ms - 1_700_000_000_250.5).abs() < 1e-3, "{modified_ms}");
}

#[test]
fn a_fifo_is_looked_at_without_being_opened() {
    let fixture = Fixture::new();
    fixture.fifo("fifo");
    let (worktree, path) = (Arc::clone(&fixture.worktree), fixture.path("fifo"));
    let (stat, exists) = in_time(move || (worktree.stat(&path), worktree.exists(&path)));
    assert_is!(stat, Ok(FileStat { kind: FileKind::Other, size: 0, .. }));
    assert!(exists);
}

#[test]
fn only_what_is_inside_exists() {
    let fixture = Fixture::new();
    fixture.file("file", "").folder("folder").link("link", "file").link("nowhere", "missing");
    fixture.link("out", "../outside").link("loop", "loop");
    let exists = |path: &str| fixture.worktree.exists(&fixture.path(path));
    assert!(["file", "folder", "link", ".", "folder/../file"].into_iter().all(exists));
    for path in ["missing", "nowhere", "file/a", "..", "out", "out/secret", "loop"] {
        assert!(!exists(path), "{path}");
    }
    assert!(!exists(&"a".repeat(256)));
}

#[test]
fn directories_are_made_with_or_without_those_above() {
    let fixture = Fixture::new();
    fixture.file("file", "").folder("real").link("link", "real").link("nowhere", "missing");
    let make = |path: &str, parents| fixture.worktree.make_dir(&fixture.path(path), parents);
    assert_is!(make("a/b/c", Parents::Require), Err(FileError::NotFound));
    assert_is!(make("a", Parents::Require), Ok(()));
    assert_is!(make("a", Parents::Require), Err(FileError::AlreadyExists));
    assert_is!(make(".", Parents::Require), Err(FileError::AlreadyExists));
    for path in ["a/b/c", "a/b/c", ".", "a/..", "link", "link/d", "new/../other"] {
        assert_is!(make(path, Parents::Create), Ok(()));
        assert!(fixture.inside.join(path).is_dir(), "{path}");
    }
    assert!(fixture.inside.join("real/d").is_dir());
    for parents in [Parents::Require, Parents::Create] {
        assert_is!(make("file", parents), Err(FileError::AlreadyExists));
        assert_is!(make("nowhere", parents), Err(FileError::AlreadyExists));
        assert_is!(make("file/a", parents), Err(FileError::NotADirectory));
        assert_is!(make(&"a".repeat(256), parents), Err(FileError::NameTooLong));
    }
}

#[test]
fn directories_are_made_as_deep_as_a_path_goes() {
    let fixture = Fixture::new();
    // No deeper than a temporary folder can be removed again.
    let deep = "a/".repeat(500);
    fixture.worktree.make_dir(&fixture.path(&deep), Parents::Create).unwrap();
    assert!(fixture.worktree.exists(&fixture.path(&deep)));
}

#[test]
fn no_directory_is_made_outside() {
    let fixture = Fixture::new();
    fixture.folder("a").link("out", "../outside").link("absolute", &fixture.outside);
    fixture.link("new", "../outside/new");
    let make = |path, parents| fixture.worktree.make_dir(&fixture.path(path), parents);
    for parents in [Parents::Require, Parents::Create] {
        for path in ["..", "../outside/a", "a/../../outside/a", "out/a", "out/a/b", "absolute/a"] {
            assert_is!(make(path, parents), Err(FileError::Escapes));
        }
        // The link itself is what is there already.
        assert_is!(make("new", parents), Err(FileError::AlreadyExists));
        assert_is!(make("out", parents), Err(FileError::AlreadyExists));
    }
    fixture.assert_outside_is_untouched();
}

#[test]
fn files_and_links_are_taken_away_and_directories_stay() {
    let fixture = Fixture::new();
    fixture.file("file", "").folder("folder").fifo("fifo").link("link", "folder");
    fixture.link("out", "../outside/secret").link("out-folder", "../outside");
    let unlink = |path| fixture.worktree.unlink(&fixture.path(path));
    for path in ["folder", "folder/", ".", "folder/..", "folder/../folder"] {
        assert_is!(unlink(path), Err(FileError::IsADirectory));
    }
    for path in ["..", "../outside/secret", "folder/../../outside/secret", "out-folder/secret"] {
        assert_is!(unlink(path), Err(FileError::Escapes));
    }
    for path in ["file", "fifo", "link", "out", "out-folder"] {
        assert_is!(unlink(path), Ok(()));
        assert_is!(unlink(path), Err(FileError::NotFound));
    }
    assert_eq!(listed(&fixture, ".", 9).unwrap(), ["folder"]);
    fixture.assert_outside_is_untouched();
}
