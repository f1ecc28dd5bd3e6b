//! Executions, cancels and closes of the same sessions from many tasks at one time.

use crate::harness::{TestHost, template};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use vm_host::{HostError, Observer, Source};
use vm_storage::{
    ExecutionErrorCode, ExecutionId, ExecutionStatus, PageRequest, SessionId, SessionStatus,
};

const SESSIONS: usize = 6;
const TASKS: u64 = 12;
const STEPS: usize = 40;

/// Numbers that are the same in every run, for tasks that meet in another order in each.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's MMIX generator; its upper bits are the good ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// What the tasks share.
struct Race {
    test: TestHost,
    sessions: Vec<SessionId>,
    begun: Mutex<Vec<ExecutionId>>,
    /// Executions that were acknowledged, by how they ended.
    ended: Mutex<HashMap<ExecutionId, ExecutionStatus>>,
}

impl Race {
    async fn execute(self: &Arc<Self>, session: SessionId, input: &str) {
        let race = Arc::clone(self);
        let observer: Observer = Arc::new(move |event| {
            if event.seq == 1 {
                race.begun.lock().unwrap().push(event.execution_id);
            }
        });
        let source = Source::Repl { input: input.to_owned() };
        match self.test.host.execute(session, source, Some(observer)).await {
            Ok(finished) => {
                let execution = finished.execution;
                self.ended.lock().unwrap().insert(execution.id, execution.status);
            }
            Err(HostError::SessionBusy(_) | HostError::SessionNotReady { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn cancel(&self, numbers: &mut Numbers) {
        let chosen = {
            let begun = self.begun.lock().unwrap();
            if begun.is_empty() {
                None
            } else {
                Some(begun[begun.len() - 1 - numbers.below(begun.len().min(4))])
            }
        };
        if let Some(id) = chosen {
            let execution = self.test.host.cancel_execution(id).await.unwrap();
            assert_ne!(execution.status, ExecutionStatus::Running, "it answers when it is over");
        }
    }

    async fn task(self: Arc<Self>, seed: u64) {
        let mut numbers = Numbers(seed);
        for _ in 0..STEPS {
            let session = self.sessions[numbers.below(SESSIONS)];
            match numbers.below(20) {
                0..6 => self.execute(session, "n += 1").await,
                6..8 => self.execute(session, "n += 1; throw 1").await,
                8..11 => self.execute(session, "n += 1; for (;;) await 1").await,
                11 => self.execute(session, "n += 1; for (;;) console.log(n)").await,
                12..19 => self.cancel(&mut numbers).await,
                // The last two sessions may be closed, the first four live on.
                _ => {
                    let session = self.sessions[SESSIONS - 1 - numbers.below(2)];
                    let closed = self.test.host.close_session(session).await.unwrap();
                    assert_eq!(closed.status, SessionStatus::Closed);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn executions_cancels_and_closes_that_race_leave_every_session_in_order() {
    let test = TestHost::with(|options| {
        // Few may start, so that many are cancelled or closed while they wait.
        (options.concurrency.started, options.concurrency.cpu_slots) = (3, 2);
    })
    .await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut template = template();
        (template.settings.limits.cpu_ms, template.settings.limits.max_events) = (200, 20);
        let session = test.session(template).await;
        test.repl(session, "var n = 0").await;
        sessions.push(session);
    }
    let race = Arc::new(Race { test, sessions, begun: Mutex::default(), ended: Mutex::default() });
    let tasks: Vec<_> = (0..TASKS).map(|seed| tokio::spawn(Arc::clone(&race).task(seed))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let host = &race.test.host;
    assert_eq!(host.stats().executions, 0);
    let mut cancelled = 0;
    for (index, session) in race.sessions.iter().enumerate() {
        let executions =
            host.list_executions(*session, PageRequest::first(1_000)).await.unwrap().items;
        let mut kept = 0;
        for execution in &executions {
            let ended = race.ended.lock().unwrap().get(&execution.id).copied();
            assert_eq!(ended.unwrap_or(execution.status), execution.status);
            match execution.status {
                ExecutionStatus::Ok | ExecutionStatus::Error => {
                    let code = execution.error.as_ref().and_then(|error| error.code);
                    kept += usize::from(code.is_none());
                }
                ExecutionStatus::Cancelled => {
                    let code = execution.error.as_ref().and_then(|error| error.code);
                    assert_eq!(code, Some(ExecutionErrorCode::Cancelled));
                    cancelled += 1;
                }
                ExecutionStatus::Timeout => {}
                ExecutionStatus::Running => panic!("nothing runs any more: {execution:?}"),
            }
        }
        // The first of them declared the counter.
        let n = (kept - 1).to_string();
        if index < SESSIONS - 2 {
            assert_eq!(race.test.preview(*session, "n").await, n, "session {index}");
        }
    }
    assert!(cancelled > 0, "nothing was cancelled");
}
