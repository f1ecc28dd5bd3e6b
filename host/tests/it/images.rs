//! Images of templates: what begins with one, and that nobody can tell.

use crate::harness::{TestHost, console, template, with_fs, with_startup};
use crate::outlives::{BEGIN, SCRIPTS, Step, steps, told};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use tokio::sync::Mutex;
use vm_host::{Artifact, ArtifactForm, Finished, Forms, HostError, InputAnswer, SourceKind};
use vm_storage::{ExecutionStatus, SessionId, StartupForm, Template, TenantId};

/// Startups that are tried.
const CASES: u32 = 24;

/// Pieces of startup files that every run does the same.
const REPEATABLE: &[&str] = &[
    BEGIN,
    "globalThis.tables = globalThis.tables || []; for (let i = 0; i < 3000; i++) tables.push({ i })",
    "console.log('starting', typeof tables, [1, { a: 2 }]); console.error('and', new Map([[1, 2]]))",
    "class Base { static made = 0; constructor() { Base.made++ } } var base = new Base()",
    "{ const cycle = {}; cycle.self = cycle; for (let i = 0; i < 50000; i++) ({ cycle, i }) }",
    "var buffer = new Uint8Array(600000).fill(7); buffer[5] = 1",
    "var later = Promise.resolve(1).then(n => { globalThis.settled = n + 1; console.log('settled') })",
    "var date = new Date(0), month = new Date(2020, 5, 1).getMonth(), zone = date.getTimezoneOffset()",
    "try { require('absent') } catch (error) { var absent = error.message }",
    "var fs = require('fs'); var config = JSON.parse(fs.readFileSync('config.json', 'utf8'))",
    "var probe = require('fs').existsSync('nothing') + ',' + require('fs').existsSync('config.json')",
    "try { require('fs').readFileSync('nothing') } catch (error) { var missing = error.code }",
    "var listed = require('fs').readdirSync('.').filter(name => !name.startsWith('startup')).sort()",
    "try { (function f() { return f() + 1 })() } catch (error) { var deep = error.name }",
    "try { new Uint8Array(500 << 20) } catch (error) { var refused = error.message }",
    "var gone = new WeakRef({}), registry = new FinalizationRegistry(() => {}); registry.register({}, 1)",
    "Object.prototype.extra = 1; Array.prototype.last = function () { return this[this.length - 1] }",
    "globalThis.random = Math.random; JSON.stringify = value => 'mine'; var frozen = Object.freeze([1])",
];

/// Pieces that no two runs do the same, or that change something outside.
const UNREPEATABLE: &[&str] = &[
    "var drawn = Math.random()",
    "var at = Date.now()",
    "var made = new Date()",
    "require('fs').writeFileSync('written', 'x')",
    "try { require('fs').unlinkSync('nothing') } catch {}",
    "require('fs').mkdirSync('folder', { recursive: true })",
];

/// Scripts that look at what the pieces left.
const LOOKS: &[&str] = &[
    "Object.keys(globalThis).sort().join()",
    "[typeof tables === 'object' && tables.length, typeof settled === 'number' && settled]",
    "typeof config === 'object' && config; typeof listed === 'object' && listed",
    "[typeof probe === 'string' && probe, typeof missing === 'string' && missing, typeof zone]",
    "typeof fs === 'object' && fs === require('fs')",
    "typeof buffer === 'object' && buffer.reduce((sum, byte) => sum + byte, 0)",
    "var more = []; for (let i = 0; i < 2000; i++) more.push({ i, more }); more.length",
];

pub(crate) async fn form(test: &TestHost, session: SessionId) -> StartupForm {
    test.host.session(session).await.unwrap().template.startup.unwrap()
}

async fn artifacts(test: &TestHost, template: &Template, form: ArtifactForm) -> Vec<Artifact> {
    let mut all = test.host.list_artifacts(template.id).await.unwrap();
    all.retain(|artifact| artifact.form == form);
    all
}

fn module_files(test: &TestHost, form: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(test.outside().join("modules")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.to_str().unwrap().contains(&format!(".{form}."))).collect()
}

/// What is told of a session's startup executions, oldest first.
fn startup_told(test: &TestHost, session: SessionId) -> Vec<(String, Vec<String>)> {
    let executions = test.executions(session);
    let told = executions.iter().rev().map(|execution| {
        let metrics = execution.metrics;
        let is_over = execution.ended_at.is_some();
        let summary = format!(
            "{:?} {:?} {:?} {:?} {is_over} fuel {} memory {} events {} bytes {}",
            execution.kind,
            execution.status,
            execution.path,
            execution.result,
            metrics.fuel_used,
            metrics.peak_memory_bytes,
            metrics.events,
            metrics.output_bytes
        );
        let events = test.events(execution.id);
        let events = events.iter().map(|event| format!("{} {:?}", event.seq, event.payload));
        (summary, events.collect())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_session_begins_where_the_first_ones_startup_ended() {
    let test = TestHost::start().await;
    test.file("init.js", "var log = []; const n = 41; console.log('once', n); log.push(n)");
    let template = with_startup(&[("init.js", 0)]);
    let first = test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(form(&test, first).await, StartupForm::Replayed);
    assert_eq!(form(&test, second).await, StartupForm::Image);
    assert_eq!(startup_told(&test, second), startup_told(&test, first));
    assert_eq!(test.preview(second, "n + log.length").await, "42");
    assert_eq!(test.host.stats().template_images_made, 1);
    // What has nothing to run begins with what nothing leaves.
    let empty = test.session(crate::harness::template()).await;
    assert_eq!(form(&test, empty).await, StartupForm::Image);
}

/// Two hosts that differ in nothing but whether there are images.
async fn both() -> (TestHost, TestHost) {
    let replays = TestHost::with(|options| options.forms = Forms::Replayed).await;
    let begins = TestHost::start().await;
    for test in [&replays, &begins] {
        test.file("config.json", r#"{"name":"config","list":[1,2]}"#);
    }
    (replays, begins)
}

/// A template of startup files of these pieces, whose second session is to be looked at.
async fn second(
    test: &TestHost,
    template: &Template,
    files: &[Vec<&str>],
) -> Result<SessionId, HostError> {
    for (index, pieces) in files.iter().enumerate() {
        test.file(&format!("startup{index}.js"), pieces.join(";\n"));
    }
    test.try_session(template.clone()).await?;
    test.another(template).await
}

async fn check(
    replays: &TestHost,
    begins: &mut TestHost,
    files: Vec<Vec<&'static str>>,
    steps: Vec<Step>,
) {
    let names: Vec<_> = (0..files.len()).map(|index| format!("startup{index}.js")).collect();
    let order: Vec<_> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let mut template = with_startup(&order);
    template.modules = vec!["fs".to_owned()];
    template.capabilities = with_fs(json!({"write": true})).capabilities;
    let limits = &mut template.settings.limits;
    (limits.cpu_ms, limits.mem_mb, limits.max_events) = (60, 16, 20);
    let one = second(replays, &template, &files).await;
    let other = second(begins, &template, &files).await;
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => (one, other),
        (one, other) => {
            // Two pieces may not go together, and then they do so nowhere.
            let why = |session: Result<SessionId, HostError>| match session {
                Err(HostError::StartupFailed { message, code, .. }) => (message, code),
                other => panic!("{other:?}"),
            };
            assert_eq!(why(one), why(other));
            return;
        }
    };
    let repeats = files.iter().flatten().all(|piece| REPEATABLE.contains(piece));
    let expected = if repeats { StartupForm::Image } else { StartupForm::Replayed };
    assert_eq!(form(begins, other).await, expected, "{files:?}");
    assert_eq!(form(replays, one).await, StartupForm::Replayed);
    assert_eq!(startup_told(begins, other), startup_told(replays, one));
    let looks = LOOKS.iter().map(|look| told_of(replays, one, look));
    for (look, expected) in LOOKS.iter().zip(looks) {
        assert_eq!(told_of(begins, other, look).await, expected.await, "{files:?}: {look}");
    }
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Run(script) => {
                let script = SCRIPTS[script];
                let expected = told_of(replays, one, script).await;
                let found = told_of(begins, other, script).await;
                assert_eq!(found, expected, "{files:?}, step {number}: {script}");
            }
            Step::Hibernate => {
                begins.host.hibernate(other);
            }
            Step::Restart => begins.restart().await,
        }
    }
    for (test, session) in [(replays, one), (&*begins, other)] {
        test.host.close_session(session).await.unwrap();
        let mut others = test.host.storage().live_session_ids(TenantId::LOCAL).unwrap().1;
        test.host.close_session(others.pop().unwrap()).await.unwrap();
    }
}

async fn told_of(
    test: &TestHost,
    session: SessionId,
    script: &str,
) -> (ExecutionStatus, String, Vec<vm_storage::EventPayload>, u64) {
    let finished: Finished = test.repl(session, script).await;
    told(&finished)
}

#[test]
fn a_session_that_begins_with_an_image_is_as_one_that_replayed() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let (replays, begins) = tokio.block_on(both());
    let begins = Mutex::new(begins);
    let piece = prop_oneof![
        30 => (0..REPEATABLE.len()).prop_map(|index| REPEATABLE[index]),
        1 => (0..UNREPEATABLE.len()).prop_map(|index| UNREPEATABLE[index]),
    ];
    let files = vec(vec(piece, 1..6), 1..4);
    let config = Config {
        cases: CASES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&(files, steps()), |(files, steps)| {
        tokio.block_on(async {
            check(&replays, &mut *begins.lock().await, files, steps).await;
        });
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_piece_by_itself_makes_an_image_or_is_why_there_is_none() {
    let (replays, mut begins) = both().await;
    for piece in REPEATABLE.iter().chain(UNREPEATABLE) {
        let steps = [1, 6, 9, 11, 14, 17].map(Step::Run).to_vec();
        check(&replays, &mut begins, vec![vec![*piece]], steps).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_numbers_are_fresh_in_every_session_of_an_image() {
    let mut test = TestHost::start().await;
    test.file("init.js", "var draw = () => [Math.random(), Math.random()].join()");
    let template = with_startup(&[("init.js", 0)]);
    let mut drawn = vec![test.preview(test.session(template.clone()).await, "draw()").await];
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let session = test.another(&template).await.unwrap();
        assert_eq!(form(&test, session).await, StartupForm::Image);
        drawn.push(test.preview(session, "draw()").await);
        test.host.hibernate(session);
        drawn.push(test.preview(session, "draw()").await);
        sessions.push(session);
    }
    test.restart().await;
    for session in sessions {
        drawn.push(test.preview(session, "draw()").await);
    }
    let count = drawn.len();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_lists_what_was_read_and_looked_for_and_fits_no_other_worktree() {
    let test = TestHost::start().await;
    test.file("a.json", "1");
    test.file(
        "init.js",
        "const fs = require('fs'); var a = fs.readFileSync('a.json', 'utf8');
         var b = fs.existsSync('b.json') ? fs.readFileSync('b.json', 'utf8') : 'none';
         try { fs.readFileSync('c.json') } catch (error) { var c = error.code }
         var files = fs.readdirSync('.').sort().join()",
    );
    let mut template = with_fs(json!({}));
    template.startup_files = with_startup(&[("init.js", 0)]).startup_files;
    test.session(template.clone()).await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(form(&test, second).await, StartupForm::Image);
    let [image] = &artifacts(&test, &template, ArtifactForm::Image).await[..] else { panic!() };
    let asked: Vec<_> =
        image.asked.iter().map(|asked| (asked.operation, asked.name.as_str())).collect();
    let expected = [
        ("require", "fs"),
        ("read", "a.json"),
        ("exists", "b.json"),
        ("read", "c.json"),
        ("readdir", "."),
    ];
    assert_eq!(asked, expected);
    let sha_of_1 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b".to_owned();
    assert_eq!(image.asked[1].answer, InputAnswer::Sha256(sha_of_1));
    assert_eq!(image.asked[2].answer, InputAnswer::Absent);
    assert_eq!(image.asked[3].answer, InputAnswer::Error("ENOENT".to_owned()));
    let [source] = &image.sources[..] else { panic!() };
    assert_eq!((source.name.as_str(), source.kind), ("init.js", SourceKind::StartupFile));

    // Each change is seen, and what was there before is found again.
    for (file, content) in [("a.json", "2"), ("b.json", "3"), ("c.json", "4"), ("d", "")] {
        test.file(file, content);
        let session = test.another(&template).await.unwrap();
        assert_eq!(form(&test, session).await, StartupForm::Replayed, "{file}");
        let session = test.another(&template).await.unwrap();
        assert_eq!(form(&test, session).await, StartupForm::Image, "{file}");
    }
    let session = test.another(&template).await.unwrap();
    assert_eq!(
        test.preview(session, "[a, b, typeof c, files].join(' ')").await,
        "'2 3 undefined a.json,b.json,c.json,d,init.js'"
    );
    fs::remove_file(test.worktree().join("d")).unwrap();
    let session = test.another(&template).await.unwrap();
    assert_eq!(form(&test, session).await, StartupForm::Image);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worktree_finds_its_own_image_among_those_of_many() {
    let test = TestHost::with(|options| options.max_sessions = 64).await;
    let mut template = with_fs(json!({}));
    template.startup_files = with_startup(&[("init.js", 0)]).startup_files;
    test.host.storage().create_template(template.clone()).await.unwrap();
    let worktrees: Vec<_> = (0..10).map(|n| test.outside().join(format!("worktree{n}"))).collect();
    for (n, worktree) in worktrees.iter().enumerate() {
        fs::create_dir(worktree).unwrap();
        let startup = "var fs = require('fs'), own = fs.readFileSync('own', 'utf8');
            if (own % 2) var odd = fs.existsSync('init.js')";
        fs::write(worktree.join("init.js"), startup).unwrap();
        fs::write(worktree.join("own"), n.to_string()).unwrap();
    }
    for expected in [StartupForm::Replayed, StartupForm::Image, StartupForm::Image] {
        for (n, worktree) in worktrees.iter().enumerate() {
            let session = test.another_in(&template, worktree).await.unwrap();
            assert_eq!(form(&test, session).await, expected, "{n}");
            let own = test.preview(session, "own + typeof odd").await;
            assert_eq!(own, format!("'{n}{}'", ["undefined", "boolean"][n % 2]));
        }
    }
    assert_eq!(test.host.stats().template_images_made, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_same_memory_under_other_limits_are_other_files_of_other_hashes() {
    let test = TestHost::start().await;
    test.file("init.js", "var n = 1");
    let mut hashes = Vec::new();
    for less in 0..3 {
        let mut template = with_startup(&[("init.js", 0)]);
        template.settings.limits.cpu_ms -= less;
        test.session(template.clone()).await;
        let [image] = &artifacts(&test, &template, ArtifactForm::Image).await[..] else { panic!() };
        hashes.push(image.hash.clone());
    }
    hashes.sort();
    hashes.dedup();
    assert_eq!((hashes.len(), module_files(&test, "image").len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_content_limits_or_realm_mean_another_image() {
    let test = TestHost::start().await;
    test.file("init.js", "var version = 1");
    let template = with_startup(&[("init.js", 0)]);
    let changes: [fn(&mut Template); 4] = [
        |_| {},
        |template| template.settings.limits.cpu_ms -= 1,
        |template| template.settings.runtime.console = false,
        |template| template.settings.runtime.strict = true,
    ];
    for (made, change) in (1..).zip(changes) {
        let mut other = template.clone();
        other.id = vm_storage::TemplateId::new();
        change(&mut other);
        let first = test.session(other.clone()).await;
        assert_eq!(form(&test, first).await, StartupForm::Replayed);
        let second = test.another(&other).await.unwrap();
        assert_eq!(form(&test, second).await, StartupForm::Image);
        let has_console = other.settings.runtime.console;
        assert_eq!(
            test.preview(second, "typeof console === 'object'").await,
            has_console.to_string()
        );
        assert_eq!(test.host.stats().template_images_made, made);
    }
    test.file("init.js", "var version = 2");
    let first = test.session(Template { id: vm_storage::TemplateId::new(), ..template }).await;
    assert_eq!(form(&test, first).await, StartupForm::Replayed);
    assert_eq!(test.preview(first, "version").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_start_together_make_one_image() {
    let test = TestHost::start().await;
    test.file("init.js", "var n = []; for (let i = 0; i < 20000; i++) n.push({ i })");
    let template = with_startup(&[("init.js", 0)]);
    test.host.storage().create_template(template.clone()).await.unwrap();
    let starts = (0..8).map(|_| test.another(&template));
    for session in futures_util::future::join_all(starts).await {
        assert_eq!(test.preview(session.unwrap(), "n.length").await, "20000");
    }
    let made = test.host.stats();
    assert_eq!((made.template_modules_compiled, made.template_images_made), (1, 1));
    assert_eq!(module_files(&test, "image").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_outlive_the_process_and_a_torn_one_is_made_anew() {
    let mut test = TestHost::start().await;
    test.file("init.js", "var n = 1");
    let template = with_startup(&[("init.js", 0)]);
    test.session(template.clone()).await;
    test.restart().await;
    let second = test.another(&template).await.unwrap();
    assert_eq!(form(&test, second).await, StartupForm::Image);
    assert_eq!(test.host.stats().template_modules_compiled, 0);
    test.host.close_session(second).await.unwrap();

    for form_name in ["image", "replayed"] {
        let [file] = &module_files(&test, form_name)[..] else { panic!() };
        let whole = fs::read(file).unwrap();
        fs::write(file, &whole[..whole.len() - 1]).unwrap();
        fs::write(file.with_extension("4711.draft"), &whole[..9]).unwrap();
    }
    test.restart().await;
    let third = test.another(&template).await.unwrap();
    assert_eq!(form(&test, third).await, StartupForm::Replayed);
    let stats = test.host.stats();
    assert_eq!((stats.template_modules_compiled, stats.template_images_made), (1, 1));
    let fourth = test.another(&template).await.unwrap();
    assert_eq!(form(&test, fourth).await, StartupForm::Image);
    assert_eq!(test.preview(fourth, "n").await, "1");
    let drafts = fs::read_dir(test.outside().join("modules")).unwrap();
    let is_draft = |path: &PathBuf| path.extension().is_some_and(|is| is == "draft");
    assert_eq!(drafts.map(|file| file.unwrap().path()).filter(is_draft).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_bounded_and_those_of_stored_sessions_stay() {
    let mut test = TestHost::start().await;
    test.file("used.js", "var used = 'stays'");
    test.file("unused.js", "var unused = 1");
    let (used, unused) = (with_startup(&[("used.js", 0)]), with_startup(&[("unused.js", 0)]));
    test.session(used.clone()).await;
    let session = test.another(&used).await.unwrap();
    assert_eq!(form(&test, session).await, StartupForm::Image);
    let other = test.session(unused.clone()).await;
    assert_eq!(test.host.list_artifacts(unused.id).await.unwrap().len(), 2);
    test.restart_with(|options| options.max_module_bytes = 1).await;
    let files = || module_files(&test, "image").len() + module_files(&test, "replayed").len();
    while files() > 1 {
        tokio::task::yield_now().await;
    }
    let [kept] = &artifacts(&test, &used, ArtifactForm::Image).await[..] else { panic!() };
    assert_eq!(kept.sources[0].name, "used.js");
    assert_eq!(test.host.list_artifacts(unused.id).await.unwrap(), []);
    assert_eq!(test.preview(session, "used").await, "'stays'");
    assert_eq!(test.preview(other, "unused").await, "1");
    test.host.close_session(session).await.unwrap();
    test.restart().await;
    while !module_files(&test, "image").is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_downloaded_hashes_to_its_name_and_belongs_to_the_template() {
    let test = TestHost::start().await;
    test.file("init.js", "var n = 1");
    let template = with_startup(&[("init.js", 0)]);
    test.session(template.clone()).await;
    let listed = test.host.list_artifacts(template.id).await.unwrap();
    assert_eq!(listed.len(), 2);
    for artifact in &listed {
        let (mut file, bytes) = test.host.artifact(template.id, &artifact.hash).await.unwrap();
        let mut module = Vec::new();
        file.read_to_end(&mut module).unwrap();
        assert_eq!((module.len() as u64, bytes), (artifact.bytes, artifact.bytes));
        assert!(module.starts_with(b"\0asm"));
        assert_eq!(format!("{:x}", Sha256::digest(&module)), artifact.hash);
    }
    test.another(&template).await.unwrap();
    test.another(&template).await.unwrap();
    let [image] = &artifacts(&test, &template, ArtifactForm::Image).await[..] else { panic!() };
    assert_eq!(image.hits, 2);
    let stranger = crate::harness::template();
    test.host.storage().create_template(stranger.clone()).await.unwrap();
    for hash in [image.hash.as_str(), "..", "../../vm.redb", ""] {
        let refused = test.host.artifact(stranger.id, hash).await.unwrap_err();
        assert!(matches!(refused, HostError::ArtifactNotFound { .. }), "{refused}");
    }
    let gone = test.host.list_artifacts(vm_storage::TemplateId::new()).await.unwrap_err();
    assert!(matches!(gone, HostError::TemplateNotFound(_)), "{gone}");
    // A damaged one is not given; nor is anything kept of a template that is gone.
    for file in module_files(&test, "image") {
        let mut module = fs::read(&file).unwrap();
        module[99] ^= 1;
        fs::write(&file, module).unwrap();
    }
    let refused = test.host.artifact(template.id, &image.hash).await.unwrap_err();
    assert!(matches!(refused, HostError::ArtifactNotFound { .. }), "{refused}");
    let noted = || test.outside().join("modules/templates").join(template.id.to_string()).exists();
    assert!(noted());
    test.host.delete_template(template.id, None).await.unwrap();
    assert!(!noted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_that_leaves_too_much_is_replayed() {
    let test = TestHost::start().await;
    test.file("large.js", "var large = new Uint8Array(70 << 20).fill(1)");
    test.file("loud.js", "for (let i = 0; i < 10; i++) console.log('x'.repeat(20000))");
    for file in ["large.js", "loud.js"] {
        let template = with_startup(&[(file, 0)]);
        test.session(template.clone()).await;
        let second = test.another(&template).await.unwrap();
        assert_eq!(form(&test, second).await, StartupForm::Replayed, "{file}");
    }
    let template = template();
    let empty = test.session(template).await;
    assert_eq!(console(&test.repl(empty, "console.log(1)").await.events), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_files_of_a_host_short_of_places_run_in_one_instance() {
    let test = TestHost::with(|options| options.max_resident = 1).await;
    test.file("one.js", "var one = 1");
    test.file("two.js", "var two = one + 1; for (let i = 0; i < 100000; i++);");
    let template = with_startup(&[("one.js", 0), ("two.js", 1)]);
    test.host.storage().create_template(template.clone()).await.unwrap();
    // More than there are places for, with those that compile.
    let starts = (0..16).map(|number| {
        let mut template = template.clone();
        template.id = vm_storage::TemplateId::new();
        template.settings.limits.cpu_ms -= number;
        test.try_session(template)
    });
    for session in futures_util::future::join_all(starts).await {
        assert_eq!(test.preview(session.unwrap(), "two").await, "2");
    }
}
