//! A start that runs: libraries first, then the startup files, each an execution.
//!
//! Invariant: all of them run in one instance, to which the template's module is linked once; what it
//! was given from outside is noted all the while.

use super::{Startup, closed};
use crate::artifacts::{BrokenPart, Scripts, UsedBy};
use crate::error::HostError;
use crate::execution::{Run, Spec, Work};
use crate::heap::Told;
use crate::limits;
use crate::live::{LiveSession, Slot};
use crate::recorder::SharedRecorder;
use crate::runtime::Failure;
use std::pin::pin;
use std::time::Duration;
use vm_guest::abi::Outcome;
use vm_storage::{
    Event, Execution, ExecutionId, ExecutionKind, HeapMemory, SessionStatus, StartupFile,
};

impl Startup<'_> {
    /// Runs the libraries and startup files in the session; gives what the files' executions left.
    pub(super) async fn replay(
        &mut self,
        slot: &mut Slot,
        live: &LiveSession,
        scripts: &Scripts,
        files: &[StartupFile],
    ) -> Result<Vec<(Execution, Vec<Event>)>, HostError> {
        let limits = slot.session.template.settings.limits;
        let (engine, artifacts) = (self.host.engine(), self.host.artifacts());
        // Before the session has an instance: who compiles takes a place for one, and sessions that
        // held theirs while they waited for that could wait for each other.
        let compiled = artifacts.replayed(engine, UsedBy::of(&slot.session), scripts, &limits);
        let template = tokio::select! {
            biased;
            template = self.host.scheduler().run(compiled) => template?,
            closing = live.closed() => return Err(closed(live, closing)),
        };
        self.host.scheduler().run(slot.restored(self.host)).await?;
        let module = slot.runtime().link(&template.module).await?;
        if artifacts.makes_images() {
            slot.runtime().begin_witness();
        }
        for part in 0..scripts.libraries {
            let broken = template.broken.as_ref().filter(|broken| broken.index == part);
            self.load_library(slot, live, &module, part, broken).await?;
        }
        if files.is_empty() {
            self.keep_with_libraries(slot).await?;
            return Ok(Vec::new());
        }
        let last = files.len() - 1;
        let mut ran = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let part = scripts.libraries + index;
            let broken = template.broken.as_ref().filter(|broken| broken.index == part);
            let work = match broken {
                Some(broken) => Work::Broken(broken),
                None => Work::Linked { module: &module, part: part_number(part) },
            };
            let then = if index == last { SessionStatus::Ready } else { SessionStatus::Starting };
            ran.push(self.run_startup_file(slot, live, file, work, then).await?);
        }
        Ok(ran)
    }

    /// Makes a session durable that libraries were loaded into, and nothing else.
    async fn keep_with_libraries(&self, slot: &mut Slot) -> Result<(), HostError> {
        let scheduler = self.host.scheduler();
        let awake = slot.awake();
        scheduler.run(awake.adopt()).await;
        let pages = scheduler.run(awake.heap.whole()).await;
        let memory =
            HeapMemory { bytes: awake.heap.memory_bytes() as u64, clock_ms: awake.clock_ms() };
        awake.heap.committed(0, Told::Pages, &[]);
        slot.session.status = SessionStatus::Ready;
        let session = slot.session.clone();
        Ok(self.host.storage().put_session_with_heap(session, memory, pages).await?)
    }

    /// Runs a library. It is no execution: what it prints is not kept, and what it throws ends the
    /// session.
    async fn load_library(
        &self,
        slot: &mut Slot,
        live: &LiveSession,
        module: &wasmtime::Instance,
        part: usize,
        broken: Option<&BrokenPart>,
    ) -> Result<(), HostError> {
        let limits = slot.session.template.settings.limits;
        let recorder = SharedRecorder::new(ExecutionId::new(), &limits, None);
        let runtime = slot.runtime();
        let outcome = match broken {
            Some(BrokenPart { failure: Some(failure), .. }) => Err(failure.clone()),
            Some(BrokenPart { events, failure: None, .. }) => {
                for payload in events {
                    recorder.lock().push(payload.clone()).map_err(|limit| {
                        HostError::Engine(format!("a compiler's exception is too long: {limit}"))
                    })?;
                }
                Ok(Outcome::Threw)
            }
            None => {
                let fuel = limits::fuel(&limits);
                runtime.begin(fuel, recorder.clone());
                let outcome = {
                    let load = pin!(runtime.run_library(module, part_number(part)));
                    let load = self.host.scheduler().slices(load).await;
                    let deadline = Duration::from_millis(limits.wall_ms);
                    tokio::select! {
                        biased;
                        outcome = load => outcome,
                        () = tokio::time::sleep(deadline) => Err(Failure::WallTime),
                        closing = live.closed() => Err(Failure::of_closing(closing)),
                    }
                };
                runtime.end(fuel);
                outcome
            }
        };
        let (code, why) = match outcome {
            Ok(Outcome::Value) => return Ok(()),
            Ok(Outcome::Threw) => {
                let recorder = recorder.lock();
                let message = recorder.exception().map_or("it threw", |(message, _)| message);
                (None, message.to_owned())
            }
            Err(failure) => {
                let (code, why) = failure.described();
                (Some(code), why)
            }
        };
        let name = slot.session.template.libraries.get(part).cloned().unwrap_or_default();
        let message = format!("failed to load libraries: {name}: {why}");
        let session = live.id;
        Err(HostError::StartupFailed { session, execution: None, code, message })
    }

    async fn run_startup_file(
        &mut self,
        slot: &mut Slot,
        live: &LiveSession,
        file: &StartupFile,
        work: Work<'_>,
        then: SessionStatus,
    ) -> Result<(Execution, Vec<Event>), HostError> {
        let spec = Spec {
            kind: ExecutionKind::Startup,
            input: None,
            path: Some(file.path.clone()),
            args: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
        };
        let run = Run {
            host: self.host,
            slot,
            admission: &mut self.admission,
            live,
            observer: self.observer.clone(),
            announce: None,
            then: Some(then),
        };
        let (finished, _over) = run.run(spec, work).await?;
        let Some(error) = finished.execution.error else {
            return Ok((finished.execution, finished.events));
        };
        Err(HostError::StartupFailed {
            session: live.id,
            execution: Some(finished.execution.id),
            code: error.code,
            message: format!("{}: {}", file.path, error.message),
        })
    }
}

fn part_number(part: usize) -> u32 {
    u32::try_from(part).expect("checked by storage: a template has far fewer parts")
}
