//! Recursion without end, wherever it happens, is a `RangeError` that the script can catch, and
//! the session lives on.

use crate::harness::{TestHost, template};

#[tokio::test(flavor = "multi_thread")]
async fn recursion_without_end_is_a_range_error_everywhere() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for script in [
        "(function f() { return f() + 1 })()",
        "(function f(a, b, c, d) { const x = [a, b]; return f(b, c, d, x) + x.length })(1, 2, 3, 4)",
        "eval('('.repeat(20000))",
        "eval('['.repeat(200000))",
        "eval('{'.repeat(200000))",
        "eval('!'.repeat(200000) + 1)",
        "eval('`${'.repeat(20000))",
        "eval('class A{x='.repeat(20000))",
        "JSON.parse('['.repeat(200000))",
        "(() => { const o = { toString() { return '' + this } }; return '' + o })()",
        "(() => { const o = { get x() { return this.x } }; return o.x })()",
        "(() => { const p = new Proxy({}, { get(t, k, r) { return r[k] } }); return p.x })()",
        "(() => { const o = { toJSON() { return JSON.stringify(o) } }; return JSON.stringify(o) })()",
        "[1, 2, 3].sort(function c() { return [2, 1].sort(c)[0] })",
        "(() => { let a = []; for (let i = 0; i < 100000; i++) a = [a]; return String(a) })()",
        "(async function f() { await f() })()",
        "(function* f() { yield* f() })().next()",
        "new (class A { constructor() { new A() } })()",
        "'x'.replace(/x/, function f() { return 'x'.replace(/x/, f) })",
    ] {
        let finished = test.repl(session, script).await;
        let message = finished.execution.error.map(|error| error.message).unwrap_or_default();
        assert_eq!(message, "RangeError: Maximum call stack size exceeded", "{script}");
        let caught = format!("try {{ {script} }} catch (e) {{ e instanceof RangeError }}");
        if !script.starts_with("(async") {
            assert_eq!(test.preview(session, &caught).await, "true", "{script}");
        }
    }
    assert_eq!(test.preview(session, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_nested_without_end_are_shown_and_reported() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "let o = {}; for (let i = 0; i < 100000; i++) o = { o }; 0").await;
    assert_eq!(test.preview(session, "o").await, "{ o: { o: { o: [Object] } } }");
    test.repl(session, "let p = {}; for (let i = 0; i < 100000; i++) p = new Proxy(p, {}); 0")
        .await;
    test.repl(session, "console.log(p); p").await;
    test.repl(session, "let z = {}; for (let i = 0; i < 100000; i++) z = Object.create(z); z")
        .await;
    assert_eq!(test.preview(session, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_nested_calls_are_no_recursion_without_end() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let sum = "(function sum(n) { return n === 0 ? 0 : n + sum(n - 1) })(5000)";
    assert_eq!(test.preview(session, sum).await, "12502500");
}
