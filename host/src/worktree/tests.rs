//! A worktree full of hostile names, next to a folder that must not be reached.
//!
//! Owns the fixture. Invariant: everything lies in a temporary folder of the test's own, and a test
//! that could block ends with a failure instead.

mod content;
mod entries;
mod errors;
mod literal;
mod paths;
mod races;
mod special;

use super::WorktreePath;
use super::content::RegularFile;
use super::entries::FileStat;
use super::{FileError, FileKind, Parents, PathError, Worktree, WorktreeError};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long something that must not block may take on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_mins(1);

const SECRET: &str = "the secret";

struct Fixture {
    inside: PathBuf,
    /// Next to `inside`, so `../outside` from there, with `SECRET` in its file `secret`.
    outside: PathBuf,
    worktree: Arc<Worktree>,
    _folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (inside, outside) = (root.join("inside"), root.join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        let worktree = Arc::new(Worktree::open(&inside).unwrap());
        Self { inside, outside, worktree, _folder: folder }
    }

    fn file(&self, path: &str, content: &str) -> &Self {
        fs::write(self.inside.join(path), content).unwrap();
        self
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.inside.join(path)).unwrap();
        self
    }

    fn link(&self, path: &str, target: impl AsRef<std::path::Path>) -> &Self {
        symlink(target, self.inside.join(path)).unwrap();
        self
    }

    fn fifo(&self, path: &str) -> &Self {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, self.inside.join(path), FileType::Fifo, mode, 0).unwrap();
        self
    }

    fn read(&self, path: &str) -> Result<String, FileError> {
        let content = self.worktree.read(&self.path(path), 1024)?;
        Ok(String::from_utf8(content).unwrap())
    }

    fn write(&self, path: &str, content: &str) -> Result<(), FileError> {
        self.worktree.write(&self.path(path), content.as_bytes())
    }

    fn path(&self, path: &str) -> WorktreePath {
        self.worktree.lenient(path).unwrap()
    }

    fn assert_outside_is_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.outside.join("secret")).unwrap(), SECRET);
    }
}

/// Runs `task`, or fails if it has not ended by the deadline.
fn in_time<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(task()));
    receiver.recv_timeout(DEADLINE).expect("it neither blocks nor panics")
}

/// Asserts what a `Result` is, and shows it if it is not.
macro_rules! assert_is {
    ($value:expr, $pattern:pat) => {
        let value = $value;
        assert!(matches!(value, $pattern), "{} is {value:?}", stringify!($value));
    };
}
use assert_is;
