//! A session that hibernates, whose host restarts, and which rolls back, against one to which none
//! of that happens: nobody can tell them apart.

use crate::harness::{TestHost, template};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use tokio::sync::Mutex;
use vm_host::{Finished, Source};
use vm_storage::{EventPayload, ExecutionStatus, SessionId};

/// Sequences that are tried.
const CASES: u32 = 24;

/// What sessions begin with: state of every kind that a heap can hold.
pub(crate) const BEGIN: &str = "
    var n = 0; let log = []; const seen = new WeakMap(), key = {}; seen.set(key, 'weak');
    class Counter { #n = 0; static all = new Map(); tick() { Counter.all.set(++this.#n, this); return this.#n } }
    const counter = new Counter();
    const steps = (function*() { for (let i = 0; ; i++) log.push(yield i) })(); steps.next();
    let open; const gate = new Promise(resolve => open = resolve); gate.then(v => log.push('gate ' + v));
    const sticky = /a(b?)/y; let big = []; Symbol.for('shared'); typeof open";

/// Scripts of which each tells something of what those before it left.
pub(crate) const SCRIPTS: &[&str] = &[
    "++n",
    "counter.tick() + ',' + Counter.all.size",
    "steps.next(n).value",
    "log.length > 50 ? (log.length = 0) : log.join('|')",
    "open(n); n",
    "await gate",
    "sticky.test('abaab') + ',' + sticky.lastIndex",
    "big.push(new Uint8Array(50000).fill(n)); big.length",
    "big.reduce((sum, part) => sum + part[49999], 0)",
    "big.length = 0; big",
    "[seen.get(key), Symbol.keyFor(Symbol.for('shared')), Object.keys(globalThis).length]",
    "globalThis['g' + n % 7] = { n, self() { return this.n } }; Object.keys(globalThis).join()",
    "console.log('n is', n, counter, log.slice(-2)); throw new RangeError('n = ' + n)",
    "(function deep(k) { return k ? deep(k - 1) + 1 : n })(500)",
    "(function f() { return f() + 1 })()",
    "n += 100; for (;;);",
    "n += 1000; for (;;) console.log(n)",
    "n += 10000; big.push(new Uint8Array(300000)); for (;;) big.push(new Uint8Array(100000))",
    "eval('var e' + n % 5 + ' = ' + n); typeof e0 + typeof e1 + typeof e4",
    "syntax error here",
    "const fresh = {}; for (let i = 0; i < 2000; i++) { fresh['k' + i] = [fresh, i] } Object.keys(fresh).length",
    "new Date(n * 86400000).toISOString() + JSON.stringify({ n, log: log.slice(0, 3) })",
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Run(usize),
    Hibernate,
    Restart,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..SCRIPTS.len()).prop_map(Step::Run),
        4 => Just(Step::Hibernate),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..40)
}

/// All that a client is told of an execution but ids and times.
pub(crate) fn told(finished: &Finished) -> (ExecutionStatus, String, Vec<EventPayload>, u64) {
    let Finished { execution, events } = finished;
    let events = events.iter().map(|event| event.payload.clone()).collect();
    let outcome = format!("{:?} {:?}", execution.result, execution.error);
    (execution.status, outcome, events, execution.metrics.fuel_used)
}

async fn session(test: &TestHost) -> SessionId {
    let mut template = template();
    let limits = &mut template.settings.limits;
    (limits.cpu_ms, limits.mem_mb, limits.max_events) = (60, 16, 20);
    let session = test.session(template).await;
    test.repl(session, BEGIN).await;
    session
}

async fn check(stays: &TestHost, outlives: &mut TestHost, steps: Vec<Step>) {
    let (one, other) = (session(stays).await, session(outlives).await);
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Run(script) => {
                let script = SCRIPTS[script];
                let expected = told(&stays.repl(one, script).await);
                let found = told(&outlives.repl(other, script).await);
                assert_eq!(found, expected, "step {number}: {script}");
            }
            Step::Hibernate => {
                outlives.host.hibernate(other);
            }
            Step::Restart => outlives.restart().await,
        }
    }
    stays.host.close_session(one).await.unwrap();
    outlives.host.close_session(other).await.unwrap();
}

#[test]
fn a_session_that_outlives_its_process_is_as_one_that_stayed_alive() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let stays = tokio.block_on(TestHost::start());
    let outlives = Mutex::new(tokio.block_on(TestHost::start()));
    let config = Config {
        cases: CASES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&steps(), |steps| {
        tokio.block_on(async {
            check(&stays, &mut *outlives.lock().await, steps).await;
        });
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_of_the_property_is_seen_the_same_after_each_rest() {
    let (stays, mut outlives) = (TestHost::start().await, TestHost::start().await);
    let mut steps = Vec::new();
    for script in (0..SCRIPTS.len()).chain(0..SCRIPTS.len()) {
        steps.extend([Step::Run(script), Step::Hibernate, Step::Run(script)]);
    }
    steps.push(Step::Restart);
    steps.extend((0..SCRIPTS.len()).map(Step::Run));
    check(&stays, &mut outlives, steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_many_small_changes_is_restored_from_patches_and_pages() {
    let mut test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "var n = 0, all = []").await;
    // More than are kept as patches, so that whole pages are written in between.
    for round in 1..=300 {
        test.host
            .execute(session, Source::Repl { input: "all.push(++n)".to_owned() }, None)
            .await
            .unwrap();
        if round % 37 == 0 {
            assert!(test.host.hibernate(session));
        }
        if round % 150 == 0 {
            test.restart().await;
        }
    }
    let sum = test.preview(session, "all.reduce((a, b) => a + b, 0) + ',' + all.length").await;
    assert_eq!(sum, "'45150,300'");
}
