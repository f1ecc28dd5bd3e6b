//! Sequences of executions of every end, against a model of what the session then holds.

use crate::harness::{TestHost, template};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use std::collections::BTreeMap;
use vm_host::{HostError, PageTracking, Source};
use vm_storage::{ExecutionErrorCode, ExecutionStatus, SessionId};

/// Sequences for each way of finding changed pages.
const CASES: u32 = 24;

/// What an execution does to the state, before it ends.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Sets a number.
    Set { key: u8, value: u16 },
    /// Sets an array of so many times 10,000 bytes of one value.
    Fill { key: u8, tens_of_thousands: u8, value: u8 },
    /// Removes a key.
    Remove { key: u8 },
    /// Makes garbage in cycles, and leaves nothing.
    Litter,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Value,
    Throw,
    TimeOut,
    Flood,
    Cancel,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Execute(Change, End),
    Close,
}

/// The state of a session: numbers, and arrays by length and value.
type Model = BTreeMap<u8, (usize, u16)>;

impl Change {
    fn script(self) -> String {
        match self {
            Self::Set { key, value } => format!("state.k{key} = {value};"),
            Self::Fill { key, tens_of_thousands, value } => {
                let len = usize::from(tens_of_thousands) * 10_000;
                format!("state.k{key} = new Uint8Array({len}).fill({value});")
            }
            Self::Remove { key } => format!("delete state.k{key};"),
            Self::Litter => {
                "for (let i = 0; i < 100; i++) { const a = [new Uint8Array(9999)]; a.push(a); }"
                    .to_owned()
            }
        }
    }

    fn apply(self, model: &mut Model) {
        match self {
            Self::Set { key, value } => {
                model.insert(key, (0, value));
            }
            Self::Fill { key, tens_of_thousands, value } => {
                let len = usize::from(tens_of_thousands) * 10_000;
                model.insert(key, (len, u16::from(value)));
            }
            Self::Remove { key } => {
                model.remove(&key);
            }
            Self::Litter => {}
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..4_u8, any::<u16>()).prop_map(|(key, value)| Change::Set { key, value }),
        3 => (0..4_u8, 1..60_u8, any::<u8>()).prop_map(|(key, tens_of_thousands, value)| {
            Change::Fill { key, tens_of_thousands, value }
        }),
        1 => (0..4_u8).prop_map(|key| Change::Remove { key }),
        1 => Just(Change::Litter),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![
        5 => Just(End::Value),
        2 => Just(End::Throw),
        2 => Just(End::TimeOut),
        1 => Just(End::Flood),
        2 => Just(End::Cancel),
    ];
    let step = prop_oneof![
        20 => (changes(), end).prop_map(|(change, end)| Step::Execute(change, end)),
        1 => Just(Step::Close),
    ];
    vec(step, 1..25)
}

/// What the session says it holds: each key with a length and a value, and whether every page of an
/// array has it.
const REPORT: &str = "
    JSON.stringify(Object.keys(state).sort().map(key => {
        const v = state[key];
        if (typeof v === 'number') return [key, 0, v];
        for (let i = 0; i < v.length; i += 1000) if (v[i] !== v[0]) return [key, v.length, -1];
        return [key, v.length, v[0]];
    }))";

fn report(model: &Model) -> String {
    let entries: Vec<_> =
        model.iter().map(|(key, (len, value))| format!("[\"k{key}\",{len},{value}]")).collect();
    format!("'[{}]'", entries.join(","))
}

async fn execute(test: &TestHost, session: SessionId, change: Change, end: End) {
    let script = change.script();
    let repl = |tail: &str| format!("{script} {tail}");
    let (execution, status, code) = match end {
        End::Value => (test.repl(session, &script).await, ExecutionStatus::Ok, None),
        End::Throw => (test.repl(session, &repl("throw 1")).await, ExecutionStatus::Error, None),
        End::TimeOut => (
            test.repl(session, &repl("for (;;);")).await,
            ExecutionStatus::Timeout,
            Some(ExecutionErrorCode::FuelExhausted),
        ),
        End::Flood => (
            test.repl(session, &repl("for (;;) console.log(1)")).await,
            ExecutionStatus::Error,
            Some(ExecutionErrorCode::OutputLimitExceeded),
        ),
        End::Cancel => {
            // It may be cancelled anywhere: before it starts, or in the midst of the change.
            let running = test.begin(session, &repl("for (;;) await 1")).await;
            let cancelled = test.host.cancel_execution(running.id).await.unwrap();
            let finished = running.finished().await;
            assert_eq!(finished.execution, cancelled);
            if cancelled.status == ExecutionStatus::Timeout {
                // It used its fuel up before the cancel came.
                return;
            }
            let code = Some(ExecutionErrorCode::Cancelled);
            (finished, ExecutionStatus::Cancelled, code)
        }
    };
    assert_eq!(execution.execution.status, status);
    assert_eq!(execution.execution.error.and_then(|error| error.code), code);
}

async fn check(test: &TestHost, steps: Vec<Step>) {
    let mut template = template();
    let limits = &mut template.settings.limits;
    (limits.cpu_ms, limits.mem_mb, limits.max_events) = (60, 32, 20);
    let session = test.session(template).await;
    test.repl(session, "var state = {}").await;
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Execute(change, end) => {
                execute(test, session, change, end).await;
                match end {
                    End::Value | End::Throw => change.apply(&mut model),
                    End::TimeOut | End::Flood | End::Cancel => {}
                }
            }
            Step::Close => break,
        }
        assert_eq!(test.preview(session, REPORT).await, report(&model), "after {step:?}");
    }
    test.host.close_session(session).await.unwrap();
    let source = Source::Repl { input: "state".to_owned() };
    let closed = test.host.execute(session, source, None).await.unwrap_err();
    assert!(matches!(closed, HostError::SessionNotReady { .. }), "{closed}");
}

fn holds(tracking: PageTracking) {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let test = tokio.block_on(TestHost::with(|options| options.page_tracking = tracking));
    assert_eq!(test.host.stats().page_tracking, tracking);
    let persistence = FileFailurePersistence::Off;
    let config = Config {
        cases: CASES,
        failure_persistence: Some(Box::new(persistence)),
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&steps(), |steps| {
        tokio.block_on(check(&test, steps));
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_session_holds_what_its_committed_executions_left_by_the_kernels_tracking() {
    holds(PageTracking::Kernel);
}

#[test]
fn a_session_holds_what_its_committed_executions_left_by_comparison() {
    holds(PageTracking::Comparison);
}
