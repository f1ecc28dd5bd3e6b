//! The host that the tests run on, in a folder of its own, and one run of a test.
//!
//! ```text
//!  worktree/package.json       a .js file is a module, a .cjs file a script
//!  worktree/harness/…          the suite's, which are startup files
//!  worktree/test/…/x.js        what tests import, and tests that are modules
//!  worktree/test/…/x.strict.cjs  a test as a script, with "use strict" before it, while it runs
//!  libraries/test262-1.0.0.js  what the suite wants of a host: print and $262
//! ```
//!
//! Invariant: a run has a session of its own, made of the template for what the test includes and
//! removed when it ended, and a test's text is changed in nothing but the directive.

use crate::Failed;
use crate::judge::judge;
use crate::metadata::Metadata;
use crate::suite::{Mode, Outcome, Suite, Test};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::sync::Mutex;
use vm_host::{Finished, Host, HostError, HostOptions, SessionRequest, Source};
use vm_storage::{
    Limits, Settings, StartupFile, StartupFileId, Storage, StorageOptions, Template, TemplateId,
};

/// What the suite wants of a host.
const HOST: &str = include_str!("host.js");
const HOST_LIBRARY: &str = "test262-1.0.0";

/// What one run may use: the slowest tests of the suite take a few seconds.
const LIMITS: Limits =
    Limits { cpu_ms: 20_000, wall_ms: 60_000, mem_mb: 256, max_events: 1_000, max_output_kb: 256 };

pub(crate) struct Runner {
    host: Host,
    folder: TempDir,
    /// The template of each list of startup files.
    templates: Mutex<HashMap<Vec<String>, TemplateId>>,
}

impl Runner {
    /// Starts a host in a folder of its own, with the suite's harness and what its tests import.
    pub(crate) async fn start(suite: &Suite) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("vm-test262-").tempdir()?;
        let (worktree, libraries) =
            (folder.path().join("worktree"), folder.path().join("libraries"));
        fs::create_dir_all(&worktree)?;
        fs::create_dir_all(&libraries)?;
        fs::write(worktree.join("package.json"), r#"{"type":"module"}"#)?;
        fs::write(libraries.join(format!("{HOST_LIBRARY}.js")), HOST)?;
        for fixture in &suite.fixtures {
            write(&worktree, fixture, &fs::read(suite.folder.join(fixture))?)?;
        }
        copy_scripts(&suite.folder, &worktree, "harness")?;
        let (storage, _) =
            Storage::open(&folder.path().join("vm.redb"), StorageOptions::default())?;
        let options = HostOptions {
            module_dir: Some(folder.path().join("modules")),
            ..HostOptions::new(libraries)
        };
        let host = Host::start(storage, options).await?;
        Ok(Self { host, folder, templates: Mutex::default() })
    }

    /// Runs a test in each of its modes, until it fails in one.
    pub(crate) async fn outcome(&self, test: &Test) -> Result<Outcome, Failed> {
        if let Some(reason) = test.skipped {
            return Ok(Outcome::Skipped(reason));
        }
        for mode in test.modes() {
            let judged = match self.run(test, *mode).await {
                Ok(finished) => judge(&test.metadata, &finished),
                Err(Stopped::Harness(reason)) => Err(reason),
                Err(Stopped::Runner(error)) => return Err(error),
            };
            if let Err(reason) = judged {
                return Ok(Outcome::Failed { mode: *mode, reason });
            }
        }
        Ok(Outcome::Passed)
    }

    async fn run(&self, test: &Test, mode: Mode) -> Result<Finished, Stopped> {
        let worktree = self.folder.path().join("worktree");
        let template = self.template(startup_files(&test.metadata)).await?;
        let script = test.path.strip_suffix(".js").unwrap_or(&test.path);
        let (path, directive) = match mode {
            Mode::Sloppy => (format!("{script}.sloppy.cjs"), ""),
            Mode::Strict => (format!("{script}.strict.cjs"), "\"use strict\";\n"),
            Mode::Module => (test.path.clone(), ""),
        };
        if mode == Mode::Module {
            return self.run_file(template, &path).await;
        }
        // A test may import itself, by its own name.
        write(&worktree, &test.path, &test.source)?;
        write(&worktree, &path, &[directive.as_bytes(), &test.source].concat())?;
        let ran = self.run_file(template, &path).await;
        for written in [&path, &test.path] {
            fs::remove_file(worktree.join(written))?;
        }
        ran
    }

    /// Runs a file of the worktree in a session of its own.
    async fn run_file(&self, template: TemplateId, path: &str) -> Result<Finished, Stopped> {
        let request = SessionRequest {
            template_id: template,
            workspace_id: "test262".to_owned(),
            base_commit_oid: "none".to_owned(),
            worktree_path: self.folder.path().join("worktree").display().to_string(),
        };
        let session = match self.host.create_session(request, None).await {
            Ok(session) => session.id,
            Err(error @ (HostError::StartupFailed { .. } | HostError::StartupFile { .. })) => {
                return Err(Stopped::Harness(format!("the harness: {error}")));
            }
            Err(error) => return Err(error.into()),
        };
        let (args, env) = (serde_json::Map::new(), BTreeMap::new());
        let source = Source::File { path: path.to_owned(), args, env };
        let finished = self.host.execute(session, source, None).await?;
        self.host.purge_session(session).await?;
        Ok(finished)
    }

    /// The template whose sessions begin with these files of the suite.
    async fn template(&self, files: Vec<String>) -> Result<TemplateId, Stopped> {
        let mut templates = self.templates.lock().await;
        if let Some(id) = templates.get(&files) {
            return Ok(*id);
        }
        let startup_file = |(index, path): (usize, &String)| StartupFile {
            id: StartupFileId::new(),
            path: path.clone(),
            order_index: i64::try_from(index).unwrap_or(i64::MAX),
            mode: "eval".to_owned(),
        };
        let template = Template {
            settings: Settings { limits: LIMITS, ..Settings::default() },
            startup_files: files.iter().enumerate().map(startup_file).collect(),
            libraries: vec![HOST_LIBRARY.to_owned()],
            ..Template::new("test262")
        };
        let id = template.id;
        self.host.storage().create_template(template).await.map_err(HostError::from)?;
        templates.insert(files, id);
        Ok(id)
    }
}

/// Why a run has no end to judge.
enum Stopped {
    /// The harness does not load.
    Harness(String),
    /// The runner itself failed.
    Runner(Failed),
}

impl From<HostError> for Stopped {
    fn from(error: HostError) -> Self {
        Self::Runner(error.into())
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Runner(error.into())
    }
}

/// The files that are run before a test, in the order that the suite says.
fn startup_files(metadata: &Metadata) -> Vec<String> {
    if metadata.has_flag("raw") {
        return Vec::new();
    }
    let mut names = vec!["assert.js", "sta.js"];
    if metadata.has_flag("async") {
        names.push("doneprintHandle.js");
    }
    names.extend(metadata.includes.iter().map(String::as_str));
    let mut files: Vec<String> = Vec::new();
    for path in names.iter().map(|name| format!("harness/{name}")) {
        if !files.contains(&path) {
            files.push(path);
        }
    }
    files
}

fn copy_scripts(from: &Path, to: &Path, folder: &str) -> std::io::Result<()> {
    for entry in fs::read_dir(from.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            copy_scripts(from, to, &path)?;
        } else {
            write(to, &path, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn write(worktree: &Path, path: &str, content: &[u8]) -> std::io::Result<()> {
    let path = worktree.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}
