//! Sessions that leave the memory, and what brings them back.

use crate::harness::{TestHost, console, template, with_fs, with_startup};
use serde_json::json;
use std::fs;
use std::time::Duration;
use vm_host::{GuestError, HostError, HostStats, Source};
use vm_storage::{
    ExecutionErrorCode, ExecutionStatus, SessionFilter, SessionId, SessionStatus, StartupForm,
};

fn repl(input: &str) -> Source {
    Source::Repl { input: input.to_owned() }
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_idles_leaves_the_memory_and_nobody_sees_a_difference() {
    let test = TestHost::with(|options| options.idle_hibernate = Duration::from_millis(20)).await;
    let session = test.session(template()).await;
    test.repl(session, "var n = 41").await;
    // A slow machine can let it idle between its creation and its line too, and the counts follow
    // the session's leaving one after the other.
    let left = |stats: HostStats| {
        (stats.held_sessions, stats.instances) == (0, 0) && stats.hibernations > 0
    };
    until(|| left(test.host.stats())).await;
    let stats = test.host.stats();
    assert_eq!(stats.live_sessions, 1);
    assert_eq!(test.host.session(session).await.unwrap().status, SessionStatus::Ready);
    assert_eq!(test.host.summary().await.unwrap().live_session_ids, [session]);
    assert_eq!(test.preview(session, "++n").await, "42");
    assert_eq!(test.host.stats().instances_made, stats.instances_made + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_sessions_push_out_those_used_longest_ago() {
    let test = TestHost::with(|options| options.max_resident = 4).await;
    let mut sessions = Vec::new();
    for number in 0..12 {
        let session = test.session(template()).await;
        test.repl(session, &format!("var me = {number}")).await;
        sessions.push(session);
    }
    let stats = test.host.stats();
    assert_eq!(stats.live_sessions, 12);
    assert!(stats.held_sessions <= 4 && stats.instances <= 4, "{stats:?}");
    let made = stats.instances_made;
    // The last one is still there; the others come back as they were.
    assert_eq!(test.preview(sessions[11], "me").await, "11");
    assert_eq!(test.host.stats().instances_made, made);
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(test.preview(*session, "me").await, number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sessions_than_places_run_at_one_time_by_turns() {
    const SESSIONS: usize = 24;
    let test = TestHost::with(|options| {
        options.max_resident = 2;
        options.max_sessions = 100;
        options.concurrency.started = 8;
    })
    .await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(test.session(template()).await);
    }
    for round in 1..=3 {
        let all = sessions.iter().map(|session| test.preview(*session, "n = ~~globalThis.n + 1"));
        let previews = futures_util::future::join_all(all).await;
        assert!(previews.iter().all(|preview| *preview == round.to_string()), "{previews:?}");
    }
    assert!(test.host.stats().instances <= 2 + 8, "{:?}", test.host.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn hibernating_is_never_seen_as_busy_and_never_loses_an_execution() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "var n = 0").await;
    let host = test.host.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let hibernating = tokio::spawn(async move {
        let mut count = 0_u64;
        while !*stopped.borrow() {
            count += u64::from(host.hibernate(session));
            tokio::task::yield_now().await;
        }
        count
    });
    for expected in 1..=200 {
        assert_eq!(test.preview(session, "++n").await, expected.to_string());
    }
    stop.send_replace(true);
    assert!(hibernating.await.unwrap() > 0, "it never hibernated");
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_closes_and_hibernations_race_and_the_session_is_closed_once() {
    for _ in 0..20 {
        let test = TestHost::start().await;
        let session = test.session(template()).await;
        test.repl(session, "var n = 0").await;
        let run = || test.host.execute(session, repl("++n"), None);
        let hibernate = async { test.host.hibernate(session) };
        let close = || test.host.close_session(session);
        let (first, second, _, one, other) =
            futures_util::join!(run(), run(), hibernate, close(), close());
        for outcome in [first, second] {
            match outcome {
                Ok(finished) => assert!(finished.execution.status.is_over()),
                Err(HostError::SessionBusy(_) | HostError::SessionNotReady { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(one.unwrap(), other.unwrap());
        let stats = test.host.stats();
        assert_eq!((stats.live_sessions, stats.held_sessions), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_session_does_not_hibernate() {
    let test = TestHost::start().await;
    let mut template = template();
    template.settings.limits.cpu_ms = 600_000;
    template.settings.limits.wall_ms = 600_000;
    let session = test.session(template).await;
    let running = test.begin(session, "for (;;);").await;
    assert!(!test.host.hibernate(session));
    test.host.cancel_execution(running.id).await.unwrap();
    assert_eq!(running.finished().await.execution.status, ExecutionStatus::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_session_draws_other_numbers_and_its_clock_goes_on() {
    let mut test = TestHost::start().await;
    let session = test.session(template()).await;
    // What is stopped leaves no trace in the heap, so that all of these begin in the same state.
    let drawn = "console.log(Math.random()); for (;;) console.log(1)";
    let mut seen = Vec::new();
    let before = test.preview(session, "Date.now()").await.parse::<u64>().unwrap();
    for _ in 0..3 {
        seen.push(console(&test.repl(session, drawn).await.events)[0].clone());
        assert!(test.host.hibernate(session));
        seen.push(console(&test.repl(session, drawn).await.events)[0].clone());
        test.restart().await;
    }
    let after = test.preview(session, "Date.now()").await.parse::<u64>().unwrap();
    assert!(after >= before);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_files_ran_once_and_files_are_seen_after_a_restart() {
    let mut test = TestHost::start().await;
    test.file("init.js", "var starts = ~~globalThis.starts + 1; const late = () => starts");
    test.file("data.txt", "text");
    let mut template = with_fs(json!({"write": true}));
    template.startup_files = with_startup(&[("init.js", 0)]).startup_files;
    let session = test.session(template).await;
    test.restart().await;
    let seen = "late() + require('fs').readFileSync('data.txt')";
    assert_eq!(test.preview(session, seen).await, "'1text'");
    test.host.hibernate(session);
    assert_eq!(test.preview(session, seen).await, "'1text'");
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_that_were_loaded_are_there_after_a_restart() {
    let mut test = TestHost::start().await;
    test.library("counter-1.0.0", "var counter = { n: 0, next() { return ++this.n } }");
    let template =
        vm_storage::Template { libraries: vec!["counter-1.0.0".to_owned()], ..template() };
    let session = test.session(template).await;
    // The library need not be there any more.
    fs::remove_file(test.outside().join("libraries/counter-1.0.0.js")).unwrap();
    test.restart().await;
    assert_eq!(test.preview(session, "counter.next()").await, "1");
    test.restart().await;
    assert_eq!(test.preview(session, "counter.next()").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_when_the_host_stops_is_stopped_and_its_session_goes_on() {
    let mut test = TestHost::start().await;
    let mut template = template();
    template.settings.limits.cpu_ms = 600_000;
    template.settings.limits.wall_ms = 600_000;
    let session = test.session(template).await;
    test.repl(session, "var n = 1").await;
    let running = test.begin(session, "n = 2; for (;;);").await;
    test.restart().await;
    let execution = running.finished().await.execution;
    assert_eq!(execution.status, ExecutionStatus::Error);
    assert_eq!(execution.error.unwrap().code, Some(ExecutionErrorCode::HostStopped));
    assert_eq!(test.preview(session, "n").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worktree_that_is_another_by_now_is_a_refusal_and_not_a_state() {
    let mut test = TestHost::start().await;
    test.file("app.js", "1");
    let session = test.session(template()).await;
    test.repl(session, "var n = 7").await;
    let moved = test.outside().join("moved");
    fs::rename(test.worktree(), &moved).unwrap();
    fs::create_dir(test.worktree()).unwrap();
    test.file("app.js", "'of somebody else'");
    test.restart().await;
    for source in [
        repl("n"),
        Source::File {
            path: "app.js".to_owned(),
            args: serde_json::Map::new(),
            env: std::collections::BTreeMap::new(),
        },
    ] {
        let error = test.host.execute(session, source, None).await.unwrap_err();
        assert!(matches!(error, HostError::WorktreeUnavailable { .. }), "{error}");
    }
    assert!(test.executions(session).len() == 1, "nothing was recorded");
    assert_eq!(test.host.session(session).await.unwrap().status, SessionStatus::Ready);
    fs::remove_dir_all(test.worktree()).unwrap();
    let error = test.host.execute(session, repl("n"), None).await.unwrap_err();
    assert!(matches!(error, HostError::WorktreeUnavailable { .. }), "{error}");
    fs::rename(&moved, test.worktree()).unwrap();
    assert_eq!(test.preview(session, "n").await, "7");
}

/// Has a session be one of another guest or engine.
async fn rebind(
    test: &TestHost,
    session: SessionId,
    change: impl FnOnce(&mut vm_storage::EngineBinding),
) {
    let mut stored = test.host.storage().session(session).unwrap().unwrap();
    change(stored.engine.as_mut().unwrap());
    test.host.hibernate(session);
    test.host.storage().put_session(stored).await.unwrap();
}

async fn guest_error(test: &TestHost, session: SessionId) -> GuestError {
    match test.host.execute(session, repl("n"), None).await.unwrap_err() {
        HostError::GuestUnavailable { source, .. } => source,
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_engine_is_a_refusal_and_not_a_state() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "var n = 7").await;
    let own = test.host.storage().session(session).unwrap().unwrap().engine.unwrap();
    rebind(&test, session, |engine| engine.imports += 1).await;
    assert!(matches!(guest_error(&test, session).await, GuestError::Imports { .. }));
    rebind(&test, session, |engine| *engine = own.clone()).await;
    rebind(&test, session, |engine| engine.image = "0".repeat(64)).await;
    let missing = GuestError::Image { hash: "0".repeat(64) };
    assert_eq!(guest_error(&test, session).await, missing);
    rebind(&test, session, |engine| *engine = own.clone()).await;
    rebind(&test, session, |engine| engine.guest = "0".repeat(64)).await;
    assert!(matches!(guest_error(&test, session).await, GuestError::Missing { .. }));
    let guests = test.outside().join("guests");
    fs::write(guests.join(format!("{}.wasm", "0".repeat(64))), b"no guest").unwrap();
    assert!(matches!(guest_error(&test, session).await, GuestError::Unusable { .. }));
    rebind(&test, session, |engine| engine.guest = "../../etc/passwd".to_owned()).await;
    assert!(matches!(guest_error(&test, session).await, GuestError::Missing { .. }));
    assert_eq!(test.host.session(session).await.unwrap().status, SessionStatus::Ready);
    rebind(&test, session, |engine| *engine = own.clone()).await;
    assert_eq!(test.preview(session, "n").await, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_time_to_live_is_over_is_closed_unless_it_was_used() {
    let mut test = TestHost::start().await;
    let mut template = template();
    template.settings.lifecycle.session_ttl_s = Some(1);
    let (used, idle) = (test.session(template.clone()).await, {
        let other = vm_storage::Template { id: vm_storage::TemplateId::new(), ..template };
        test.session(other).await
    });
    test.restart().await;
    let status = |id| test.host.storage().session(id).unwrap().unwrap().status;
    while status(idle) == SessionStatus::Ready {
        test.repl(used, "1").await;
    }
    let closed = test.host.session(idle).await.unwrap();
    assert_eq!(closed.status, SessionStatus::Closed);
    assert!(closed.last_error.unwrap().contains("time to live"));
    test.repl(used, "1").await;
    assert_eq!(status(used), SessionStatus::Ready);
    until(|| status(used) == SessionStatus::Closed).await;
    until(|| test.host.stats().live_sessions == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_session_is_gone_with_all_that_belongs_to_it() {
    let test = TestHost::start().await;
    let (session, other) = (test.session(template()).await, test.session(template()).await);
    let execution = test.repl(session, "console.log('secret')").await.execution.id;
    test.repl(other, "var n = 1").await;
    let purged = test.host.purge_session(session).await.unwrap();
    assert_eq!(purged.status, SessionStatus::Closed);
    let gone = test.host.session(session).await.unwrap_err();
    assert!(matches!(gone, HostError::SessionNotFound(_)), "{gone}");
    let gone = test.host.purge_session(session).await.unwrap_err();
    assert!(matches!(gone, HostError::SessionNotFound(_)), "{gone}");
    let gone = test.host.execution(execution).await.unwrap_err();
    assert!(matches!(gone, HostError::ExecutionNotFound(_)), "{gone}");
    let gone = test.host.events(execution, 0).await.unwrap_err();
    assert!(matches!(gone, HostError::ExecutionNotFound(_)), "{gone}");
    // Rows go in the background.
    until(|| {
        let contents = test.host.storage().contents().unwrap();
        contents.unswept_sessions == 0 && contents.executions == 1
    })
    .await;
    assert_eq!(test.preview(other, "n").await, "1");
    let all = vm_storage::PageRequest::first(10);
    let listed = test.host.list_sessions(SessionFilter::default(), all).await.unwrap();
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_way_is_restored_with_its_guests_and_images() {
    let test = TestHost::start().await;
    test.file("init.js", "var from = 'startup'");
    let template = with_startup(&[("init.js", 0)]);
    test.session(template.clone()).await;
    let session = test.another(&template).await.unwrap();
    let begun = test.host.session(session).await.unwrap().template.startup;
    assert_eq!(begun, Some(StartupForm::Image));
    test.repl(session, "var n = 5").await;
    let made = test.host.backup("first").await.unwrap();
    test.repl(session, "n = 6").await;
    let again = test.host.backup("first").await.unwrap_err();
    assert!(matches!(again, HostError::BackupExists { .. }), "{again}");

    let mut restored = TestHost::start().await;
    let folder = restored.outside().to_owned();
    restored
        .restart_with(|options| {
            for name in ["vm.redb", "guests"] {
                let path = folder.join(name);
                fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
            }
            let guest_dir = options.guest_dir.clone().unwrap();
            let module_dir = options.module_dir.clone().unwrap();
            vm_host::restore_backup(&made.path, &folder.join("vm.redb"), &guest_dir, &module_dir)
                .unwrap();
        })
        .await;
    let found = restored.host.execute(session, repl("n"), None).await.unwrap();
    assert_eq!(found.execution.result.unwrap().preview, "5");
    let found = restored.host.execute(session, repl("from"), None).await.unwrap();
    assert_eq!(found.execution.result.unwrap().preview, "'startup'");
    let refused = vm_host::restore_backup(
        &made.path,
        &folder.join("vm.redb"),
        &folder.join("guests"),
        &folder.join("modules"),
    );
    assert!(matches!(refused, Err(HostError::Backup(_))), "{refused:?}");
}
