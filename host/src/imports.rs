//! The host functions that the guest imports: WASI preview 1, granting nothing, and our own.
//!
//! Invariant: every pointer, length, number and text that comes through here is checked before it
//! is used; a guest that sends nonsense is stopped with a [`Stop`], never believed.

mod account;
mod calls;
mod database;
pub(crate) mod decode;
mod exec;
mod files;
mod kv;
mod later;
mod modules;
mod net;
mod output;
mod sources;
mod wait;
mod witness;

pub(crate) use account::{Account, MAX_BYTES, MAX_CALLS, MAX_STATEMENTS};
use calls::Called;
pub(crate) use calls::Calls;
pub(crate) use exec::{DEFAULT_OUTPUT_BYTES, Exec, MAX_OUTPUT_BYTES};
pub(crate) use files::{Files, MAX_DIR_ENTRIES};
pub(crate) use kv::{
    Kv, MAX_LISTED, MAX_WORKSPACE_BYTES, MAX_WORKSPACE_KEYS, MAX_WRITES, MAX_WRITTEN_BYTES,
    Transaction,
};
pub(crate) use later::{Later, MAX_PENDING};
pub(crate) use net::{Fetches, MAX_BODIES, Net};
pub(crate) use output::{CurrentRecorder, OutputSink};
pub(crate) use witness::{Answer, Asked, Unrepeatable, Witness};

use crate::recorder::OutputLimit;
use crate::runtime::{Grants, State};
use decode::{Emitted, Span};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_guest::abi::{HOST_MODULE, Operation, UnknownNumber, close_flags};
use vm_storage::{ConsoleLevel, EventPayload};
use wasmtime::{Caller, Linker};

/// Why a host function ended the execution that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// The recorder would not take another event.
    #[error(transparent)]
    Output(#[from] OutputLimit),
    /// The guest named memory that it does not have.
    #[error("the guest named memory outside its bounds")]
    OutOfBounds,
    /// The guest gave a text that is not UTF-8.
    #[error("the guest gave a text that is not UTF-8")]
    NotUtf8,
    /// The guest gave a number that means nothing.
    #[error(transparent)]
    UnknownNumber(#[from] UnknownNumber),
    /// The guest asked for an answer of another length than it was told.
    #[error("the guest took an answer of the wrong length")]
    WrongLength,
    /// What the execution read of its workspace's keys has changed.
    #[error("what was read of the workspace's keys has changed")]
    KvConflict,
    /// The workspace's keys cannot be read.
    #[error("the workspace's keys cannot be read")]
    KvUnavailable,
    /// The guest called while no execution was running.
    #[error("the guest called while no execution was running")]
    NotRunning,
}

/// Adds WASI and our functions, by the names that the guest imports them under.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, State::wasi)?;
    sources::add_to_linker(linker)?;
    wait::add_to_linker(linker)?;
    linker.func_wrap(HOST_MODULE, "emit", emit)?;
    linker.func_wrap_async(HOST_MODULE, "call", |caller, args| Box::new(call(caller, args)))?;
    linker.func_wrap(HOST_MODULE, "take", take)?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `func_wrap` calls")]
fn emit(
    caller: Caller<'_, State>,
    kind: u32,
    tag: u32,
    a: u32,
    a_len: u32,
    b: u32,
    b_len: u32,
) -> wasmtime::Result<()> {
    let first = Span { address: a, len: a_len };
    let second = Span { address: b, len: b_len };
    let emit = || -> Result<(), Stop> {
        let recorder = caller.data().recorder().ok_or(Stop::NotRunning)?;
        let memory = caller.data().memory().ok_or(Stop::NotRunning)?.data(&caller);
        let has_room = |bytes| recorder.lock().check_room(bytes);
        let payload = decode::event(memory, Emitted { kind, tag, first, second }, has_room)?;
        Ok(recorder.lock().push(payload)?)
    };
    emit().map_err(wasmtime::Error::new)
}

/// What a session is answered that was granted nothing.
const DENIED: &str = "EACCES\npermission denied";

/// What `call` takes: operation, flags, and two ranges of memory.
type CallArgs = (u32, u32, u32, u32, u32, u32);

/// Answers the guest: the length of the answer kept for `take`, or -1 less the length of an
/// error's text.
async fn call(mut caller: Caller<'_, State>, args: CallArgs) -> wasmtime::Result<i64> {
    let flags = args.1;
    let decoded = decoded(&caller, args).map_err(wasmtime::Error::new)?;
    let answer = if decoded.operation == Operation::Answer {
        answered(&mut caller)?
    } else {
        made(&mut caller, flags, decoded).await?
    };
    let failed = answer.is_err();
    let answer = answer.unwrap_or_else(String::into_bytes);
    let len = i64::try_from(answer.len()).expect("checked by its source: it is in memory");
    caller.data_mut().set_answer(answer);
    Ok(if failed { -1 - len } else { len })
}

/// Makes a call, or begins one that is answered later, which gives a ticket.
async fn made(
    caller: &mut Caller<'_, State>,
    flags: u32,
    decoded: decode::Call,
) -> wasmtime::Result<Called> {
    let entered = caller.data_mut().account().enter(&decoded);
    let decode::Call { operation, name, data } = decoded;
    let name = match (entered, name) {
        (Err(refused), _) => return Ok(Err(refused)),
        (Ok(()), None) => return Ok(Err("ENAMETOOLONG\nname too long".to_owned())),
        (Ok(()), Some(name)) => name,
    };
    let grants = caller.data().grants().clone();
    let (sent, since) = (data.len(), Instant::now());
    let shown = if grants.audit { database::shown(operation, &data) } else { String::new() };
    let answer = match operation {
        Operation::NetFetch | Operation::NetRead => {
            begun(caller.data_mut(), operation, &name, &data)
                .map(|ticket| ticket.to_le_bytes().into())
        }
        Operation::NetClose => {
            closed(caller.data_mut(), flags, &name);
            Ok(Vec::new())
        }
        Operation::KvGet | Operation::KvPut | Operation::KvDelete | Operation::KvList => {
            let transaction = caller.data_mut().transaction();
            let answer = grants.answer_kv(transaction, operation, flags, (&name, data)).await;
            answer.map_err(wasmtime::Error::new)?
        }
        _ => grants.answer(operation, flags, &name, data).await,
    };
    caller.data_mut().account().leave(&answer, since.elapsed());
    if let Some(witness) = caller.data_mut().witness() {
        witness.note(operation, flags, &name, &answer);
    }
    let is_later = matches!(operation, Operation::NetFetch | Operation::NetRead) && answer.is_ok();
    if !is_later {
        audit(caller, || {
            // Before it is cut short.
            let name = grants.shown(&[name.as_str(), &shown].join("\0"));
            let what = account::named(operation, name.trim_end_matches('\0'));
            account::told(&what, sent, &answer)
        })?;
    }
    Ok(answer)
}

/// Begins a call that is answered later.
fn begun(state: &mut State, operation: Operation, name: &str, data: &[u8]) -> Result<u32, String> {
    let Some(net) = state.grants().net.clone() else {
        return Err("EACCES\nthe template allows no requests".to_owned());
    };
    let what = account::named(operation, &state.grants().shown(name));
    let (later, fetches) = state.under_way();
    if operation == Operation::NetRead {
        let read = fetches.read(name)?;
        later.begin(what, 0, read)
    } else {
        let response = fetches.fetch(&net, name, data)?;
        later.begin(what, data.len(), response)
    }
}

/// Ends what is under way, if it is.
fn closed(state: &mut State, flags: u32, number: &str) {
    let Ok(number) = number.parse() else { return };
    let (later, fetches) = state.under_way();
    if flags & close_flags::PENDING != 0 {
        later.cancel(number);
    } else {
        fetches.close(number);
    }
}

/// The next answer of what is answered later: a ticket, whether it is an error, and the rest.
fn answered(caller: &mut Caller<'_, State>) -> wasmtime::Result<Called> {
    let next = caller.data_mut().later().and_then(Later::next);
    let Some(later::Answered { ticket, what, sent, answer }) = next else {
        return Ok(Err("EAGAIN\nnothing was answered".to_owned()));
    };
    caller.data_mut().account().leave(&answer, Duration::ZERO);
    audit(caller, || account::told(&what, sent, &answer))?;
    let failed = u8::from(answer.is_err());
    let mut framed = [&ticket.to_le_bytes()[..], &[failed]].concat();
    framed.extend(answer.unwrap_or_else(String::into_bytes));
    Ok(Ok(framed))
}

/// Leaves an event of a call, if the template wants one.
fn audit(caller: &mut Caller<'_, State>, message: impl FnOnce() -> String) -> wasmtime::Result<()> {
    if caller.data().grants().audit
        && let Some(recorder) = caller.data().recorder()
    {
        let event = EventPayload::System { message: message(), level: ConsoleLevel::Info };
        recorder.lock().push(event).map_err(wasmtime::Error::new)?;
    }
    Ok(())
}

impl Grants {
    /// A text as an event may show it.
    fn shown(&self, text: &str) -> String {
        let text = text.to_owned();
        match &self.masks {
            Some(masks) => masks.shown(text),
            None => text,
        }
    }

    /// What a session is answered; an error is a code and a reason with a newline between them.
    pub(crate) async fn answer(
        &self,
        operation: Operation,
        flags: u32,
        name: &str,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        match operation {
            Operation::Require if self.modules.iter().any(|module| module == name) => {
                Ok(Vec::new())
            }
            Operation::Require => Err("MODULE_NOT_ALLOWED\nthe template lacks it".to_owned()),
            Operation::ModuleResolve | Operation::ModuleSource => match &self.worktree_modules {
                Some(modules) => {
                    let (modules, name) = (Arc::clone(modules), name.to_owned());
                    modules::call(&self.calls, modules, operation, flags, name).await
                }
                None => Err(DENIED.to_owned()),
            },
            Operation::Env => {
                let variables = serde_json::to_vec(&*self.variables);
                Ok(variables.expect("an object of strings is JSON"))
            }
            Operation::ExecRun => match &self.programs {
                Some(programs) => programs.call(&self.calls, name).await,
                None => Err(DENIED.to_owned()),
            },
            Operation::DbExec
            | Operation::DbQuery
            | Operation::DbOpen
            | Operation::DbClose
            | Operation::DbRestore
            | Operation::DbKeep => match &self.databases {
                Some(databases) => {
                    databases.answer(&self.calls, operation, flags, name.to_owned(), data).await
                }
                None => Err(DENIED.to_owned()),
            },
            // They are begun and ended with what an execution has under way, or take a transaction.
            Operation::Answer
            | Operation::NetFetch
            | Operation::NetRead
            | Operation::NetClose
            | Operation::KvGet
            | Operation::KvPut
            | Operation::KvDelete
            | Operation::KvList => Err(DENIED.to_owned()),
            // Files are not reached through a module that the template lacks, even by a guest that
            // makes the call without asking for the module first.
            Operation::FsRead
            | Operation::FsWrite
            | Operation::FsExists
            | Operation::FsReadDir
            | Operation::FsStat
            | Operation::FsMakeDir
            | Operation::FsAppend
            | Operation::FsRename
            | Operation::FsRemoveDir
            | Operation::FsRealPath
            | Operation::FsUnlink => match &self.files {
                Some(files) => {
                    let (files, name) = (files.clone(), name.to_owned());
                    files.call(&self.calls, operation, flags, name, data).await
                }
                None => Err(DENIED.to_owned()),
            },
        }
    }
}

impl Grants {
    /// What an execution is answered of its workspace's keys.
    async fn answer_kv(
        &self,
        transaction: Option<Transaction>,
        operation: Operation,
        flags: u32,
        key_and_data: (&str, Vec<u8>),
    ) -> Result<Called, Stop> {
        match (&self.kv, transaction) {
            (Some(kv), Some(transaction)) => {
                kv.call(&self.calls, &transaction, operation, flags, key_and_data).await
            }
            (Some(_), None) => Ok(Err("EACCES\nlibraries load before there are keys".to_owned())),
            (None, _) => Ok(Err(DENIED.to_owned())),
        }
    }
}

fn decoded(caller: &Caller<'_, State>, args: CallArgs) -> Result<decode::Call, Stop> {
    let (operation, _, a, a_len, b, b_len) = args;
    let memory = caller.data().memory().ok_or(Stop::NotRunning)?.data(caller);
    let (name, data) = (Span { address: a, len: a_len }, Span { address: b, len: b_len });
    decode::call(memory, operation, name, data)
}

fn take(mut caller: Caller<'_, State>, address: u32, len: u32) -> wasmtime::Result<()> {
    let mut take = || -> Result<(), Stop> {
        let answer = caller.data_mut().take_answer();
        if answer.len() != len as usize {
            return Err(Stop::WrongLength);
        }
        let memory = caller.data().memory().ok_or(Stop::NotRunning)?;
        memory.write(&mut caller, address as usize, &answer).map_err(|_| Stop::OutOfBounds)
    };
    take().map_err(wasmtime::Error::new)
}
