//! What a line of a REPL may do that a file may not, as in Node.

use crate::harness::{TestHost, template};
use vm_storage::ExecutionStatus;

#[tokio::test]
async fn declarations_take_the_place_of_earlier_ones() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let declarations = [
        ("let a = 1", "1"),
        ("let a = 2", "2"),
        ("const a = 3", "3"),
        ("class a {}", "[class a]"),
        ("function a() {}", "[Function: a]"),
        ("var a = 4", "4"),
        ("const a = await 5", "5"),
        ("let a = 6", "6"),
    ];
    test.repl(session, "var reads = () => a").await;
    for (declaration, value) in declarations {
        let finished = test.repl(session, declaration).await;
        assert_eq!(finished.execution.status, ExecutionStatus::Ok, "{declaration}");
        assert_eq!(test.preview(session, "a").await, value, "{declaration}");
        assert_eq!(test.preview(session, "reads()").await, value, "{declaration}");
    }
}

#[tokio::test]
async fn what_cannot_be_declared_is_refused_and_changes_nothing() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "let kept = 1; const fixed = 2").await;
    for refused in [
        "let kept = 3; let undefined = 4",
        "let kept = 3; let kept = 4",
        "fixed = 3",
        "eval('var kept = 3')",
        "let kept = 3; function NaN() {}",
    ] {
        let finished = test.repl(session, refused).await;
        assert_eq!(finished.execution.status, ExecutionStatus::Error, "{refused}");
        assert_eq!(test.preview(session, "kept + fixed").await, "3", "{refused}");
    }
}

#[tokio::test]
async fn files_declare_as_scripts_do() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.file("again.js", "let once = 1");
    let first = test.run_file(session, "again.js").await.unwrap();
    assert_eq!(first.execution.status, ExecutionStatus::Ok);
    let second = test.run_file(session, "again.js").await.unwrap();
    assert_eq!(second.execution.status, ExecutionStatus::Error);
    assert!(second.execution.error.unwrap().message.starts_with("SyntaxError"));
}

#[tokio::test]
async fn an_object_literal_alone_is_an_expression() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let cases = [
        ("{ a: 1, b: 2 }", "{ a: 1, b: 2 }"),
        ("  {} ", "{}"),
        ("{ a: await 1 } // behind it", "{ a: 1 }"),
        ("{ a: 1 };", "1"),
        ("{ let b = 2; b }", "2"),
        ("{ a: 1 }.a", "1"),
    ];
    for (input, preview) in cases {
        assert_eq!(test.preview(session, input).await, preview, "{input}");
    }
    let finished = test.repl(session, "{ a: 1, b: }").await;
    assert_eq!(finished.execution.status, ExecutionStatus::Error);
}
