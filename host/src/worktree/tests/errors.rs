//! The codes of the errors, and which of the kernel's answers become which error.
//!
//! Invariant: an answer that a test cannot provoke here, as of a full disk or of a user that may not,
//! is at least given to the mapping by hand.

use super::{FileError, Fixture, PathError, assert_is};
use rustix::io::Errno;
use std::io;

fn check(errno: Errno, code: &str, message: &str) {
    let error = FileError::from(io::Error::from(errno));
    assert_eq!((error.code(), error.to_string().as_str()), (code, message));
}

#[test]
fn answers_of_the_kernel_have_the_codes_and_words_of_node() {
    check(Errno::NOENT, "ENOENT", "no such file or directory");
    check(Errno::NXIO, "EINVAL", "not a regular file");
    check(Errno::NODEV, "EINVAL", "not a regular file");
    check(Errno::ISDIR, "EISDIR", "illegal operation on a directory");
    check(Errno::NOTDIR, "ENOTDIR", "not a directory");
    check(Errno::EXIST, "EEXIST", "file already exists");
    check(Errno::LOOP, "ELOOP", "too many symbolic links encountered");
    check(Errno::NAMETOOLONG, "ENAMETOOLONG", "name too long");
    check(Errno::ACCESS, "EACCES", "permission denied");
    check(Errno::PERM, "EACCES", "permission denied");
    check(Errno::ROFS, "EACCES", "permission denied");
    check(Errno::NOSPC, "ENOSPC", "no space left on device");
    check(Errno::DQUOT, "ENOSPC", "no space left on device");
    check(Errno::XDEV, "EACCES", "the path leads outside the worktree");
    check(Errno::MFILE, "EIO", "i/o error");
}

#[test]
fn bounds_have_codes_and_say_the_limit() {
    let large = FileError::TooLarge { limit: 7 };
    assert_eq!(
        (large.code(), large.to_string().as_str()),
        ("EFBIG", "file is larger than 7 bytes")
    );
    let many = FileError::TooManyEntries { limit: 7 };
    assert_eq!(many.code(), "EOVERFLOW");
    assert_eq!(many.to_string(), "directory has more than 7 entries");
}

#[test]
fn a_path_that_leaves_is_told_from_one_that_is_forbidden() {
    // What cap-std says is taken from cap-std, so that this fails should it ever say it otherwise.
    let fixture = Fixture::new();
    let escape = fixture.worktree.dir.open("../outside/secret").unwrap_err();
    assert_eq!(escape.kind(), io::ErrorKind::PermissionDenied);
    assert_is!(FileError::from(escape), FileError::Escapes);
    let forbidden = io::Error::from(Errno::ACCESS);
    assert_eq!(forbidden.kind(), io::ErrorKind::PermissionDenied);
    assert_is!(FileError::from(forbidden), FileError::PermissionDenied);
    assert_is!(FileError::from(io::Error::other("else")), FileError::Io(_));
}

#[test]
fn paths_that_are_never_opened_have_codes_too() {
    assert_eq!(PathError::Empty.code(), "ENOENT");
    assert_eq!(PathError::Absolute.code(), "EACCES");
    assert_eq!(PathError::ParentDir.code(), "EACCES");
    assert_eq!(PathError::Nul.code(), "EINVAL");
    assert_eq!(PathError::TooLong { limit: 1 }.code(), "ENAMETOOLONG");
}
