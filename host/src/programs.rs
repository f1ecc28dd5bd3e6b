//! Programs of this machine that scripts may run, and running one.
//!
//! Invariant: only a program that whoever started the host named is ever run, by the path that its name
//! had then; without a shell, with a clean environment, in a process group of its own that is killed when
//! whoever waits for it goes. What a program does is beyond the sandbox: it has the powers of the host's
//! user.
//!
//! Leaves to others: which of them a session may run.

use crate::worktree::Worktree;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// All that a program finds in its environment: where other programs are, and that text is UTF-8.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8")];

/// How long the output of a program that ended is waited for: another process may hold it open that has
/// left its group.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// The programs that a host may run.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// By the names that scripts know them under.
    paths: BTreeMap<String, PathBuf>,
}

/// Why a program may not be allowed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is none of that name, or it is no executable file.
    #[error("cannot allow the program '{name}': {reason}")]
    NotFound {
        /// As it was given.
        name: String,
        /// What was looked for, or is wrong with it.
        reason: String,
    },
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("the program '{name}' is not allowed: {reason}")]
    NotAllowed { name: String, reason: &'static str },
    #[error("the program '{name}' cannot be started: {source}")]
    Start { name: String, source: io::Error },
    #[error("the program's output is larger than {limit} bytes")]
    TooMuchOutput { limit: usize },
    #[error("the program's output cannot be read: {0}")]
    Output(io::Error),
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Programs {
    /// Programs by their names, which are looked for in `PATH`, or their absolute paths.
    ///
    /// # Errors
    /// [`ProgramError`] when one is not there, or is no executable file.
    pub(crate) fn find(names: &[String]) -> Result<Self, ProgramError> {
        let mut paths = BTreeMap::new();
        for name in names {
            let not_found = |reason: &str| ProgramError::NotFound {
                name: name.clone(),
                reason: reason.to_owned(),
            };
            let path = if name.contains('/') {
                Some(PathBuf::from(name))
                    .filter(|path| path.is_absolute())
                    .ok_or_else(|| not_found("give its name, or its absolute path"))?
            } else {
                let folders = std::env::var_os("PATH").unwrap_or_default();
                let found = std::env::split_paths(&folders).map(|folder| folder.join(name));
                found
                    .filter(|path| path.is_absolute())
                    .find(|path| is_executable(path))
                    .ok_or_else(|| not_found("no folder of PATH has it"))?
            };
            if !is_executable(&path) {
                return Err(not_found("it is no file that can be executed"));
            }
            if let Some(short) = path.file_name().and_then(OsStr::to_str) {
                paths.insert(short.to_owned(), path.clone());
            }
            paths.insert(name.clone(), path);
        }
        Ok(Self { paths })
    }

    /// Those of some names that there are, or all.
    pub(crate) fn known(&self, names: Option<&[String]>) -> Vec<String> {
        let is_named = |name: &&String| names.is_none_or(|names| names.contains(name));
        self.paths.keys().filter(is_named).cloned().collect()
    }

    /// Runs a program in a worktree's root, until it ends.
    pub(crate) async fn run(
        &self,
        name: &str,
        args: &[&str],
        worktree: &Worktree,
        max_output_bytes: usize,
    ) -> Result<Ran, RunError> {
        let path = self.paths.get(name).ok_or_else(|| RunError::NotAllowed {
            name: name.to_owned(),
            reason: "the host does not allow it (serve --allow-exec)",
        })?;
        let starting = |source| RunError::Start { name: name.to_owned(), source };
        let folder = worktree.working_directory().map_err(starting)?;
        let mut command = Command::new(path);
        command.args(args).env_clear().envs(ENVIRONMENT).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        // Forking a process of some GiB takes a while.
        let spawned = tokio::task::spawn_blocking(move || {
            let _open_until_then = folder;
            command.spawn().map(Group::of)
        });
        let stopping = |_| starting(io::ErrorKind::Interrupted.into());
        let mut group = spawned.await.map_err(stopping)?.map_err(starting)?;
        let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
        let mut output = std::pin::pin!(async {
            tokio::try_join!(read(stdout, max_output_bytes), read(stderr, max_output_bytes))
        });
        let mut read_whole = None;
        let mut ended = std::pin::pin!(group.ended());
        loop {
            tokio::select! {
                biased;
                whole = &mut output, if read_whole.is_none() => read_whole = Some(whole?),
                () = &mut ended => break,
            }
        }
        group.kill();
        let status = group.child.wait().await.map_err(RunError::Output)?;
        let (stdout, stderr) = match read_whole {
            Some(whole) => whole,
            None => match tokio::time::timeout(LAST_OUTPUT, output).await {
                Ok(whole) => whole?,
                Err(_) => return Err(RunError::Output(io::ErrorKind::TimedOut.into())),
            },
        };
        Ok(Ran { status, stdout, stderr })
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

async fn read(
    stream: Option<impl AsyncRead + Unpin>,
    max_bytes: usize,
) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut bounded = stream.take(max_bytes as u64 + 1);
        bounded.read_to_end(&mut bytes).await.map_err(RunError::Output)?;
    }
    if bytes.len() > max_bytes {
        return Err(RunError::TooMuchOutput { limit: max_bytes });
    }
    Ok(bytes)
}

/// A program and those that it started, killed when this goes.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Self { child, leader }
    }

    /// Waits until the program has ended, and leaves it to be waited for: until then its number, which
    /// is also the group's, is nobody else's.
    fn ended(&self) -> impl Future<Output = ()> + use<> {
        let leader = self.leader;
        let wait = move || {
            let Some(leader) = leader else { return };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(leader), options), Err(Errno::INTR)) {}
        };
        async move {
            // An error is that the host is stopping.
            let _ = tokio::task::spawn_blocking(wait).await;
        }
    }

    /// Kills all that is left of it, once.
    fn kill(&mut self) {
        if let Some(leader) = self.leader.take() {
            // Nobody may be left of it.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
