//! What is no regular file: FIFOs, sockets, devices, and the links that only the kernel can make.
//!
//! Invariant: what could wait for another process runs against a deadline.

use super::{FileError, Fixture, Worktree, WorktreePath, assert_is, in_time};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_fifo_is_refused_without_waiting_for_its_other_end() {
    let fixture = Fixture::new();
    fixture.fifo("fifo").link("link", "fifo");
    for name in ["fifo", "link"] {
        let (worktree, path) = (Arc::clone(&fixture.worktree), fixture.path(name));
        let (read, written) =
            in_time(move || (worktree.read(&path, 1024), worktree.write(&path, b"a")));
        assert_is!(read, Err(FileError::NotAFile));
        assert_is!(written, Err(FileError::NotAFile));
    }
}

#[test]
fn nothing_is_written_to_a_fifo_that_somebody_reads() {
    let fixture = Fixture::new();
    fixture.fifo("fifo");
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(fixture.inside.join("fifo"))
        .unwrap();
    let (worktree, path) = (Arc::clone(&fixture.worktree), fixture.path("fifo"));
    assert_is!(in_time(move || worktree.write(&path, b"a")), Err(FileError::NotAFile));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn sockets_and_devices_are_refused() {
    let fixture = Fixture::new();
    let _socket = UnixListener::bind(fixture.inside.join("socket")).unwrap();
    assert_is!(fixture.read("socket"), Err(FileError::NotAFile));
    assert_is!(fixture.write("socket", "a"), Err(FileError::NotAFile));
    let devices = Arc::new(Worktree::open(Path::new("/dev")).unwrap());
    for name in ["zero", "null"] {
        let (worktree, path) = (Arc::clone(&devices), WorktreePath::strict(name).unwrap());
        let (read, written) =
            in_time(move || (worktree.read(&path, 1024), worktree.write(&path, b"a")));
        assert_is!(read, Err(FileError::NotAFile));
        assert_is!(written, Err(FileError::NotAFile));
    }
}

#[test]
fn the_kernel_s_own_links_are_not_followed() {
    let process = Worktree::open(Path::new("/proc/self")).unwrap();
    for path in ["root/etc/hostname", "cwd/Cargo.toml", "exe"] {
        let path = WorktreePath::strict(path).unwrap();
        assert_is!(process.read(&path, 1024), Err(FileError::TooManyLinks | FileError::Escapes));
    }
}
