//! What a call of the console records: its level, and the text that Node 20's console prints.
//! Where a text differs on purpose, a comment says how.

use crate::sessions::{Sessions, payloads};
use vm_storage::{ConsoleLevel, EventPayload, ExecutionErrorCode, ExecutionStatus};

/// Checks the arguments of calls of `console.log` against the text they print, each in a session
/// of its own.
async fn check(rows: &[(&str, &str)]) {
    let sessions = Sessions::start().await;
    for (arguments, text) in rows {
        assert_eq!(
            printed(&sessions, &format!("console.log({arguments})")).await,
            [*text],
            "{arguments}"
        );
    }
}

/// The texts that a snippet prints.
async fn printed(sessions: &Sessions, input: &str) -> Vec<String> {
    let finished = sessions.run(input).await;
    assert_eq!(
        finished.execution.status,
        ExecutionStatus::Ok,
        "{input}: {:?}",
        finished.execution.error
    );
    let texts = payloads(&finished).into_iter().filter_map(|payload| match payload {
        EventPayload::Console { text, .. } => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
#[rustfmt::skip]
async fn strings_are_printed_bare_and_other_values_inspected() {
    check(&[
        ("", ""),
        ("''", ""),
        ("'plain'", "plain"),
        ("'a', 'b'", "a b"),
        ("1, 'a', true, null, undefined, 2n, Symbol('s')", "1 a true null undefined 2n Symbol(s)"),
        ("-0", "-0"),
        ("5, '%s', 'x'", "5 %s x"),
        ("{a: 1}, '%s', 'x'", "{ a: 1 } %s x"),
        ("{a: 1, b: {c: {d: {}}}}", "{ a: 1, b: { c: { d: {} } } }"),
        ("[1, 2, 3], {a: 'x'}, 'y'", "[ 1, 2, 3 ] { a: 'x' } y"),
        (r"'multi\nline', 'second\nline'", "multi\nline second\nline"),
        (r"{text: 'multi\nline'}", r"{ text: 'multi\nline' }"),
        ("['x'.repeat(100)]", "[\n  'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\n]"),
        ("'a:', {b: 1}, [2]", "a: { b: 1 } [ 2 ]"),
        ("new Error('m').message", "m"),
        ("[undefined, null], () => 1", "[ undefined, null ] [Function (anonymous)]"),
        ("new Map([['a', {b: 1}]]), new Set(['x'])", "Map(1) { 'a' => { b: 1 } } Set(1) { 'x' }"),
        (r"'\ud800'", "�"),
        ("Symbol('d')", "Symbol(d)"),
        ("new Proxy({a: 1}, {get() { throw 1 }})", "{ a: 1 }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn string_directives_show_objects_without_their_depth() {
    check(&[
        ("'%s', 'x'", "x"),
        ("'%s', 'x', 'y', 1", "x y 1"),
        ("'%s', -0", "-0"),
        ("'%s', 5n", "5n"),
        ("'%s', Symbol('s')", "Symbol(s)"),
        ("'%s', null", "null"),
        ("'%s', undefined", "undefined"),
        ("'%s', {a: {b: 1}}", "{ a: [Object] }"),
        ("'%s', [1, [2]]", "[ 1, [Array] ]"),
        ("'%s', new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("'%s', function f() { return 1 }", "function f() { return 1 }"),
        ("'%s', () => 1", "() => 1"),
        ("'%s', class A {}", "class A {}"),
        ("'%s', new Map([[1, 2]])", "Map(1) { 1 => 2 }"),
        ("'%s', Object.create(null)", "[Object: null prototype] {}"),
        (r"'%s', 'a\nb'", "a\nb"),
        ("'%s', true", "true"),
        ("'%s', 1e21", "1e+21"),
        ("'%s', Object.assign(new Error('m'), {stack: undefined})", "[Error: m]"),
        ("'%s', new Number(-0)", "[Number: -0]"),
        ("'%s', new String('x')", "[String: 'x']"),
        ("'%s', /x/g", "/x/g"),
        // Node calls `toString`, and prints `own`.
        ("'%s', {toString() { return 'own' }}", "{ toString: [Function: toString] }"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn number_directives_convert_primitives() {
    check(&[
        ("'%d', 42.5", "42.5"),
        ("'%d', '42.5'", "42.5"),
        ("'%d', 'x'", "NaN"),
        ("'%d', ''", "0"),
        ("'%d', '0x10'", "16"),
        ("'%d', 5n", "5n"),
        ("'%d', null", "0"),
        ("'%d', undefined", "NaN"),
        ("'%d', true", "1"),
        ("'%d', {}", "NaN"),
        ("'%d', Symbol('s')", "NaN"),
        ("'%d', -0", "-0"),
        ("'%d', ' 12 '", "12"),
        ("'%d', '1e3'", "1000"),
        ("'%d', 1e21", "1e+21"),
        ("'%d', NaN", "NaN"),
        ("'%d', 'Infinity'", "Infinity"),
        ("'%d', 0.1+0.2", "0.30000000000000004"),
        ("'%i', 42.9", "42"),
        ("'%i', -42.9", "-42"),
        ("'%i', '42.9abc'", "42"),
        ("'%i', '0x1f'", "31"),
        ("'%i', 'x'", "NaN"),
        ("'%i', 5n", "5n"),
        ("'%i', null", "NaN"),
        ("'%i', {}", "NaN"),
        ("'%i', Symbol('s')", "NaN"),
        ("'%i', '-0'", "-0"),
        ("'%i', '  7'", "7"),
        ("'%i', true", "NaN"),
        ("'%f', 1.5", "1.5"),
        ("'%f', '1.5abc'", "1.5"),
        ("'%f', 'x'", "NaN"),
        ("'%f', '.5'", "0.5"),
        ("'%f', '1e3x'", "1000"),
        ("'%f', 5n", "5"),
        ("'%f', Symbol('s')", "NaN"),
        ("'%f', 'Infinityx'", "Infinity"),
        ("'%f', '-'", "NaN"),
        ("'%f', '1-2'", "1"),
        ("'%d', '12px'", "NaN"),
        // Node converts objects too, which calls what a script left on them.
        ("'%d', [5]", "NaN"),
        ("'%i', [42]", "NaN"),
        ("'%d', new Number(5)", "NaN"),
        ("'%f', new String('1.5')", "NaN"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn object_and_json_directives_show_the_whole_value() {
    check(&[
        ("'%j', {a: [1, 'x', null]}", r#"{"a":[1,"x",null]}"#),
        ("'%j', 'str'", r#""str""#),
        ("'%j', undefined", "undefined"),
        ("'%j', () => 1", "undefined"),
        ("'%j', (() => { let a = {}; a.a = a; return a })()", "[Circular]"),
        ("'%j', {toJSON() { return 'custom' }}", r#""custom""#),
        ("'%j', new Date(0)", r#""1970-01-01T00:00:00.000Z""#),
        ("'%j', NaN", "null"),
        ("'%o', {a: {b: {c: {d: {e: {f: 1}}}}}}", "{\n  a: {\n    b: { c: { d: { e: [Object] } } }\n  }\n}"),
        ("'%o', 'str'", "'str'"),
        ("'%o', 1", "1"),
        ("'%O', {a: {b: {c: {d: {}}}}}", "{ a: { b: { c: [Object] } } }"),
        (r"'%O', 'it\'s'", r#""it's""#),
        ("'%O', [1, 'a']", "[ 1, 'a' ]"),
        // Node throws, so that `console.log` does.
        ("'%j', 1n", "[TypeError: BigInt are forbidden in JSON.stringify]"),
        ("'%j', {toJSON() { throw new Error('no') }}", "[Error: no]"),
        ("'%j', {toJSON() { throw 1 }}", "[JSON]"),
        // Node shows hidden properties as well, such as `[length]: 2`.
        ("'%o', [1, 2]", "[ 1, 2 ]"),
        ("'%o', function f() {}", "[Function: f]"),
    ])
    .await;
}

#[tokio::test]
#[rustfmt::skip]
async fn missing_and_unknown_directives_stay_as_they_are() {
    check(&[
        ("'%s'", "%s"),
        ("'%s and %s', 'x'", "x and %s"),
        ("'100%', 1", "100% 1"),
        ("'%', 1", "% 1"),
        ("'%%', 1", "% 1"),
        ("'%%'", "%%"),
        ("'%d%%', 5", "5%"),
        ("'%x', 1", "%x 1"),
        ("'a%sb%sc', 1, 2", "a1b2c"),
        ("'%c styled', 'color: red'", " styled"),
        ("'%cA%cB', 'x', 'y', 'z'", "AB z"),
        ("'%c'", "%c"),
        ("'%s %d %i %f %j %O', 'a', 1, 2.5, 3.5, {b: 1}, {c: 1}", r#"a 1 2 3.5 {"b":1} { c: 1 }"#),
        ("'%s%s', 'a'", "a%s"),
        ("'%s', 'a', {b: 1}, ['c']", "a { b: 1 } [ 'c' ]"),
        ("'%S', 1", "%S 1"),
        ("'%5d', 1", "%5d 1"),
        ("'é %s 😀', 'ü'", "é ü 😀"),
        ("'%%%s%%', 'x'", "%x%"),
    ])
    .await;
}

#[tokio::test]
async fn every_level_is_an_event_in_the_order_of_the_calls() {
    let sessions = Sessions::start().await;
    let input = "console.log('a'); console.warn('b'); console.error('c'); console.info('d'); \
                 console.debug('e'); console.log(); 'value'";
    let finished = sessions.run(input).await;
    let events = payloads(&finished);
    let calls = [
        (ConsoleLevel::Log, "a"),
        (ConsoleLevel::Warn, "b"),
        (ConsoleLevel::Error, "c"),
        (ConsoleLevel::Info, "d"),
        (ConsoleLevel::Debug, "e"),
        (ConsoleLevel::Log, ""),
    ];
    assert_eq!(events.len(), calls.len() + 1);
    for (event, (level, text)) in events.iter().zip(calls) {
        assert_eq!(**event, EventPayload::Console { level, text: text.to_owned() });
    }
    let EventPayload::Value(value) = events[calls.len()] else { panic!("the value comes last") };
    assert_eq!(value.preview, "'value'");
}

#[tokio::test]
async fn every_level_formats_its_arguments() {
    let sessions = Sessions::start().await;
    for level in ["log", "warn", "error", "info", "debug"] {
        let text = printed(&sessions, &format!("console.{level}('%s-%d', 'a', 1, {{b: 2}})")).await;
        assert_eq!(text, ["a-1 { b: 2 }"], "console.{level}");
    }
}

#[tokio::test]
async fn errors_are_printed_with_their_frames() {
    let sessions = Sessions::start().await;
    let input = "function f() { return new TypeError('m') }; console.error('failed:', f())";
    let text = printed(&sessions, input).await;
    assert_eq!(text, ["failed: TypeError: m\n    at f (<repl>:1:27)\n    at <eval> (<repl>:1:70)"]);
}

#[tokio::test]
async fn a_call_from_within_a_call_comes_first() {
    let sessions = Sessions::start().await;
    let input = "console.log('outer %j', {toJSON() { console.log('inner'); return 1 }})";
    assert_eq!(printed(&sessions, input).await, ["inner", "outer 1"]);
}

#[tokio::test]
async fn a_long_text_is_kept_whole_until_the_output_limit() {
    let sessions = Sessions::start().await;
    let text = printed(&sessions, "console.log('x'.repeat(200 * 1000))").await;
    assert_eq!(text, ["x".repeat(200 * 1000)]);

    let finished = sessions.run("console.log('x'.repeat(300 * 1000))").await;
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, Some(ExecutionErrorCode::OutputLimitExceeded));
}

#[tokio::test]
async fn a_string_in_an_object_is_cut_and_its_keys_are_counted() {
    let sessions = Sessions::start().await;
    let cut = printed(&sessions, "console.log(['x'.repeat(10001)], ['x'.repeat(10002)])").await;
    assert!(cut[0].contains("xx'... 1 more character\n]"), "{cut:?}");
    assert!(cut[0].ends_with("xx'... 2 more characters\n]"), "{cut:?}");

    // Node shows every key. Here a thousand are, of one object.
    let object = "Object.fromEntries(Array.from({length: 1002}, (_, i) => ['k' + i, i]))";
    let keys = printed(&sessions, &format!("console.log({object})")).await;
    assert!(keys[0].ends_with("  k999: 999,\n  ... 2 more properties\n}"), "{keys:?}");
}
