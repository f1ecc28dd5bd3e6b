//! What names a file of the worktree and what does not, and what can be a worktree at all.
//!
//! Invariant: nothing but the strings and the root decides here; `content` and `entries` try what
//! the files behind the names do.

use super::super::path::MAX_PATH_BYTES;
use super::{
    FileError, Fixture, PathError, Worktree, WorktreeError, WorktreePath, assert_is, in_time,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn check(path: &str, expected: Result<&str, PathError>) {
    let strict = WorktreePath::strict(path);
    assert_eq!(strict.as_ref().map(WorktreePath::as_str).map_err(|error| *error), expected);
}

#[test]
fn strict_paths_are_normalised() {
    check("a", Ok("a"));
    check("./a", Ok("a"));
    check("a//b/./c", Ok("a/b/c"));
    check("a/", Ok("a"));
    check("a/.", Ok("a"));
    check(".", Ok("."));
    check("./", Ok("."));
    check(".//.", Ok("."));
}

#[test]
fn a_name_that_only_looks_like_a_way_out_is_a_name() {
    check("..a", Ok("..a"));
    check("a..", Ok("a.."));
    check("...", Ok("..."));
    check("%2e%2e/a", Ok("%2e%2e/a"));
    check("..%2fa", Ok("..%2fa"));
    check("..\\a", Ok("..\\a"));
    check("\u{ff0e}\u{ff0e}/a", Ok("\u{ff0e}\u{ff0e}/a"));
    check("~/a", Ok("~/a"));
}

#[test]
fn strict_paths_have_no_parent_component() {
    for path in ["..", "../", "../a", "./../a", "a/..", "a/../", "a/../b", "a/../../b", "..//a"] {
        check(path, Err(PathError::ParentDir));
    }
}

#[test]
fn empty_absolute_and_nul_paths_are_refused() {
    check("", Err(PathError::Empty));
    check("/", Err(PathError::Absolute));
    check("//a", Err(PathError::Absolute));
    check("/../a", Err(PathError::Absolute));
    check("a\0b", Err(PathError::Nul));
    check("\0", Err(PathError::Nul));
}

#[test]
fn a_path_longer_than_the_bound_is_refused() {
    let longest = "a/".repeat(MAX_PATH_BYTES / 2);
    check(&longest, Ok(&longest[..MAX_PATH_BYTES - 1]));
    let limit = MAX_PATH_BYTES;
    check(&format!("{longest}a"), Err(PathError::TooLong { limit }));
    check(&"./".repeat(limit), Err(PathError::TooLong { limit }));
}

#[test]
fn lenient_paths_keep_their_parent_components() {
    let fixture = Fixture::new();
    let lenient = |path| fixture.worktree.lenient(path).map(|path| path.to_string());
    assert_eq!(lenient("a/.././/b").unwrap(), "a/../b");
    assert_eq!(lenient("../a").unwrap(), "../a");
    assert_is!(lenient(""), Err(PathError::Empty));
    assert_is!(lenient("a\0"), Err(PathError::Nul));
    assert_is!(lenient(&"a".repeat(MAX_PATH_BYTES + 1)), Err(PathError::TooLong { .. }));
}

#[test]
fn absolute_paths_count_beneath_the_root_as_given_and_as_it_is() {
    let fixture = Fixture::new();
    let given = fixture.outside.with_file_name("alias");
    symlink(&fixture.inside, &given).unwrap();
    let worktree = Worktree::open(&given).unwrap();
    assert_eq!(worktree.root(), fixture.inside);
    for root in [given.to_str().unwrap(), fixture.inside.to_str().unwrap()] {
        let lenient = |end: &str| worktree.lenient(&format!("{root}{end}"));
        assert_eq!(lenient("/a//b").unwrap().as_str(), "a/b");
        assert_eq!(lenient("/a/../b").unwrap().as_str(), "a/../b");
        assert_eq!(lenient("").unwrap().as_str(), ".");
        assert_eq!(lenient("/.//").unwrap().as_str(), ".");
        assert_eq!(lenient("/../outside").unwrap().as_str(), "../outside");
        assert_is!(lenient("/a\0"), Err(PathError::Nul));
    }
    // Anything else that is absolute has the worktree for its root.
    let evil = format!("{}-evil/a", fixture.inside.display());
    for path in ["/etc/passwd", "//etc/passwd", fixture.outside.to_str().unwrap(), &evil] {
        let named = worktree.lenient(path).unwrap();
        assert_eq!(named.as_str(), path.trim_start_matches('/'));
        assert_is!(worktree.read(&named, 1), Err(FileError::NotFound));
    }
    assert_eq!(worktree.lenient("/").unwrap().as_str(), ".");
    assert_is!(worktree.lenient(""), Err(PathError::Empty));
}

#[test]
fn only_an_absolute_path_of_a_directory_is_a_worktree() {
    let fixture = Fixture::new();
    fixture.file("file", "").fifo("fifo").link("loop", "loop").link("nowhere", "missing");
    let open = |path: &str| Worktree::open(&fixture.inside.join(path));
    assert_is!(Worktree::open(Path::new("inside")), Err(WorktreeError::NotAbsolute { .. }));
    assert_is!(Worktree::open(Path::new("")), Err(WorktreeError::NotAbsolute { .. }));
    assert_is!(open("missing"), Err(WorktreeError::NotFound { .. }));
    assert_is!(open("nowhere"), Err(WorktreeError::NotFound { .. }));
    assert_is!(open("file"), Err(WorktreeError::NotADirectory { .. }));
    assert_is!(open("file/a"), Err(WorktreeError::NotADirectory { .. }));
    assert_is!(open("loop"), Err(WorktreeError::Io { .. }));
    let fifo = fixture.inside.join("fifo");
    assert_is!(in_time(move || Worktree::open(&fifo)), Err(WorktreeError::NotADirectory { .. }));
}

#[test]
fn a_worktree_stays_with_its_directory_when_another_takes_the_name() {
    let fixture = Fixture::new();
    fixture.file("a", "first");
    let again = Worktree::open(&fixture.inside).unwrap();
    assert_eq!(again.identity(), fixture.worktree.identity());
    fs::rename(&fixture.inside, fixture.inside.with_file_name("moved")).unwrap();
    fixture.folder("").file("a", "second");
    assert_eq!(fixture.read("a").unwrap(), "first");
    let second = Worktree::open(&fixture.inside).unwrap();
    assert_ne!(second.identity(), fixture.worktree.identity());
}
