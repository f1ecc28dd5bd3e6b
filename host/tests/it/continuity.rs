//! One execution sees what those before it left, and only those of its session.

use crate::harness::{TestHost, console, template};
use vm_host::Source;
use vm_storage::{EventPayload, ExecutionStatus};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_declaration_is_seen_in_the_next_execution() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for declaration in [
        "var a = 1",
        "let b = 2",
        "const c = 3",
        "function d() { return 4 }",
        "class E { five() { return 5 } }",
        "f = 6",
        "async function g() { return 7 }",
        "let h = await Promise.resolve(8)",
    ] {
        let finished = test.repl(session, declaration).await;
        assert_eq!(finished.execution.status, ExecutionStatus::Ok, "{declaration}");
    }
    let seen =
        test.preview(session, "[a, b, c, d(), new E().five(), f, await g(), h].join()").await;
    assert_eq!(seen, "'1,2,3,4,5,6,7,8'");
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_generators_and_promises_live_on() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "const next = (n => () => ++n)(0); next()").await;
    test.repl(session, "const g = (function*() { yield 'a'; yield 'b' })(); g.next()").await;
    test.repl(session, "let open; const later = new Promise(r => open = r); 0").await;
    assert_eq!(test.preview(session, "next()").await, "2");
    assert_eq!(test.preview(session, "g.next().value").await, "'b'");
    test.repl(session, "open('done'); 0").await;
    assert_eq!(test.preview(session, "await later").await, "'done'");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_see_each_other() {
    let test = TestHost::start().await;
    let (one, two) = (test.session(template()).await, test.session(template()).await);
    test.repl(one, "var secret = 1; Object.prototype.leak = 1; Array.prototype.push = null").await;
    assert_eq!(
        test.preview(two, "typeof secret + typeof ({}).leak + typeof [].push").await,
        "'undefinedundefinedfunction'"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thrown_error_keeps_what_was_done_before_it() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "var n = 1").await;
    let finished = test.repl(session, "n = 2; throw new Error('after')").await;
    assert_eq!(finished.execution.status, ExecutionStatus::Error);
    assert_eq!(test.preview(session, "n").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_snippets_share_one_global_scope_and_files_see_their_inputs() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.file("app.js", "var fromFile = [__ARGS__.a.b, __ENV__.K, process.env.K]; fromFile");
    let args = serde_json::json!({"a": {"b": [1, "ü"]}});
    let source = Source::File {
        path: "app.js".to_owned(),
        args: args.as_object().unwrap().clone(),
        env: [("K".to_owned(), "a=\"b\"\n".to_owned())].into(),
    };
    let finished = test.host.execute(session, source, None).await.unwrap();
    assert_eq!(finished.execution.args, *args.as_object().unwrap());
    assert_eq!(test.preview(session, "fromFile").await, r#"[ [ 1, 'ü' ], 'a="b"\n', 'a="b"\n' ]"#);
    let without_args = test.run_file(session, "app.js").await.unwrap();
    assert_eq!(without_args.execution.status, ExecutionStatus::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_is_what_the_last_expression_gave_or_what_its_promise_settled_to() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for (input, preview) in [
        ("1; 2", "2"),
        ("if (true) { 'branch' }", "'branch'"),
        ("let unused = 1", "undefined"),
        ("Promise.resolve('kept')", "'kept'"),
        ("(async () => ({ deep: await 1 }))()", "{ deep: 1 }"),
        ("await 1; 'after'", "'after'"),
        ("new Promise(() => {})", "Promise { <pending> }"),
        ("await new Promise(() => {})", "Promise { <pending> }"),
        ("var await = 5; await", "5"),
    ] {
        assert_eq!(test.preview(session, input).await, preview, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_before_the_execution_ends() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let input = "Promise.resolve().then(() => console.log('job')); console.log('script'); 'value'";
    let finished = test.repl(session, input).await;
    assert_eq!(console(&finished.events), ["script", "job"]);
    assert!(matches!(finished.events.last().unwrap().payload, EventPayload::Value(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_numbered_from_one_and_begin_with_the_input() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let finished = test.repl(session, "console.log(1); console.warn(2); 3").await;
    let numbers: Vec<_> = finished.events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let echo = "console.log(1); console.warn(2); 3".to_owned();
    assert_eq!(finished.events[0].payload, EventPayload::InputEcho { text: echo });
    assert_eq!(finished.execution.metrics.events, 4);
    // Two console texts of one byte, a preview and a JSON of one byte.
    assert_eq!(finished.execution.metrics.output_bytes, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_uses_the_same_fuel_every_time() {
    let test = TestHost::start().await;
    let script = "const m = new Map(); for (let i = 0; i < 500; i++) m.set('k' + i, [i, { i }]);
        JSON.stringify([...m].sort((a, b) => b[1][0] - a[1][0])).length";
    let mut fuel = Vec::new();
    for _ in 0..4 {
        let session = test.session(template()).await;
        fuel.push(test.repl(session, script).await.execution.metrics.fuel_used);
    }
    assert!(fuel[0] > 0 && fuel.iter().all(|used| *used == fuel[0]), "{fuel:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn math_random_differs_between_sessions() {
    let test = TestHost::start().await;
    let (one, two) = (test.session(template()).await, test.session(template()).await);
    let script = "[Math.random(), Math.random(), Math.random.name]";
    assert_ne!(test.preview(one, script).await, test.preview(two, script).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cycles_are_collected_so_that_a_long_session_does_not_grow() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let mut peak = Vec::new();
    for _ in 0..6 {
        let script =
            "for (let i = 0; i < 20000; i++) { const a = { pad: [i, i] }, b = { a }; a.b = b } 0";
        peak.push(test.repl(session, script).await.execution.metrics.peak_memory_bytes);
    }
    assert_eq!(peak[1], peak[5], "the heap still grows: {peak:?}");
}
