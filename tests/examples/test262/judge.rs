//! Whether a run did what the suite says.
//!
//! Invariant: passing a limit, or a failure of the host's, is no way to pass.

use crate::metadata::{Metadata, Negative, Phase};
use vm_host::Finished;
use vm_storage::{EventPayload, ExecutionStatus};

const COMPLETE: &str = "Test262:AsyncTestComplete";
const FAILURE: &str = "Test262:AsyncTestFailure:";
/// What a test throws whose text should not have been run at all.
const EVALUATED: &str = "Test262: This statement should not be evaluated.";

/// Why it did not, if so.
pub(crate) fn judge(metadata: &Metadata, finished: &Finished) -> Result<(), String> {
    let error = finished.execution.error.as_ref();
    if let Some(code) = error.and_then(|error| error.code) {
        return Err(format!("{code:?}"));
    }
    let thrown = error.map(|error| error.message.as_str());
    match (finished.execution.status, &metadata.negative) {
        (ExecutionStatus::Ok | ExecutionStatus::Error, Some(negative)) => {
            judge_negative(negative, thrown)
        }
        (ExecutionStatus::Ok, None) if metadata.has_flag("async") => judge_async(finished),
        (ExecutionStatus::Ok, None) => Ok(()),
        (ExecutionStatus::Error, None) => {
            Err(thrown.unwrap_or("an error without a message").into())
        }
        (status, _) => Err(format!("{status:?}")),
    }
}

fn judge_negative(negative: &Negative, thrown: Option<&str>) -> Result<(), String> {
    let Negative { phase, error } = negative;
    let Some(thrown) = thrown else { return Err(format!("it did not throw the {error}")) };
    let name: String = thrown.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let was_run = thrown.contains(EVALUATED);
    match phase {
        Phase::Parse | Phase::Resolution if was_run => {
            Err(format!("it was run, and not refused with a {error}"))
        }
        Phase::Parse | Phase::Resolution | Phase::Runtime if name == *error => Ok(()),
        Phase::Parse | Phase::Resolution | Phase::Runtime => {
            Err(format!("not a {error}: {thrown}"))
        }
    }
}

fn judge_async(finished: &Finished) -> Result<(), String> {
    let mut complete = false;
    for event in &finished.events {
        let EventPayload::Console { text, .. } = &event.payload else { continue };
        if text.starts_with(FAILURE) {
            return Err(text.clone());
        }
        complete |= text == COMPLETE;
    }
    if complete { Ok(()) } else { Err("it ended without a call of $DONE".to_owned()) }
}
