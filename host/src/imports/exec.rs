//! The host's side of the `exec` module: what programs a session may run.
//!
//! Invariant: a program that the host allows is run only where the template has the module and no
//! capability leaves the program out. One that a session waits for is killed when its execution ends.

use super::calls::{Called, Calls};
use crate::capabilities::ExecConfig;
use crate::programs::{Programs, RunError};
use crate::worktree::Worktree;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of output, and as many of errors, that a program may write unless a config says otherwise.
pub(crate) const DEFAULT_OUTPUT_BYTES: u64 = 1 << 20;
/// The most that a config may say.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 64 << 20;

/// What is added to the number of a signal, to tell it from an exit status.
const SIGNALLED: u32 = 256;

/// What a session may run.
#[derive(Clone)]
pub(crate) struct Exec {
    programs: Arc<Programs>,
    worktree: Arc<Worktree>,
    config: Arc<ExecConfig>,
}

impl Exec {
    pub(crate) fn new(
        programs: Arc<Programs>,
        worktree: Arc<Worktree>,
        config: ExecConfig,
    ) -> Self {
        Self { programs, worktree, config: Arc::new(config) }
    }

    /// Runs a program, named with its arguments behind NULs.
    pub(super) async fn call(&self, calls: &Calls, words: &str) -> Called {
        let _place = calls.place()?;
        let mut words = words.split('\0');
        let program = words.next().unwrap_or_default();
        let args: Vec<_> = words.collect();
        if self.config.programs.as_ref().is_some_and(|some| !some.iter().any(|one| one == program))
        {
            let reason = "the template does not allow it";
            return Err(told(&RunError::NotAllowed { name: program.to_owned(), reason }));
        }
        let max_bytes = usize::try_from(self.config.max_output_bytes).unwrap_or(usize::MAX);
        let running = self.programs.run(program, &args, &self.worktree, max_bytes);
        let ran = match self.config.timeout_ms {
            None => running.await,
            Some(limit) => tokio::time::timeout(Duration::from_millis(limit), running)
                .await
                .map_err(|_| format!("ETIMEDOUT\nthe program ran longer than {limit} ms"))?,
        };
        let ran = ran.map_err(|error| told(&error))?;
        let status = match (ran.status.code(), ran.status.signal()) {
            (Some(code), _) => code.cast_unsigned() & 0xff,
            (None, signal) => SIGNALLED + signal.unwrap_or_default().cast_unsigned(),
        };
        let output = u32::try_from(ran.stdout.len()).expect("checked by its bound");
        let mut answer = [status.to_le_bytes(), output.to_le_bytes()].concat();
        answer.extend_from_slice(&ran.stdout);
        answer.extend_from_slice(&ran.stderr);
        Ok(answer)
    }
}

/// An error as scripts are told: a code and a reason.
fn told(error: &RunError) -> String {
    let code = match error {
        RunError::NotAllowed { .. } => "EACCES",
        RunError::Start { .. } => "ENOEXEC",
        RunError::TooMuchOutput { limit: _ } => "ENOBUFS",
        RunError::Output(_) => "EIO",
    };
    format!("{code}\n{error}")
}
