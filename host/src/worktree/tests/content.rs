//! Reading and writing: what is inside works, and all else is refused without waiting for it.
//!
//! Invariant: each hostile name is both read and written, and the folder outside is looked at after.

use super::super::content::CHUNK_BYTES;
use super::{FileError, Fixture, RegularFile, Worktree, WorktreePath, assert_is};
use cap_std::fs::OpenOptions;
use std::fs::{self, OpenOptions as HostOptions};
use std::io::Write;
use std::path::Path;

/// Asserts that `path` leads outside for every kind of access, and that nothing got there.
fn check_escapes(fixture: &Fixture, path: &str) {
    assert_is!(fixture.read(path), Err(FileError::Escapes));
    assert_is!(fixture.write(path, "overwritten"), Err(FileError::Escapes));
    assert_is!(fixture.worktree.stat(&fixture.path(path)), Err(FileError::Escapes));
    assert!(!fixture.worktree.exists(&fixture.path(path)), "{path} exists");
    fixture.assert_outside_is_untouched();
}

#[test]
fn files_are_read_back_as_they_were_written() {
    let fixture = Fixture::new();
    fixture.folder("a");
    fixture.write("a/file", "long content").unwrap();
    assert_eq!(fixture.read("a/file").unwrap(), "long content");
    fixture.write("a/file", "short").unwrap();
    assert_eq!(fixture.read("a/../a/./file").unwrap(), "short");
    fixture.write("a/file", "").unwrap();
    assert_eq!(fixture.read(fixture.inside.join("a/file").to_str().unwrap()).unwrap(), "");
}

#[test]
fn a_file_of_many_chunks_is_whole() {
    let fixture = Fixture::new();
    let content: Vec<u8> = (0_u8..=250).cycle().take(3 * CHUNK_BYTES + 7).collect();
    let path = fixture.path("large");
    fixture.worktree.write(&path, &content).unwrap();
    assert!(fixture.worktree.read(&path, u64::MAX).unwrap() == content);
}

#[test]
fn names_that_go_up_past_the_root_escape() {
    let fixture = Fixture::new();
    fixture.folder("a/b");
    let absolute = fixture.inside.join("../outside/secret");
    for path in ["../outside/secret", "a/../../outside/secret", "a/b/../../../outside/secret"] {
        check_escapes(&fixture, path);
    }
    check_escapes(&fixture, absolute.to_str().unwrap());
    assert_is!(fixture.read(".."), Err(FileError::Escapes));
    assert_is!(fixture.read("a/../.."), Err(FileError::Escapes));
    // It would be inside again, but has been outside.
    assert_is!(fixture.read("../inside/a"), Err(FileError::Escapes));
}

#[test]
fn names_that_are_encoded_are_not_decoded() {
    let fixture = Fixture::new();
    for path in ["%2e%2e/outside/secret", "..%2foutside%2fsecret", "..\\outside\\secret"] {
        assert_is!(fixture.read(path), Err(FileError::NotFound));
    }
    fixture.write("..\\outside\\secret", "inside").unwrap();
    assert_eq!(fixture.read("..\\outside\\secret").unwrap(), "inside");
    fixture.assert_outside_is_untouched();
}

#[test]
fn links_that_leave_escape() {
    let fixture = Fixture::new();
    fixture.folder("a").file("file", "inside");
    fixture.link("absolute", fixture.outside.join("secret"));
    fixture.link("relative", "../outside/secret").link("a/relative", "../../outside/secret");
    fixture.link("new", "../outside/new").link("absolute-new", fixture.outside.join("new"));
    fixture.link("first", "a/second").link("a/second", "relative");
    fixture.link("folder", "../outside").link("zero", "/dev/zero");
    fixture.link("back", fixture.inside.join("file"));
    for path in ["absolute", "relative", "a/relative", "new", "absolute-new", "first"] {
        check_escapes(&fixture, path);
    }
    // A link that is absolute is refused wherever it leads, as is what lies behind a folder's.
    for path in ["folder/secret", "folder/new", "folder/../inside/file", "zero", "back"] {
        check_escapes(&fixture, path);
    }
    assert_eq!(fixture.read("file").unwrap(), "inside");
}

#[test]
fn links_that_stay_are_followed() {
    let fixture = Fixture::new();
    fixture.folder("a/b").file("a/file", "inside");
    fixture.link("first", "a/b/second").link("a/b/second", "../third").link("a/third", "file");
    fixture.link("folder", "a/b").link("nowhere", "a/new");
    assert_eq!(fixture.read("first").unwrap(), "inside");
    // Past a link, `..` is the parent of what it leads to.
    assert_eq!(fixture.read("folder/../file").unwrap(), "inside");
    fixture.write("first", "changed").unwrap();
    assert_eq!(fixture.read("a/file").unwrap(), "changed");
    fixture.write("nowhere", "made").unwrap();
    assert_eq!(fixture.read("a/new").unwrap(), "made");
}

#[test]
fn a_loop_of_links_ends() {
    let fixture = Fixture::new();
    fixture.link("a", "b").link("b", "a");
    for path in ["a", "b/file"] {
        assert_is!(fixture.read(path), Err(FileError::TooManyLinks));
        assert_is!(fixture.write(path, ""), Err(FileError::TooManyLinks));
    }
}

#[test]
fn what_is_missing_or_too_long_or_no_directory_says_so() {
    let fixture = Fixture::new();
    fixture.file("file", "");
    let (component, path) = ("a".repeat(256), "a/".repeat(2048));
    assert_is!(fixture.read("missing"), Err(FileError::NotFound));
    assert_is!(fixture.write("missing/file", ""), Err(FileError::NotFound));
    assert_is!(fixture.read("file/a"), Err(FileError::NotADirectory));
    assert_is!(fixture.write("file/a", ""), Err(FileError::NotADirectory));
    assert_is!(fixture.read(&component), Err(FileError::NameTooLong));
    assert_is!(fixture.read(&path), Err(FileError::NotFound));
}

#[test]
fn a_directory_is_neither_read_nor_written() {
    let fixture = Fixture::new();
    fixture.folder("a").link("folder", "a");
    for path in ["a", "a/", ".", "a/..", "folder"] {
        assert_is!(fixture.read(path), Err(FileError::IsADirectory));
        assert_is!(fixture.write(path, ""), Err(FileError::IsADirectory));
    }
}

#[test]
fn a_file_larger_than_the_limit_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("file");
    let check = |bytes: usize, limit: u64| {
        fixture.worktree.write(&path, &vec![b'a'; bytes]).unwrap();
        fixture.worktree.read(&path, limit).map(|content| content.len())
    };
    assert_is!(check(0, 0), Ok(0));
    assert_is!(check(1, 0), Err(FileError::TooLarge { limit: 0 }));
    assert_is!(check(10, 10), Ok(10));
    assert_is!(check(11, 10), Err(FileError::TooLarge { limit: 10 }));
    assert_is!(check(CHUNK_BYTES, CHUNK_BYTES as u64), Ok(CHUNK_BYTES));
    assert_is!(check(CHUNK_BYTES + 1, CHUNK_BYTES as u64), Err(FileError::TooLarge { .. }));
}

#[test]
fn a_file_that_grows_after_it_was_opened_is_still_bounded() {
    let fixture = Fixture::new();
    fixture.file("file", "12345");
    let open = || -> RegularFile {
        fixture.worktree.open_regular(&fixture.path("file"), OpenOptions::new().read(true)).unwrap()
    };
    let (first, second, third) = (open(), open(), open());
    let mut file = HostOptions::new().append(true).open(fixture.inside.join("file")).unwrap();
    file.write_all(b"67890").unwrap();
    assert_eq!(first.bytes, 5);
    assert_is!(first.read(9), Err(FileError::TooLarge { limit: 9 }));
    assert_eq!(second.read(10).unwrap(), b"1234567890");
    fs::write(fixture.inside.join("file"), "").unwrap();
    assert_eq!(third.read(10).unwrap(), b"");
}

#[test]
fn a_file_that_hides_its_size_is_still_bounded() {
    let process = Worktree::open(Path::new("/proc/self")).unwrap();
    let status = WorktreePath::strict("status").unwrap();
    assert_eq!(process.stat(&status).unwrap().size, 0);
    assert_is!(process.read(&status, 10), Err(FileError::TooLarge { limit: 10 }));
    assert!(process.read(&status, 1024 * 1024).unwrap().starts_with(b"Name:"));
}

#[test]
fn a_file_that_is_known_is_read_again_only_when_it_was_changed() {
    let fixture = Fixture::new();
    fixture.file("a", "one");
    let read = |known| fixture.worktree.read_unless(&fixture.path("a"), 100, known).unwrap();
    let (content, version) = read(None).unwrap();
    assert_eq!(content, b"one");
    assert!(read(Some(version)).is_none());
    // It was just written: another change may look the same for a while.
    let written = fs::metadata(fixture.inside.join("a")).unwrap();
    let written = std::os::unix::fs::MetadataExt::ctime(&written);
    assert!(!version.tells_changes_at(written) && !version.tells_changes_at(written + 2));
    assert!(version.tells_changes_at(written + 3));
    fixture.file("b", "two");
    fs::rename(fixture.inside.join("b"), fixture.inside.join("a")).unwrap();
    assert_eq!(read(Some(version)).unwrap().0, b"two");
}
