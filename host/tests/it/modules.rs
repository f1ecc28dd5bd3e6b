//! Modules of the worktree: what `import` and `require` give, and what they never reach.

use crate::harness::{TestHost, console, template, with_fs, with_startup};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
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
    let finished = test.run_file(session, path).await.unwrap();
    let execution = finished.execution;
    execution.result.unwrap_or_else(|| panic!("{path}: {:?}", execution.error)).preview
}

/// What a file throws.
async fn thrown(test: &TestHost, session: SessionId, path: &str) -> (String, String) {
    let finished = test.run_file(session, path).await.unwrap();
    assert_eq!(finished.execution.status, ExecutionStatus::Error, "{path}");
    let error = finished.execution.error.unwrap();
    (error.message, error.stack.unwrap_or_default())
}

fn changed(change: impl FnOnce(&mut vm_storage::Settings)) -> Template {
    let mut template = template();
    change(&mut template.settings);
    template
}

/// A package with a build for each way of asking.
const DUAL: &[(&str, &str)] = &[
    (
        "node_modules/dual/package.json",
        r#"{"name":"dual","exports":{".":{"import":"./m.mjs","require":"./c.cjs"},"./sub/*":"./lib/*.js"}}"#,
    ),
    ("node_modules/dual/m.mjs", "export const form = 'module'; export default form"),
    ("node_modules/dual/c.cjs", "exports.form = 'commonjs'"),
    ("node_modules/dual/lib/one.js", "exports.one = 1"),
    ("node_modules/dual/private.js", "exports.secret = 1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn modules_import_each_other_and_json() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "app/main.mjs",
                "import add, { two as deux } from '../lib/add.js';
                 import data, * as all from '../data.json' with { type: 'json' };
                 const later = await import('../lib/add.js');
                 console.log(import.meta.url, import.meta.filename, import.meta.dirname);
                 console.log(import.meta.resolve('../lib/ä.js'));
                 export default [add(1, 1), deux(), data.a, all.default === data, later.default === add]",
            ),
            ("lib/add.js", "export { two } from './two.js'; export default (a, b) => a + b"),
            ("lib/two.js", "import add from './add.js'; export const two = () => add(1, 1)"),
            ("lib/ä.js", ""),
            ("data.json", r#"{"a": [1]}"#),
        ],
    );
    let session = test.session(template()).await;
    let finished = test.run_file(session, "app/main.mjs").await.unwrap();
    let told = ["file:///app/main.mjs /app/main.mjs /app", "file:///lib/%C3%A4.js"];
    assert_eq!(console(&finished.events), told);
    assert_eq!(finished.execution.result.unwrap().preview, "[ 2, 2, [ 1 ], true, true ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_module_is_told_by_name_package_or_syntax() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("by-name.mjs", "export default typeof this"),
            ("package/package.json", r#"{"type": "module"}"#),
            ("package/by-type.js", "export default typeof this"),
            ("package/not.cjs", "typeof this"),
            ("by-syntax.js", "import './package/by-type.js'; export default typeof this"),
            ("by-meta.js", "export default await import.meta.url"),
            ("script.js", "var left = 'a global'; // export and import\n typeof this"),
            ("without.mjs", "1"),
            ("promised.mjs", "export default Promise.resolve('settled')"),
            ("c#/d?e.mjs", "import './f.js?g=%20h#i'; export default url"),
            ("c#/f.js", "globalThis.url = import.meta.url"),
        ],
    );
    let session = test.session(template()).await;
    for (path, expected) in [
        ("by-name.mjs", "'undefined'"),
        ("package/by-type.js", "'undefined'"),
        ("package/not.cjs", "'object'"),
        ("by-syntax.js", "'undefined'"),
        ("by-meta.js", "'file:///by-meta.js'"),
        ("script.js", "'object'"),
        ("without.mjs", "undefined"),
        ("promised.mjs", "'settled'"),
        ("c#/d?e.mjs", "'file:///c%23/f.js?g=%20h#i'"),
    ] {
        assert_eq!(value(&test, session, path).await, expected, "{path}");
    }
    assert_eq!(test.preview(session, "left").await, "'a global'");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_file_line_and_column() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("module.js", "import './fine.js';\n\nexport default 1 +;"),
            ("script.js", "// no export\nlet a = 1 +;"),
            ("imports-broken.mjs", "import './module.js'"),
            ("fine.js", ""),
            ("throws.cjs", "#!/bin/sh\nfunction inner() { throw new Error('boom') }\n  inner()"),
            ("calls.mjs", "import './throws.cjs'"),
            ("lacks.mjs", "import { nothing } from './fine.js'"),
            ("bad.json", "{\n  \"a\": }"),
            ("reads.mjs", "import './bad.json'"),
        ],
    );
    let session = test.session(template()).await;
    for (path, message, frames) in [
        ("module.js", "SyntaxError: unexpected token", "at module.js:3:19"),
        ("script.js", "SyntaxError: unexpected token", "at script.js:2:12"),
        ("imports-broken.mjs", "SyntaxError: unexpected token", "at module.js:3:19"),
        (
            "calls.mjs",
            "Error: boom",
            "at inner (throws.cjs:2:30)\n    at <anonymous> (throws.cjs:3:3)",
        ),
        ("lacks.mjs", "SyntaxError: Could not find export 'nothing' in module 'fine.js'", ""),
        ("reads.mjs", "SyntaxError", "at bad.json:2:"),
    ] {
        let (told, stack) = thrown(&test, session, path).await;
        assert!(told.starts_with(message), "{path}: {told}");
        assert!(stack.contains(frames), "{path}: {stack}");
        assert!(!stack.contains("/vm/"), "{path}: {stack}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commonjs_modules_require_each_other() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "main.js",
                "const a = require('./lib/a'); const again = require('./lib/a.js');
                 const data = require('./data.json');
                 [a.name, a.b.seen, a === again, data.x, require.resolve('./lib/a'), a.here, a.later()]",
            ),
            (
                "lib/a.js",
                "exports.name = 'a'; exports.b = require('./b'); exports.here = [__filename, __dirname];
                 exports.later = () => require('./b').seen; exports.self = this === exports",
            ),
            ("lib/b.js", "module.exports = { seen: require('./a').name }"),
            ("data.json", r#"{"x": 1}"#),
            ("counts.cjs", "globalThis.count = (globalThis.count ?? 0) + 1; throw new Error('once')"),
            ("esm.mjs", "export default 1; export const named = 2"),
            ("waits.mjs", "await 1; export default 1"),
            ("cycle.mjs", "import './cycle.cjs'; export default 1"),
            ("cycle.cjs", "try { require('./cycle.mjs') } catch (error) { exports.why = error.message }"),
        ],
    );
    let session = test.session(template()).await;
    let expected = "[ 'a', 'a', true, 1, '/lib/a.js', [ '/lib/a.js', '/lib' ], 'a' ]";
    assert_eq!(value(&test, session, "main.js").await, expected);
    for (input, expected) in [
        ("require('./esm.mjs').named", "2"),
        ("require('./lib/a').self", "true"),
        (
            "let n = 0; for (const _ of [1, 2]) try { require('./counts.cjs') } catch { n = count } n",
            "2",
        ),
        (
            "try { require('./waits.mjs') } catch (error) { error.code }",
            "'ERR_REQUIRE_ASYNC_MODULE'",
        ),
        (
            "await import('./cycle.mjs'); require('./cycle.cjs').why",
            "'a module in a cycle cannot be required'",
        ),
        ("['./lib/b.js'].map(require)[0].seen", "'a'"),
        ("try { require({}) } catch (error) { error.name }", "'TypeError'"),
        ("try { require('./lib/a.js?x') } catch (error) { error.code }", "'MODULE_NOT_FOUND'"),
        ("try { require('./lib/a.js#x') } catch (error) { error.code }", "'MODULE_NOT_FOUND'"),
    ] {
        assert_eq!(test.preview(session, input).await, expected, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commonjs_exports_is_imported_by_name() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "main.mjs",
                "import whole, { a, b, viaDefine, again } from './lib.cjs';
                 export default [whole.a, a, b, viaDefine, again]",
            ),
            (
                "lib.cjs",
                "exports.a = 1; module.exports.b = 2;
                 Object.defineProperty(exports, 'viaDefine', { enumerable: true, value: 3 });
                 __exportStar(require('./more.js'), exports);
                 function __exportStar(from, to) { Object.assign(to, from) }",
            ),
            ("more.js", "exports.again = 4"),
        ],
    );
    let session = test.session(template()).await;
    assert_eq!(value(&test, session, "main.mjs").await, "[ 1, 1, 2, 3, 4 ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_give_what_their_exports_say() {
    let test = TestHost::start().await;
    files(&test, DUAL);
    files(
        &test,
        &[
            (
                "node_modules/.store/linked/node_modules/linked/index.js",
                "exports.by = require('dep').name",
            ),
            ("node_modules/.store/linked/node_modules/dep/index.js", "exports.name = 'its own'"),
            ("node_modules/@scope/old/package.json", r#"{"main": "./lib/main"}"#),
            ("node_modules/@scope/old/lib/main.js", "module.exports = 'old'"),
        ],
    );
    symlink(".store/linked/node_modules/linked", test.worktree().join("node_modules/linked"))
        .unwrap();
    let session = test.session(template()).await;
    for (input, expected) in [
        ("(await import('dual')).form", "'module'"),
        ("require('dual').form", "'commonjs'"),
        ("require('dual/sub/one').one", "1"),
        ("(await import('dual/sub/one')).one", "1"),
        (
            "await import('dual/private.js').catch(error => error.code)",
            "'ERR_PACKAGE_PATH_NOT_EXPORTED'",
        ),
        ("require('linked').by", "'its own'"),
        ("require('@scope/old')", "'old'"),
    ] {
        assert_eq!(test.preview(session, input).await, expected, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_worktree_is_a_module() {
    let test = TestHost::start().await;
    let secret = test.outside().join("secret.js");
    fs::write(&secret, "exports.secret = 1").unwrap();
    fs::create_dir_all(test.outside().join("node_modules/above")).unwrap();
    fs::write(test.outside().join("node_modules/above/index.js"), "exports.secret = 1").unwrap();
    fs::write(test.outside().join("package.json"), r#"{"type": "module"}"#).unwrap();
    let deep = format!(r#"{{"exports": {}"./x.js"{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"main": "./{}x.js"}}"#, "a/".repeat(400_000));
    let stars = format!(r#"{{"exports": {{"./*": "./{}"}}}}"#, "*/".repeat(2_000));
    let many_levels = "./a".repeat(2_000);
    let one_name = "n".repeat(60_000);
    files(
        &test,
        &[
            ("lib/from.js", "exports.ask = require; exports.load = specifier => import(specifier)"),
            ("node_modules/upwards/package.json", r#"{"exports": {".": "./../../../secret.js"}}"#),
            ("node_modules/mains/package.json", r#"{"main": "../../../secret.js"}"#),
            ("node_modules/deep/package.json", &deep),
            ("node_modules/wrong/package.json", "[]"),
            ("node_modules/long/package.json", &long),
            ("node_modules/stars/package.json", &stars),
            ("script.js", "typeof this"),
        ],
    );
    let worktree = test.worktree();
    symlink("../secret.js", worktree.join("relative.js")).unwrap();
    symlink(&secret, worktree.join("absolute.js")).unwrap();
    symlink("..", worktree.join("above")).unwrap();
    symlink("loop.js", worktree.join("loop.js")).unwrap();
    let fifo = worktree.join("fifo.js");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    // Each link goes down a hundred levels that the next one begins.
    let levels = "d/".repeat(100);
    fs::create_dir_all(worktree.join(&levels)).unwrap();
    for link in 0..60 {
        let target = format!("{}chain{}", "d/../".repeat(50), link + 1);
        symlink(target, worktree.join(format!("chain{link}"))).unwrap();
    }
    let session = test.session(template()).await;
    let outside = secret.display().to_string();
    for specifier in [
        "../../secret.js",
        "./../../secret.js",
        ".././/../secret.js",
        "../lib/../../secret.js",
        outside.as_str(),
        "/../secret.js",
        "../relative.js",
        "../absolute.js",
        "../above/secret.js",
        "../loop.js",
        "../fifo.js",
        "above",
        "upwards",
        "mains",
        "deep",
        "wrong",
        "long",
        "stars/a/b/c",
        &many_levels,
        &one_name,
        "../chain0/x.js",
        "dual/../../../secret.js",
        "./from.js%3Fx",
        "./from%",
        "..%2f..%2fsecret.js",
        "%2e%2e/%2e%2e/secret.js",
        "..\\..\\secret.js",
        "file:///etc/passwd",
        "file://host/secret.js",
        "https://localhost/secret.js",
        "data:text/javascript,export default 1",
        "#internal",
        "",
        "nowhere",
        "node:os",
    ] {
        for ask in ["ask", "load"] {
            let input = format!(
                "try {{ await require('./lib/from').{ask}({specifier:?}); 'loaded' }} catch (e) {{ e.message }}"
            );
            let said = test.preview(session, &input).await;
            let shown = specifier.get(..100).unwrap_or(specifier);
            assert!(said.contains("Invalid module"), "{ask} {shown}: {said}");
            // An error shows no more than the beginning of what is long.
            let names_both =
                said.contains("lib/from.js") && said.contains(&shown.escape_default().to_string());
            let is_named = names_both || specifier.is_empty() || specifier == "node:os";
            assert!(is_named, "{ask} {shown}: {said}");
        }
    }
    // A package.json above the worktree says nothing of what is in it.
    assert_eq!(value(&test, session, "script.js").await, "'object'");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_says_how_specifiers_resolve() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("src/lib/x.js", "exports.from = 'src'"),
            ("lib/x.js", "exports.from = 'root'"),
            ("lib/this.js", "exports.of = () => (function () { return typeof this })()"),
            ("lib/y.jsm", "export const from = 'jsm'"),
            ("lib/y.js", "exports.from = 'js'"),
            ("m.mjs", "export default 1"),
        ],
    );
    let root = test.session(template()).await;
    assert_eq!(test.preview(root, "require('/lib/x').from").await, "'root'");
    let roots = test.session(changed(|s| s.resolver.roots = vec!["src".to_owned()])).await;
    assert_eq!(test.preview(roots, "require('/lib/x').from").await, "'src'");
    let extensions = changed(|s| s.resolver.extensions = vec![".jsm".to_owned(), ".js".to_owned()]);
    let extensions = test.session(extensions).await;
    assert_eq!(test.preview(extensions, "(await import('./lib/y')).from").await, "'jsm'");
    let relative = test.session(changed(|s| s.resolver.allow_absolute_repo_imports = false)).await;
    let refused = "try { require('/lib/x') } catch (error) { error.code }";
    assert_eq!(test.preview(relative, refused).await, "'ERR_INVALID_MODULE_SPECIFIER'");
    let strict = test.session(changed(|s| s.runtime.strict = true)).await;
    assert_eq!(test.preview(strict, "require('./lib/this').of()").await, "'undefined'");
    assert_eq!(test.preview(root, "require('./lib/this').of()").await, "'object'");
    let scripts = test.session(changed(|s| s.runtime.esm = false)).await;
    let refused = "await import('./m.mjs').catch(error => error.code)";
    assert_eq!(test.preview(scripts, refused).await, "'ERR_MODULES_FORBIDDEN'");
    assert_eq!(test.preview(scripts, "require('./lib/x').from").await, "'root'");
    assert!(thrown(&test, scripts, "m.mjs").await.0.starts_with("SyntaxError"));
}

/// The engine kept what it had loaded of a graph that failed, with imports that were not there, and met
/// it when it was imported again.
#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_could_not_be_loaded_leaves_nothing() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("a.mjs", "import './b.mjs'; import './missing.mjs'; export const a = 1"),
            ("b.mjs", "import { a } from './a.mjs'; export const b = () => a"),
            ("c.mjs", "import { nothing } from './d.mjs'; export const c = 1"),
            ("d.mjs", "import './c.mjs'; export const d = 1"),
            ("by-syntax.js", "import './b.mjs'; import './missing.mjs'"),
            ("broken-inside.mjs", "import './wrong.mjs'"),
            ("wrong.mjs", "1 +;"),
        ],
    );
    let session = test.session(template()).await;
    let failed = "await import('./a.mjs').catch(error => error.code)";
    let unlinked = "await import('./c.mjs').catch(error => error.name)";
    for _ in 0..3 {
        assert_eq!(test.preview(session, failed).await, "'ERR_MODULE_NOT_FOUND'");
        assert_eq!(
            test.preview(session, &failed.replace("a.mjs", "b.mjs")).await,
            "'ERR_MODULE_NOT_FOUND'"
        );
        assert_eq!(test.preview(session, unlinked).await, "'SyntaxError'");
    }
    let required = "try { require('./by-syntax.js') } catch (error) { error.code }";
    for _ in 0..2 {
        assert_eq!(test.preview(session, required).await, "'ERR_MODULE_NOT_FOUND'");
    }
    // Code that the engine runs while it loads cannot load.
    let meanwhile = "Error.prepareStackTrace = () => { try { require('./a.mjs') } catch (e) { globalThis.said = e.message } };
        await import('./broken-inside.mjs').catch(() => 0); delete Error.prepareStackTrace; said";
    let refused = "'Invalid module: another one is being loaded'";
    assert_eq!(test.preview(session, meanwhile).await, refused);
    test.file("missing.mjs", "");
    test.file("d.mjs", "import './c.mjs'; export const nothing = 1");
    assert_eq!(test.preview(session, "(await import('./b.mjs')).b()").await, "1");
    assert_eq!(test.preview(session, "(await import('./c.mjs')).c").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_run_is_run_anew_and_leaves_no_memory() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "main.mjs",
                "import { next } from './counter.mjs';
                 const large = new Uint8Array(500_000).fill(1);
                 globalThis.url = () => import.meta.url;
                 export default [next(), large.length]",
            ),
            ("counter.mjs", "let count = 0; export const next = () => ++count"),
        ],
    );
    let session = test.session(changed(|settings| settings.limits.mem_mb = 16)).await;
    for run in 1..=60 {
        assert_eq!(value(&test, session, "main.mjs").await, format!("[ {run}, 500000 ]"));
    }
    assert_eq!(test.preview(session, "url()").await, "'file:///main.mjs'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_repl_imports() {
    let test = TestHost::start().await;
    files(&test, DUAL);
    files(
        &test,
        &[("lib.mjs", "export default 1; export const a = 2, b = 3"), ("data.json", "[4]")],
    );
    let session = test.session(template()).await;
    for (input, expected) in [
        ("import one, { a as deux, b } from './lib.mjs'", "undefined"),
        ("[one, deux, b]", "[ 1, 2, 3 ]"),
        ("import * as all from './lib.mjs'; all.b", "3"),
        (
            "import data from \"./data.json\" with { type: 'json' }; import './lib.mjs'\ndata",
            "[ 4 ]",
        ),
        ("import { form } from 'dual'\nform", "'module'"),
        (
            "import { form } from 'dual'; /* again */ import one, * as ns from './lib.mjs'; ns.default + one",
            "2",
        ),
        ("(await import('./lib.mjs')).a", "2"),
    ] {
        assert_eq!(test.preview(session, input).await, expected, "{input}");
    }
    for input in ["import { a from './lib.mjs'", "import a from './lib.mjs' a", "import"] {
        let error = test.repl(session, input).await.execution.error.unwrap();
        assert!(error.message.starts_with("SyntaxError"), "{input}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_by_the_names_that_modules_know_themselves_by() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("lib/read.cjs", "exports.text = require('fs').readFileSync(__dirname + '/data.txt')"),
            ("lib/data.txt", "content"),
            (
                "main.mjs",
                "import fs, { existsSync } from 'node:fs'; import { text } from './lib/read.cjs';
              export default [text, existsSync('/lib/data.txt'), fs.existsSync('/etc/passwd')]",
            ),
        ],
    );
    let session = test.session(with_fs(json!({}))).await;
    assert_eq!(value(&test, session, "main.mjs").await, "[ 'content', true, false ]");
}

fn module_startup(path: &str) -> Template {
    let mut template = with_startup(&[(path, 0)]);
    template.startup_files[0].mode = String::from("module");
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_module_is_part_of_an_image_with_all_it_imports() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            (
                "boot.mjs",
                "import { name } from './name.mjs'; globalThis.greeting = `hello ${name}`",
            ),
            ("name.mjs", "export const name = 'one'"),
        ],
    );
    let template = module_startup("boot.mjs");
    let form = |session| test.host.storage().session(session).unwrap().unwrap().template.startup;
    let first = test.session(template.clone()).await;
    assert_eq!(form(first), Some(StartupForm::Replayed));
    let second = test.another(&template).await.unwrap();
    assert_eq!(form(second), Some(StartupForm::Image));
    for session in [first, second] {
        assert_eq!(test.preview(session, "greeting").await, "'hello one'");
        assert_eq!(test.preview(session, "(await import('./name.mjs')).name").await, "'one'");
    }
    test.file("name.mjs", "export const name = 'two'");
    let third = test.another(&template).await.unwrap();
    assert_eq!(form(third), Some(StartupForm::Replayed));
    assert_eq!(test.preview(third, "greeting").await, "'hello two'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_module_that_fails_fails_its_session() {
    let test = TestHost::start().await;
    files(&test, &[("boot.mjs", "import './missing.mjs'")]);
    let error = test.try_session(module_startup("boot.mjs")).await.unwrap_err();
    let HostError::StartupFailed { message, .. } = &error else { panic!("{error}") };
    assert!(message.contains("'./missing.mjs' from 'boot.mjs'"), "{message}");
    let mut scripts_only = module_startup("boot.mjs");
    scripts_only.settings.runtime.esm = false;
    let error = test.try_session(scripts_only).await.unwrap_err();
    assert!(matches!(error, HostError::StartupMode { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_outlive_the_process() {
    let mut test = TestHost::start().await;
    files(&test, &[("counter.mjs", "let count = 0; export const next = () => ++count")]);
    files(&test, &[("keep.cjs", "exports.list = []")]);
    let session = test.session(template()).await;
    let input = "require('./keep.cjs').list.push(1); (await import('./counter.mjs')).next()";
    assert_eq!(test.preview(session, input).await, "1");
    test.restart().await;
    assert_eq!(test.preview(session, input).await, "2");
    assert_eq!(test.preview(session, "require('./keep.cjs').list").await, "[ 1, 1 ]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_module_throws_is_for_who_imports_it_to_handle() {
    let test = TestHost::start().await;
    files(
        &test,
        &[
            ("throws.mjs", "throw new RangeError('boom')"),
            ("deep.mjs", "import './throws.mjs'"),
            ("handles.cjs", "import('./deep.mjs').catch(e => console.log(e.message))"),
            ("leaves.cjs", "import('./deep.mjs').then(() => {})"),
        ],
    );
    let session = test.session(template()).await;
    let finished = test.run_file(session, "handles.cjs").await.unwrap();
    assert_eq!(finished.execution.status, ExecutionStatus::Ok, "{:?}", finished.execution.error);
    assert_eq!(console(&finished.events), ["boom"]);
    let caught = "await import('./throws.mjs').catch(e => e.name)";
    assert_eq!(test.preview(session, caught).await, "'RangeError'");
    // One that nothing handles is still the execution's.
    assert_eq!(thrown(&test, session, "leaves.cjs").await.0, "RangeError: boom");
}
