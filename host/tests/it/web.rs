//! The web's platform and Node's own modules, as scripts know them.

use crate::harness::{TestHost, console, template};
use vm_storage::{ExecutionStatus, SessionId};

/// Checks that each snippet gives its preview, in one session.
async fn check(test: &TestHost, session: SessionId, cases: &[(&str, &str)]) {
    for (input, preview) in cases {
        assert_eq!(test.preview(session, input).await, *preview, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn globals_look_like_any_others_and_can_be_replaced() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    check(
        &test,
        session,
        &[
            ("Object.keys(globalThis).includes('URL')", "false"),
            ("typeof URL + typeof crypto + typeof atob", "'functionobjectfunction'"),
            ("Object.getOwnPropertyDescriptor(globalThis, 'URL').writable", "true"),
            ("'use strict'; performance = 1; performance", "1"),
            ("var Event = 2; Event", "2"),
            ("class EventTarget {}; EventTarget.name", "'EventTarget'"),
            ("delete globalThis.btoa; typeof btoa", "'undefined'"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_parsed_and_changed_by_the_standard() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "const u = new URL('../b?x=1#h', 'https://u:p@Example.com:8080/a/c/')")
        .await;
    check(
        &test,
        session,
        &[
            ("u.href", "'https://u:p@example.com:8080/a/b?x=1#h'"),
            ("[u.origin, u.host, u.port]", "[ 'https://example.com:8080', 'example.com:8080', '8080' ]"),
            ("u.port = '443'; u.hostname = 'bücher.example'; u.host", "'xn--bcher-kva.example'"),
            ("u.searchParams.append('y', 'a b&ü'); u.search", "'?x=1&y=a+b%26%C3%BC'"),
            ("u.search = '?z=2'; [...u.searchParams]", "[ [ 'z', '2' ] ]"),
            ("u.protocol = 'nonsense:'; u.protocol", "'https:'"),
            ("JSON.stringify({ u })", "'{\"u\":\"https://u:p@xn--bcher-kva.example/a/b?z=2#h\"}'"),
            ("try { new URL('no url') } catch (e) { [e.name, e.code, e.input] }", "[ 'TypeError', 'ERR_INVALID_URL', 'no url' ]"),
            ("try { u.href = '' } catch (e) { e.message }", "'Invalid URL'"),
            ("[URL.canParse('/x'), URL.canParse('/x', 'http://h'), URL.parse('x')]", "[ false, true, null ]"),
            ("new URL('http://0x7f.1/').hostname", "'127.0.0.1'"),
            ("new URL('file:///a/../b').pathname", "'/b'"),
            ("const p = new URLSearchParams({ b: 2, a: 'x' }); p.append('b', 3); p.getAll('b')", "[ '2', '3' ]"),
            ("p.sort(); p.toString()", "'a=x&b=2&b=3'"),
            ("p.delete('b', '2'); p.set('c', ''); [p.size, p.has('b'), p.has('b', '2'), String(p)]", "[ 3, true, false, 'a=x&b=3&c=' ]"),
            ("new URLSearchParams('?a=%ff+%F0%9F%98%80&&b').toString()", "'a=%EF%BF%BD+%F0%9F%98%80&b='"),
            ("try { new URLSearchParams([['a']]) } catch (e) { e.name }", "'TypeError'"),
            ("require('url').URL === URL", "true"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_their_listeners_and_signals_abort() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.repl(session, "const t = new EventTarget(), seen = []").await;
    check(
        &test,
        session,
        &[
            ("t.addEventListener('x', e => seen.push(e.type, e.target === t), { once: true });
              t.addEventListener('x', { handleEvent(e) { e.preventDefault() } });
              [t.dispatchEvent(new Event('x', { cancelable: true })), t.dispatchEvent(new Event('x')), ...seen]",
             "[ false, true, 'x', true ]"),
            ("new CustomEvent('y', { detail: 7 }).detail", "7"),
            ("const c = new AbortController(); let why; c.signal.onabort = () => { why = c.signal.reason.name }; c.abort(); [why, c.signal.aborted]", "[ 'AbortError', true ]"),
            ("try { c.signal.throwIfAborted() } catch (e) { [e instanceof DOMException, e instanceof Error, e.code] }", "[ true, true, 20 ]"),
            ("AbortSignal.abort(5).reason", "5"),
            ("const d = new AbortController(), any = AbortSignal.any([d.signal, AbortSignal.timeout(100000)]); d.abort('r'); [any.aborted, any.reason]", "[ true, 'r' ]"),
            ("const e = AbortSignal.timeout(1); const keep = setTimeout(() => {}, 60000); await new Promise(done => { e.onabort = done }); clearTimeout(keep); e.reason.name", "'TimeoutError'"),
            ("try { new AbortSignal() } catch (e) { e.message }", "'Illegal constructor'"),
            ("const gone = []; t.addEventListener('z', () => gone.push(1), { signal: d.signal }); t.dispatchEvent(new Event('z')); gone.length", "0"),
            ("new DOMException('m', 'NotFoundError').code + DOMException.ABORT_ERR", "28"),
            ("String(new DOMException('m', 'DataCloneError'))", "'DataCloneError: m'"),
        ],
    )
    .await;
    // What a listener throws fails the execution, and the others are called.
    let input = "const late = []; t.addEventListener('w', () => { throw new Error('thrown in a listener') });
        t.addEventListener('w', () => console.log('the other')); t.dispatchEvent(new Event('w'))";
    let finished = test.repl(session, input).await;
    assert_eq!(finished.execution.error.unwrap().message, "Error: thrown in a listener");
    assert_eq!(console(&finished.events), ["the other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_cloned_with_their_structure() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    check(
        &test,
        session,
        &[
            ("const a = { d: new Date(0), r: /x/gi, m: new Map([[1, new Set([2])]]), n: [1, , 3], u: undefined, b: 1n };
              a.self = a; const b = structuredClone(a);
              [b !== a, b.self === b, b.d.getTime(), b.r.flags, b.m.get(1).has(2), 1 in b.n, 'u' in b, b.b]",
             "[\n  true, true, 0,\n  'gi', true, false,\n  true, 1n\n]"),
            ("const e = structuredClone(new RangeError('m', { cause: [1] })); [e instanceof RangeError, e.message, e.cause, Object.keys(e)]", "[ true, 'm', [ 1 ], [] ]"),
            ("class P { x = 1; #y = 2 }; const p = structuredClone(new P()); [p.constructor === Object, p.x]", "[ true, 1 ]"),
            ("const bytes = new Uint8Array([1, 2, 3]); const c = structuredClone([bytes, bytes.buffer]); [c[0].buffer === c[1], c[0]]", "[ true, Uint8Array(3) [ 1, 2, 3 ] ]"),
            ("const moved = structuredClone(bytes, { transfer: [bytes.buffer] }); [moved.length, bytes.length]", "[ 3, 0 ]"),
            ("[() => 1, Symbol('s'), { f() {} }, new WeakMap(), Promise.resolve(), new Proxy({}, {})].map(v => { try { structuredClone(v) } catch (e) { return e.name } })",
             "[\n  'DataCloneError',\n  'DataCloneError',\n  'DataCloneError',\n  'DataCloneError',\n  'DataCloneError',\n  'DataCloneError'\n]"),
            ("let deep = []; for (let i = 0; i < 100000; i++) deep = [deep]; let n = 0; for (let c = structuredClone(deep); c.length; c = c[0]) n++; n", "100000"),
            ("structuredClone(new String('s')) instanceof String", "true"),
            ("JSON.stringify(structuredClone(JSON.parse('{\"__proto__\":{\"x\":1}}')))", "'{\"__proto__\":{\"x\":1}}'"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_encoded_drawn_and_digested() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let hex = "Buffer.from(await crypto.subtle.digest";
    check(
        &test,
        session,
        &[
            ("[btoa('a\\xff'), atob(' Y f8= '), btoa(''), atob('YQ')]", "[ 'Yf8=', 'aÿ', '', 'a' ]"),
            ("[() => btoa('ā'), () => atob('a'), () => atob('a===')].map(f => { try { f() } catch (e) { return e.name } })",
             "[\n  'InvalidCharacterError',\n  'InvalidCharacterError',\n  'InvalidCharacterError'\n]"),
            ("/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())", "true"),
            ("crypto.randomUUID() === crypto.randomUUID()", "false"),
            ("const r = crypto.getRandomValues(new Uint32Array(1000)); new Set(r).size > 990", "true"),
            ("[new Float32Array(1), new Uint8Array(65537)].map(a => { try { crypto.getRandomValues(a) } catch (e) { return e.name } })",
             "[ 'TypeMismatchError', 'QuotaExceededError' ]"),
            (&format!("{hex}('SHA-256', new TextEncoder().encode('abc'))).toString('hex').slice(0, 16)"), "'ba7816bf8f01cfea'"),
            (&format!("{hex}({{ name: 'sha-1' }}, new ArrayBuffer(0))).toString('hex')"), "'da39a3ee5e6b4b0d3255bfef95601890afd80709'"),
            (&format!("{hex}('SHA-512', new Uint8Array([0x61, 0x62, 0x63]))).toString('hex').slice(0, 16)"), "'ddaf35a193617aba'"),
            ("await crypto.subtle.digest('MD5', new Uint8Array()).catch(e => e.name)", "'NotSupportedError'"),
            ("performance.now() >= 0 && Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000", "true"),
            ("Buffer.from('grüße').toString('base64')", "'Z3LDvMOfZQ=='"),
            ("require('node:buffer').Buffer === Buffer && Buffer.concat([Buffer.from('a'), Buffer.alloc(1, 98)]).toString()", "'ab'"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_node_that_grant_nothing_are_in_every_session() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    test.file("m.mjs", "import { join } from 'node:path'; import Emitter, { once } from 'events';
        import util from 'util'; export default [join('a', '..', 'b'), typeof once, new Emitter().listenerCount('x'), util.format('%s!', 1)]");
    let finished = test.run_file(session, "m.mjs").await.unwrap();
    let value = finished.execution.result.expect("it gave a value");
    assert_eq!(value.preview, "[ 'b', 'function', 0, '1!' ]");
    check(
        &test,
        session,
        &[
            ("const { EventEmitter } = require('events'); const em = new EventEmitter(), got = []; em.on('x', v => got.push(v)); em.emit('x', 1); got", "[ 1 ]"),
            ("require('path').posix.resolve('/a', '../b', 'c.txt')", "'/b/c.txt'"),
            ("require('util').inspect({ a: { b: { c: {} } } }, { depth: 0 })", "'{ a: [Object] }'"),
            ("[Infinity, null, 1e9, -1, NaN, '1'].map(depth => require('util').inspect([[[[[1]]]]], { depth }).length)",
             "[ 29, 29, 29, 11, 11, 15 ]"),
            ("require('util').inspect('x')", "\"'x'\""),
            ("await require('util').promisify((a, done) => done(null, a + 1))(1)", "2"),
            ("require('util').isDeepStrictEqual({ a: [1, new Map([[1, { b: NaN }]])] }, { a: [1, new Map([[1, { b: NaN }]])] })", "true"),
            ("require('util').isDeepStrictEqual([1, 2], [1, '2'])", "false"),
            ("try { require('node:http') } catch (e) { e.message }", "\"Invalid module: the template has no module 'http'\""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_has_all_its_methods() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let input = "console.table([{ a: 1, b: 'x' }, { a: 2, c: true }]); console.table([3], ['no']);
        console.group('outer'); console.log('in\\nside'); console.group(); console.warn('deeper');
        console.groupEnd(); console.groupEnd(); console.groupEnd(); console.log('out');
        console.count(); console.count('n'); console.count(); console.countReset(); console.count();
        console.assert(true, 'no'); console.assert(false, 'said %d', 5); console.assert(false);
        console.dir({ a: { b: { c: {} } } }, { depth: 0 }); console.timeEnd('none');
        console.time('t'); console.timeEnd('t')";
    let finished = test.repl(session, input).await;
    let said = console(&finished.events);
    assert_eq!(
        said[..said.len() - 1],
        [
            "┌─────────┬───┬─────┬──────┐\n│ (index) │ a │ b   │ c    │\n├─────────┼───┼─────┼──────┤\n│ 0       │ 1 │ 'x' │      │\n│ 1       │ 2 │     │ true │\n└─────────┴───┴─────┴──────┘",
            "┌─────────┬────┬────────┐\n│ (index) │ no │ Values │\n├─────────┼────┼────────┤\n│ 0       │    │ 3      │\n└─────────┴────┴────────┘",
            "outer",
            "  in\n  side",
            "    deeper",
            "out",
            "default: 1",
            "n: 1",
            "default: 2",
            "default: 1",
            "Assertion failed: said 5",
            "Assertion failed",
            "{ a: [Object] }",
            "No such label 'none'",
        ]
    );
    assert!(
        said.last().unwrap().starts_with("t: ") && said.last().unwrap().ends_with("ms"),
        "{said:?}"
    );
    test.file("trace.js", "function f() {\n  console.trace('here')\n}\nf()");
    let finished = test.run_file(session, "trace.js").await.unwrap();
    let said = console(&finished.events).remove(0);
    assert!(said.starts_with("Trace: here\n    at f (trace.js:2:"), "{said}");
    assert!(said.contains("trace.js:4:") && !said.contains("/vm/"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_numbers_are_not_those_of_another_session_or_of_an_image() {
    let test = TestHost::start().await;
    test.file("init.js", "var drawn = crypto.randomUUID(); const draw = () => crypto.randomUUID()");
    let template = crate::harness::with_startup(&[("init.js", 1)]);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    let one = test.preview(first, "drawn").await;
    assert_ne!(one, test.preview(second, "drawn").await);
    // A startup that only makes the object is an image, whose sessions draw for themselves.
    test.file("object.js", "var crypt = crypto; typeof URL; var made = new URL('http://x/')");
    let template = crate::harness::with_startup(&[("object.js", 1)]);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    let one = test.preview(first, "crypt.randomUUID()").await;
    assert_ne!(one, test.preview(second, "crypt.randomUUID()").await);
    assert_eq!(test.preview(second, "made.href").await, "'http://x/'");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_them_is_an_error_like_any_other() {
    let test = TestHost::start().await;
    let mut template = template();
    template.settings.limits.mem_mb = 64;
    let session = test.session(template).await;
    for input in [
        "new URL('http://x/' + 'a'.repeat(10_000_000)).href.length",
        "const q = new URLSearchParams('a=1&'.repeat(1_000_000)); q.size",
        "const t = new EventTarget(); t.addEventListener('x', () => t.dispatchEvent(new Event('x'))); t.dispatchEvent(new Event('x'))",
        "structuredClone({ get x() { throw new Error('from a getter') } })",
        "console.table(Array.from({ length: 100_000 }, (_, i) => ({ ['k' + i]: i })))",
        "for (let i = 0; i < 1e6; i++) console.group(); console.log('\\n'.repeat(1e6))",
        "Array.prototype.push = Map.prototype.get = String.prototype.startsWith = () => { throw 1 }; new URL('http://x')",
        "require('util').isDeepStrictEqual((f => f(f, 0))((f, n) => n > 5000 ? [] : [f(f, n + 1)]), (f => f(f, 0))((f, n) => n > 5000 ? [] : [f(f, n + 1)]))",
        "let deep = 1; for (let i = 0; i < 1000; i++) deep = [new Map([[deep, { deep }]])];
         let f = n => { try { return f(n + 1) } catch { return require('util').inspect(deep, { depth: null }).length } }; f(0)",
        "let reads = 0; const at = Object.getPrototypeOf(Uint8Array.prototype);
         Object.defineProperty(at, 'byteLength', { get: () => (reads++ ? 1e9 : 16) });
         crypto.getRandomValues(new Uint8Array(16))",
        "Object.defineProperty(Object.prototype, 'get', { value: 1 }); AbortSignal.abort()",
    ] {
        let finished = test.repl(session, input).await;
        let status = finished.execution.status;
        assert_ne!(status, ExecutionStatus::Running, "{input}");
        let code = finished.execution.error.as_ref().and_then(|error| error.code);
        assert_ne!(code, Some(vm_storage::ExecutionErrorCode::GuestTrapped), "{input}");
        assert_eq!(test.preview(session, "1 + 41").await, "42", "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_hold_or_throw_their_own_error() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    // What each snippet throws: its class's name, code, operator and whether its message is generated.
    let setup = "const assert = require('node:assert'), strict = require('assert/strict');
        const told = e => e === undefined ? 'holds' : [e.name, e.code, e.operator, e.generatedMessage, e.message].join('|');
        const of = run => { try { run(); return told() } catch (e) { return told(e) } };
        const later = promise => promise.then(told, told);
        const fails = () => { throw new TypeError('boom') }";
    test.repl(session, setup).await;
    let generated = |operator: &str, message: &str| {
        format!("'AssertionError|ERR_ASSERTION|{operator}|true|{message}'")
    };
    for (input, expected) in [
        ("of(() => { assert(1); assert.ok('x'); assert.equal(1, '1'); assert.equal(NaN, NaN); assert.notEqual(1, 2) })", "'holds'".to_owned()),
        ("of(() => assert(0))", generated("==", "The expression evaluated to a falsy value")),
        ("of(() => assert.ok(false, 'why'))", "'AssertionError|ERR_ASSERTION|==|false|why'".to_owned()),
        ("of(() => assert.ok(false, new RangeError('own')))", "'RangeError||||own'".to_owned()),
        ("of(() => assert.equal(1, 2))", generated("==", "1 == 2")),
        ("of(() => strict.equal(1, '1')).replaceAll('\\n', ' ')", "\"AssertionError|ERR_ASSERTION|strictEqual|true|Expected values to be strictly equal:  1 !== '1' \"".to_owned()),
        ("[strict.strict === strict, assert.strict === strict, strict.deepEqual === assert.deepStrictEqual]", "[ true, true, true ]".to_owned()),
        ("of(() => { assert.strictEqual(NaN, NaN); assert.notStrictEqual(0, -0); assert.deepEqual({ a: 1, n: null }, { a: '1', n: undefined }); assert.deepEqual([-0], [0]) })", "'holds'".to_owned()),
        ("of(() => { assert.deepStrictEqual({ a: [1, new Map([[{ k: 1 }, new Set([2])]])] }, { a: [1, new Map([[{ k: 1 }, new Set([2])]])] }); assert.notDeepStrictEqual({ a: 1 }, { a: '1' }); assert.notDeepStrictEqual([-0], [0]); assert.notDeepEqual([1], [2]) })", "'holds'".to_owned()),
        ("of(() => assert.deepStrictEqual([1], ['1'])).split('|').slice(0, 4).join()", "'AssertionError,ERR_ASSERTION,deepStrictEqual,true'".to_owned()),
        ("of(() => { assert.throws(fails); assert.throws(fails, TypeError); assert.throws(fails, /^TypeError: b/); assert.throws(fails, { name: 'TypeError', message: /oo/ }); assert.throws(fails, new TypeError('boom')); assert.throws(fails, e => e.message === 'boom'); assert.throws(fails, 'only a message') })", "'holds'".to_owned()),
        ("of(() => assert.throws(() => {}, TypeError, 'why'))", "'AssertionError|ERR_ASSERTION|throws|false|Missing expected exception (TypeError): why'".to_owned()),
        ("of(() => assert.throws(fails, RangeError)).split('\\n')[0]", "'AssertionError|ERR_ASSERTION|throws|true|The error is expected to be an instance of \"RangeError\". Received \"TypeError\"'".to_owned()),
        ("[/x/, { message: 'other' }, e => false, new TypeError('other')].map(expected => of(() => assert.throws(fails, expected)).slice(0, 41))",
         "[\n  'AssertionError|ERR_ASSERTION|throws|true|',\n  'AssertionError|ERR_ASSERTION|throws|true|',\n  'AssertionError|ERR_ASSERTION|throws|true|',\n  'AssertionError|ERR_ASSERTION|throws|true|'\n]".to_owned()),
        ("of(() => assert.doesNotThrow(fails)).split('\\n')[1]", "'Actual message: \"boom\"'".to_owned()),
        ("of(() => { assert.doesNotThrow(() => 1); assert.match('abc', /b/); assert.doesNotMatch('abc', /x/); assert.ifError(null) })", "'holds'".to_owned()),
        ("[of(() => assert.match('abc', /x/)), of(() => assert.doesNotMatch('abc', /b/))].map(text => text.split('|')[2])", "[ 'match', 'doesNotMatch' ]".to_owned()),
        ("of(() => assert.fail())", generated("fail", "Failed")),
        ("of(() => assert.ifError(new Error('e')))", "'AssertionError|ERR_ASSERTION|ifError|false|ifError got unwanted exception: e'".to_owned()),
        ("[await later(assert.rejects(async () => fails(), TypeError)), await later(assert.doesNotReject(Promise.resolve()))]", "[ 'holds', 'holds' ]".to_owned()),
        ("await later(assert.rejects(Promise.resolve()))", "'AssertionError|ERR_ASSERTION|rejects|false|Missing expected rejection.'".to_owned()),
        ("(await later(assert.doesNotReject(async () => fails()))).split('|')[2]", "'doesNotReject'".to_owned()),
        ("await later(assert.rejects(() => 1))", "'TypeError|ERR_INVALID_RETURN_VALUE|||Expected instance of Promise to be returned from the \"promiseFn\" function'".to_owned()),
        ("[() => assert.throws(1), () => assert.equal(1), () => assert.match('x', 'x')].map(run => of(run).split('|')[1])",
         "[ 'ERR_INVALID_ARG_TYPE', 'ERR_MISSING_ARGS', 'ERR_INVALID_ARG_TYPE' ]".to_owned()),
        ("const made = new assert.AssertionError({ actual: 1, expected: 2, operator: 'is' }); [made instanceof Error, made.message, made.actual, made.expected]", "[ true, '1 is 2', 1, 2 ]".to_owned()),
        ("const ring = []; ring.push(ring); const other = []; other.push(other); of(() => assert.deepStrictEqual(ring, other))", "'holds'".to_owned()),
    ] {
        assert_eq!(test.preview(session, input).await, expected, "{input}");
    }
    test.file("t.mjs", "import assert, { strictEqual } from 'node:assert';\n\nstrictEqual(1, 2)");
    let finished = test.run_file(session, "t.mjs").await.unwrap();
    let error = finished.execution.error.unwrap();
    assert_eq!(error.message, "AssertionError: Expected values to be strictly equal:\n\n1 !== 2\n");
    // The stack is the caller's alone.
    let stack = error.stack.unwrap();
    assert!(stack.contains("at <anonymous> (t.mjs:3:") && !stack.contains("/vm/"), "{stack}");
}
