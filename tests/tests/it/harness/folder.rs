//! Starts the binary under test, with a folder of its own and a cache that all tests share.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder to run commands in.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with a script called `app.js`.
    pub(crate) fn with_script(source: &str) -> Self {
        let folder = Self::new();
        folder.file("app.js", source);
        folder
    }

    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vm-system-under-test"));
        command.args(args);
        self.prepare(&mut command);
        command
    }

    /// Has a command run in this folder, with compiled code shared by all tests.
    pub(crate) fn prepare(&self, command: &mut Command) {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("modules");
        command.current_dir(self.0.path()).env("VM_SYSTEM_CACHE_DIR", cache);
        // A command that is killed leaves its temporary folder; here it goes with the test's.
        command.env("TMPDIR", self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with_input(args, "")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).spawn().unwrap();
        // A command that ends without reading closes the pipe; that is no failure of the test.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
