//! TypeScript: what its files and lines give, where their errors are, and that no source does more to
//! its parser than to be refused.

use crate::harness::{TestHost, console, template, with_startup};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fs;
use std::time::{Duration, Instant};
use vm_host::HostError;
use vm_storage::{ExecutionStatus, SessionId, StartupForm, Template};

/// Writes files and the folders above them.
fn files(test: &TestHost, files: &[(&str, &str)]) {
    for (path, content) in files {
        let whole = test.worktree().join(path);
        fs::create_dir_all(whole.parent().unwrap()).unwrap();
        fs::write(whole, content).unwrap();
    }
}

/// The preview of what a file gives.
async fn value(test: &TestHost, session: SessionId, path: &str) -> String {
    let execution = test.run_file(session, path).await.unwrap().execution;
    execution.result.unwrap_or_else(|| panic!("{path}: {:?}", execution.error)).preview
}

/// Message and stack of what a file throws.
async fn thrown(test: &TestHost, session: SessionId, path: &str) -> (String, String) {
    let finished = test.run_file(session, path).await.unwrap();
    assert_eq!(finished.execution.status, ExecutionStatus::Error, "{path}");
    let error = finished.execution.error.unwrap();
    assert_eq!(error.code, None, "{path}");
    (error.message, error.stack.unwrap_or_default())
}

/// The same of a snippet.
async fn thrown_by(test: &TestHost, session: SessionId, input: &str) -> (String, String) {
    let finished = test.repl(session, input).await;
    assert_eq!(finished.execution.status, ExecutionStatus::Error, "{input}");
    let error = finished.execution.error.unwrap();
    (error.message, error.stack.unwrap_or_default())
}

/// Line and column of a mark's first character, as JavaScript counts.
fn position(source: &str, mark: &str) -> String {
    let before = &source[..source.find(mark).unwrap()];
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    format!("{}:{}", before.matches('\n').count() + 1, before[start..].encode_utf16().count() + 1)
}

/// A template whose snippets are TypeScript.
fn typed() -> Template {
    let mut template = template();
    template.settings.runtime.typescript = true;
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_can_be_erased_is() {
    let test = TestHost::start().await;
    let template = template();
    test.session(template.clone()).await;
    for (source, expected) in [
        (
            "let a: number = 1, b!: string; const c = a as unknown as 2; [a, b, c]",
            "[ 1, undefined, 1 ]",
        ),
        (
            "function f<T extends object>(this: void, x?: T, ...y: T[]): x is T { return !!x } f({})",
            "true",
        ),
        ("const g = <T,>(x: T): T => x; g<number>(3) satisfies number", "3"),
        ("const h = async <T>(x: T): Promise<T> => x; await h<string>('later')", "'later'"),
        (
            "interface A { x: 1 } type B = A['x'] | `a${string}`; declare const lost: B; typeof lost",
            "'undefined'",
        ),
        ("function over(x: 1): void; function over(x: any) { return x } over(1)", "1"),
        (
            "abstract class A<T> implements Iterable<T> {
                declare type: T; readonly x: number = 1; private y? = 2; static z!: string;
                [key: string]: unknown; abstract q(): void; protected abstract get w(): T;
                constructor(); constructor(x?: T) {} toString(this: A<T>): string { return 'A' }
                *[Symbol.iterator](): Iterator<T> {}
            }
            class B extends A<number> { override q(): void {} get w() { return 3 } }
            `${new B()} ${Object.keys(new B())} ${new B().w!}`",
            "'A x,y 3'",
        ),
        ("try { throw 1 } catch (e: unknown) { e as number }", "1"),
        ("const { x, y = 2 }: { x: number; y?: number } = { x: 1 }; x! + y!", "3"),
        (
            "namespace Types { export interface A {} } declare module 'm' { } declare global { } 4",
            "4",
        ),
        ("declare enum E { A } export type { E }; export default 5 as number", "5"),
        (
            "const m = new Map<string, Array<Array<number>>>([['a', [[1]]]]); m.get('a')?.[0]![0]",
            "1",
        ),
        (
            "const o = { async *f<T>(x: T): AsyncGenerator<T> { yield x }, get g(): number { return 6 } } as const; o.g",
            "6",
        ),
        ("for (const [k, v] of Object.entries({ a: 1 }) as [string, number][]) { k + v }", "'a1'"),
        (
            "let u: unique symbol, t: [a: string, b?: number, ...rest: boolean[]], k: keyof typeof u, i: typeof import('x'), n: new () => void; 7",
            "7",
        ),
        ("function isString(x: unknown): asserts x is string {} isString(1); 8", "8"),
        // What could end or go on with a line that has lost its types.
        ("let a = 9\ntype B = 1\n;[a]", "[ 9 ]"),
        ("let a = 10\nlet b = a as any\n;(b)", "10"),
        ("const f = (x: 1): {\n  n: number;\n} => ({ n: 11 }); f(1).n", "11"),
        ("const f = <\nT\n>(x: T) => x; f(12)", "12"),
        ("function f() { return a as\nnumber } var a = 13; f()", "13"),
        ("class A { static x = 14\n readonly ['y'] = 15 } A.x + new A().y", "29"),
        ("let x = 1\ninterface B {}\n(x)", "1"),
        ("if (true) type X = 1\n16", "16"),
        ("var type = 17, declare = 1, as = 1, namespace = 1, abstract = 1; type", "17"),
        ("const a = 1, b = 2, c = 0; [a < b, b > c]", "[ true, true ]"),
        ("#!/usr/bin/env node\nlet x: number = 18; x", "18"),
        ("\u{feff}let x: number = 19; x", "19"),
        ("let x: 'ä𝒳' = 'ä𝒳' as any; x", "'ä𝒳'"),
        ("let x: number\r\n = 20 as\r\n any; x", "20"),
    ] {
        let session = test.another(&template).await.unwrap();
        test.file("form.ts", source);
        assert_eq!(value(&test, session, "form.ts").await, expected, "{source}");
        test.host.close_session(session).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_name_the_users_line_and_column() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let thrower = "import type {
  Row,
} from './none.ts';
export interface Fail<T> {
  (row: T): never;
}
export type Many<T> =
  | T
  | readonly T[];
export function fail<T extends { a: number }>(row: Many<T>, why?: 'ä' | 'b'): asserts row is T { throw new Error('boom') }
";
    let caller = "import { fail, type Fail } from './thrower.mts';
class Caller<T> {
  private readonly rows: Map<string, T> = new Map<string, T>();
  call(this: Caller<T>, first: T,
    second?: unknown): void { const chosen = first as unknown as never as any; (fail as Fail<any>)(chosen!); }
}
new Caller<number>().call(1 satisfies number);
";
    files(&test, &[("app/thrower.mts", thrower), ("app/caller.ts", caller)]);
    let (message, stack) = thrown(&test, session, "app/caller.ts").await;
    assert_eq!(message, "Error: boom");
    let frames: Vec<_> = stack.lines().skip(1).collect();
    assert_eq!(frames[0], format!("    at fail (app/thrower.mts:{})", position(thrower, "Error(")));
    assert_eq!(frames[1], format!("    at call (app/caller.ts:{})", position(caller, "chosen!)")));
    let outermost = format!("    at <anonymous> (app/caller.ts:{})", position(caller, "call(1"));
    assert_eq!(frames[2], outermost);
}

#[tokio::test(flavor = "multi_thread")]
async fn syntax_errors_are_told_as_those_of_javascript_are() {
    let test = TestHost::start().await;
    let session = test.session(typed()).await;
    files(
        &test,
        &[
            ("entry.ts", "let a: number = 1;\nlet b: = 2;"),
            ("imports.ts", "import './entry.ts'"),
            (
                "catches.mts",
                "export default await import('./entry.ts').catch((e) => [e.constructor === SyntaxError, e.stack.split('\\n')[0]])",
            ),
            (
                "requires.cts",
                "let told: unknown; try { require('./entry.ts') } catch (e: any) { told = e instanceof SyntaxError } told",
            ),
            ("javascript.ts", "let a: number = 1;\n  let a = 2;"),
            ("decorated.ts", "const on = (x: unknown) => {};\n@on class A {}"),
        ],
    );
    for path in ["entry.ts", "imports.ts"] {
        let (message, stack) = thrown(&test, session, path).await;
        assert!(message.starts_with("SyntaxError: Unexpected token `=`"), "{message}");
        assert!(stack.starts_with(&format!("{message}\n    at entry.ts:2:8")), "{stack}");
    }
    assert_eq!(value(&test, session, "catches.mts").await, "[ true, '    at entry.ts:2:8' ]");
    assert_eq!(value(&test, session, "requires.cts").await, "true");
    // What is wrong without its types is what the engine says.
    let (message, stack) = thrown(&test, session, "javascript.ts").await;
    assert!(message.starts_with("SyntaxError"), "{message}");
    assert!(stack.contains("at javascript.ts:2:"), "{stack}");
    let (message, stack) = thrown(&test, session, "decorated.ts").await;
    assert!(message.starts_with("SyntaxError"), "{message}");
    assert!(stack.contains("at decorated.ts:2:1"), "{stack}");
    let (message, stack) = thrown_by(&test, session, "let a: number = 1\nlet b: = 2").await;
    assert!(message.starts_with("SyntaxError: Unexpected token `=`"), "{message}");
    assert_eq!(stack, format!("{message}\n    at <repl>:2:8"));
    assert_eq!(test.preview(session, "1 as number").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_erased_is_refused_where_it_is() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    for (source, message, at) in [
        ("let a = 1;\n  enum A { B }", "enum is not supported", "2:3"),
        ("const enum A { B }", "enum is not supported", "1:1"),
        ("namespace A { export const x = 1 }", "namespace declaration is not supported", "1:1"),
        (
            "class A {\n  constructor(private x: number) {} }",
            "parameter property is not supported",
            "2:23",
        ),
        ("import x = require('y')", "import equals declaration is not supported", "1:1"),
        ("export = 1", "export assignment is not supported", "1:1"),
        ("let a = <number>1", "angle-bracket syntax", "1:9"),
    ] {
        test.file("kept.ts", source);
        let (told, stack) = thrown(&test, session, "kept.ts").await;
        assert!(told.starts_with("SyntaxError: ") && told.contains(message), "{source}: {told}");
        assert!(stack.ends_with(&format!("\n    at kept.ts:{at}")), "{source}: {stack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_are_no_text_or_too_much_of_it_are_refused() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    fs::write(test.worktree().join("bytes.ts"), b"let a = 1;\nlet \xff").unwrap();
    let (message, stack) = thrown(&test, session, "bytes.ts").await;
    assert_eq!(message, "SyntaxError: the source is not UTF-8");
    assert!(stack.ends_with("at bytes.ts:2:5"), "{stack}");
    test.file("nul.ts", "let a: number = 1;\0");
    let (message, stack) = thrown(&test, session, "nul.ts").await;
    assert!(message.starts_with("SyntaxError: Unexpected character"), "{message}");
    assert!(stack.ends_with("at nul.ts:1:19"), "{stack}");
    test.file("nul.ts", "var a: number = 1; '\0'.length");
    assert_eq!(value(&test, session, "nul.ts").await, "1");
    let many = format!("let a: number = 1;{}", ";".repeat(10 << 20));
    test.file("large.ts", &many);
    let (message, _) = thrown(&test, session, "large.ts").await;
    assert_eq!(message, "SyntaxError: TypeScript of more than 4 MiB");
    test.file("large.ts", format!("var a: number = 1;/*{}*/ a", "x".repeat(3 << 20)));
    assert_eq!(value(&test, session, "large.ts").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_twisted_sources_are_refused_and_the_host_goes_on() {
    let test = TestHost::start().await;
    let session = test.session(template()).await;
    let deep = |open: &str| open.repeat(100_000);
    let mut sources: Vec<String> =
        ["(", "[", "{", "a<", "<T>(", "a?", "`${", "!", "a=>", "async(", "class{x="]
            .into_iter()
            .map(|open| format!("x = {}", deep(open)))
            .collect();
    sources.push(format!("let a: {}", deep("[")));
    sources.push(format!("let a: {}", deep("(")));
    sources.push(format!("let a: {}", deep("{a:")));
    sources.push(format!("let a: {}", deep("A<")));
    sources.push(format!("type A = {}", deep("keyof ")));
    sources.push(deep("namespace A {"));
    sources.push(deep("if (a) "));
    // What a parser tries in two ways at each level.
    sources.push(format!("{}b", "a?(b):c=>".repeat(10_000)));
    sources.push(format!("{}b", "a?(b):c=>".repeat(24)));
    for source in sources {
        let start = source[..source.len().min(20)].to_owned();
        test.file("deep.ts", source);
        let began = Instant::now();
        let (message, stack) = thrown(&test, session, "deep.ts").await;
        assert!(message.starts_with("SyntaxError: "), "{start}: {message}");
        assert!(stack.contains("\n    at deep.ts"), "{start}: {stack}");
        assert!(began.elapsed() < Duration::from_secs(20), "{start}: {:?}", began.elapsed());
    }
    let nested = format!("var a: number = {}1{}; a", "(".repeat(200), ")".repeat(200));
    test.file("deep.ts", nested);
    assert_eq!(value(&test, session, "deep.ts").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_all_kinds_import_each_other() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "main.mts",
                "import { one, type One } from './one.ts';
                 import two from './two.cts';
                 import three from './three.js';
                 import { four } from './four.js';
                 import data from './data.json' with { type: 'json' };
                 import { five } from '/lib/five';
                 export default [one satisfies One, two.two, three, four, data.six, five] as const",
            ),
            ("one.ts", "export type One = 1; export const one: One = 1"),
            (
                "two.cts",
                "import type { One } from './one.ts'; module.exports = { two: 2 as number }",
            ),
            ("three.js", "module.exports = require('./three.cts').three"),
            ("three.cts", "exports.three = 3 as One; type One = 3"),
            // What a script is made of goes by its name.
            ("four.ts", "export { four } from './deep/four.mjs'"),
            ("deep/four.mts", "export const four = 4 as const"),
            ("data.json", r#"{"six": 6}"#),
            ("lib/five.ts", "export const five: number = 5"),
            ("from-javascript.mjs", "import './four.js'"),
            ("exact.mts", "import { from } from './both.js'; export default from"),
            ("both.js", "export const from = 'both.js'"),
            ("both.ts", "export const from: string = 'both.ts'"),
            ("package/package.json", r#"{"type": "module"}"#),
            ("package/by-type.ts", "export default typeof this as string"),
            ("by-syntax.ts", "import './one.ts'; export default typeof this"),
            ("script.ts", "typeof this as string"),
            ("common.cts", "let kind: string = typeof require; kind"),
        ],
    );
    let mut template = template();
    template.settings.resolver.extensions.push(".ts".to_owned());
    let session = test.session(template).await;
    assert_eq!(value(&test, session, "main.mts").await, "[ 1, 2, 3, 4, 6, 5 ]");
    assert_eq!(value(&test, session, "exact.mts").await, "'both.js'");
    let (message, _) = thrown(&test, session, "from-javascript.mjs").await;
    assert!(message.contains("there is no such module"), "{message}");
    for (path, expected) in [
        ("package/by-type.ts", "'undefined'"),
        ("by-syntax.ts", "'undefined'"),
        ("script.ts", "'object'"),
        ("common.cts", "'function'"),
    ] {
        assert_eq!(value(&test, session, path).await, expected, "{path}");
    }
    let mut scripts_alone = typed();
    scripts_alone.settings.runtime.esm = false;
    let session = test.session(scripts_alone).await;
    let (message, _) = thrown_by(&test, session, "require('./main.mts')").await;
    assert!(message.contains("does not allow ECMAScript modules"), "{message}");
    assert_eq!(test.preview(session, "require('./two.cts').two as number").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_used_as_a_type_alone_is_none() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "types.ts",
                "export interface Row { x: number } export type Key = keyof Row; console.log('types')",
            ),
            (
                "values.ts",
                "export const made = 1; export class Made {} export interface Plan {} console.log('values')",
            ),
            (
                "uses.mts",
                "import { Row, Key } from './types.ts';
                 import { made, Made, Plan } from './values.ts';
                 interface Local extends Row { Plan: Plan; made: Key }
                 class Mine implements Plan { made = 2 }
                 const row: Row = { x: made };
                 export default [row, new Mine().made, Made.name] as [Row, ...unknown[]]",
            ),
            (
                "unused.mts",
                "import { made } from './values.ts'; import * as all from './types.ts'; export default 1",
            ),
            ("missing.mts", "import { Plan } from './values.ts'; export default Plan"),
            (
                "reexports.mts",
                "import { Row } from './types.ts'; export type { Row }; export default 2",
            ),
        ],
    );
    let session = test.session(template()).await;
    let finished = test.run_file(session, "uses.mts").await.unwrap();
    assert_eq!(console(&finished.events), ["values"]);
    assert_eq!(finished.execution.result.unwrap().preview, "[ { x: 1 }, 2, 'Made' ]");
    assert_eq!(value(&test, session, "reexports.mts").await, "2");
    // What is not used at all is loaded, and what is used as a value has to be there.
    let finished = test.run_file(session, "unused.mts").await.unwrap();
    assert_eq!(console(&finished.events), ["types"]);
    let (message, _) = thrown(&test, session, "missing.mts").await;
    assert!(message.contains("Could not find export 'Plan'"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_typescript_where_the_template_says_so() {
    let test = TestHost::start().await;
    test.file("types.ts", "export interface Row { x: number } export const zero: number = 0");
    let session = test.session(typed()).await;
    for (input, preview) in [
        ("let a: number = 1", "undefined"),
        ("const a: string = 'again'", "undefined"),
        ("a as any", "'again'"),
        ("interface Row { x: number }", "undefined"),
        ("function f<T>(x: T): T { return x }", "undefined"),
        ("f<number>(await Promise.resolve(2) as number)", "2"),
        ("{ a: 1 as number, b: <T,>(x: T) => x }", "{ a: 1, b: [Function: b] }"),
        ("{ a: 1 }", "{ a: 1 }"),
        ("  {} ", "{}"),
        ("{ a: 1 } // behind it", "{ a: 1 }"),
        ("{ a: 1 };", "1"),
        ("{ let b: number = 2; b }", "2"),
        ("{ a: 1 }.a as number", "1"),
        ("import { zero, type Row } from './types.ts'; zero as number", "0"),
        ("import type { Row } from './types.ts'", "undefined"),
        ("import * as all from './types.ts'; all.zero!", "0"),
        ("", "undefined"),
    ] {
        let finished = test.repl(session, input).await;
        let execution = finished.execution;
        let shown = execution.result.map(|value| value.preview);
        assert_eq!(shown.as_deref(), Some(preview), "{input}: {:?}", execution.error);
        assert_eq!(execution.input.as_deref(), Some(input));
    }
    let (_, stack) =
        thrown_by(&test, session, "type A = {\n  a: 1 };\nlet q: A; throw new Error('x')").await;
    assert!(stack.contains("(<repl>:3:21)"), "{stack}");
    let plain = test.session(template()).await;
    let (message, _) = thrown_by(&test, plain, "let a: number = 1").await;
    assert!(message.starts_with("SyntaxError: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_files_may_be_typescript_and_make_images() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "init.ts",
                "interface A { n: number }\nvar init: A = { n: 1 };\nfunction fail(): never {\n  throw new Error('later') }",
            ),
            ("module.mts", "import { two } from './two.ts'; globalThis.two = two as number"),
            ("two.ts", "export const two: number = 2"),
        ],
    );
    let mut template = with_startup(&[("init.ts", 0), ("module.mts", 1)]);
    template.settings.runtime.typescript = true;
    template.startup_files[1].mode = "module".to_owned();
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    for (session, form) in [(first, StartupForm::Replayed), (second, StartupForm::Image)] {
        let stored = test.host.session(session).await.unwrap();
        assert_eq!(stored.template.startup, Some(form));
        assert_eq!(test.preview(session, "[init.n, two] as number[]").await, "[ 1, 2 ]");
        let (_, stack) = thrown_by(&test, session, "fail()").await;
        assert!(stack.contains("at fail (init.ts:4:13)"), "{stack}");
    }
    // Another type is another text of the same meaning, and another file.
    test.file("two.ts", "export const two: 2 | 3 = 3");
    let third = test.another(&template).await.unwrap();
    assert_eq!(test.preview(third, "[init.n, two] as number[]").await, "[ 1, 3 ]");
    test.file("init.ts", "let ok = 1;\nlet broken: = 2");
    let error = test.another(&template).await.unwrap_err();
    let HostError::StartupFailed { message, code, .. } = error else { panic!("{error}") };
    assert!(message.starts_with("init.ts: SyntaxError: Unexpected token `=`"), "{message}");
    assert_eq!(code, None);
}

/// What hostile sources are made of.
const PIECES: &[&str] = &[
    "<",
    ">",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "=>",
    "=",
    ":",
    ";",
    ",",
    "?",
    "?.",
    "!",
    "@",
    "#",
    "`",
    "${",
    "'",
    "/",
    "*",
    "**",
    "\\",
    "\n",
    "\r",
    "\u{2028}",
    "\0",
    "\u{feff}",
    "𝒳",
    "a",
    "0",
    "1n",
    "type",
    "interface",
    "declare",
    "abstract",
    "class",
    "enum",
    "namespace",
    "module",
    "function",
    "async",
    "await",
    "as",
    "satisfies",
    "import",
    "export",
    "from",
    "default",
    "extends",
    "implements",
    "keyof",
    "infer",
    "is",
    "asserts",
    "this",
    "new",
    "let",
    "const",
    "using",
    "readonly",
    "static",
    "accessor",
    "get",
    "set",
    " ",
    "override",
    "private",
    "constructor",
    "unique symbol",
    "typeof",
    "in",
    "out",
    "//",
    "/*",
    "*/",
    "\\u{61}",
];

#[tokio::test(flavor = "multi_thread")]
async fn random_sources_end_in_a_value_or_a_syntax_error_and_never_in_a_fault_of_the_host() {
    let test = TestHost::start().await;
    let session = test.session(typed()).await;
    let piece = prop_oneof![
        8 => (0..PIECES.len()).prop_map(|piece| PIECES[piece].as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    let sources = vec(piece, 0..60).prop_map(|pieces| pieces.concat());
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    let run = TestRunner::new(config).run(&sources, |source| {
        test.file("random.ts", &source);
        let ended = tokio::task::block_in_place(|| {
            runtime.block_on(async {
                let file = test.run_file(session, "random.ts").await;
                let line = String::from_utf8_lossy(&source).into_owned();
                let line = test.repl(session, &line).await;
                file.map(|file| [file, line])
            })
        });
        for finished in ended.unwrap() {
            let execution = finished.execution;
            prop_assert!(
                execution.error.as_ref().is_none_or(|error| error.code.is_none()),
                "{execution:?}"
            );
            let faulty =
                execution.error.is_some_and(|error| error.message.contains("parser fails"));
            prop_assert!(!faulty, "the parser has a fault");
        }
        Ok(())
    });
    run.unwrap();
    assert_eq!(test.preview(session, "1 + 1 as number").await, "2");
}
