//! A checkout of the suite: its tests, how each is run, and which are not.
//!
//! Invariant: every file that is a test is in the list, whether it is run or not; what a reason to skip
//! says is true of this host and engine, not of how a test would fare.

use crate::Failed;
use crate::metadata::Metadata;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of `test/` that are not looked at, and why.
const FOLDERS_LEFT_OUT: [(&str, &str); 2] = [
    ("test/intl402/", "there is no Intl (ECMA-402)"),
    ("test/staging/", "staging: tests on their way into the suite"),
];

/// Features of tests that cannot be run, and why.
const FEATURES_LEFT_OUT: [(&str, &str); 3] = [
    ("IsHTMLDDA", "the host has no document.all"),
    ("host-gc-required", "the host offers scripts no garbage collection"),
    ("cross-realm", "a session has one realm: no $262.createRealm"),
];

/// What a test may ask of its host that this one does not have.
const NEEDS_LEFT_OUT: [(&str, &str); 4] = [
    ("createRealm", "a session has one realm: no $262.createRealm"),
    ("$262.agent", "a session has one thread: no $262.agent"),
    ("atomicsHelper.js", "a session has one thread: no $262.agent"),
    ("$262.evalScript", "a script cannot run another as a script: no $262.evalScript"),
];

pub(crate) struct Suite {
    pub(crate) folder: PathBuf,
    pub(crate) tests: Vec<Test>,
    /// Files that tests import, relative to the folder: those that are no tests, and modules.
    pub(crate) fixtures: Vec<String>,
}

pub(crate) struct Test {
    /// Its path in the suite.
    pub(crate) path: String,
    pub(crate) source: Vec<u8>,
    pub(crate) metadata: Metadata,
    /// Why it is not run.
    pub(crate) skipped: Option<&'static str>,
}

/// How a test is run once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sloppy,
    Strict,
    Module,
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// A run of it did something else than the suite says.
    Failed {
        mode: Mode,
        reason: String,
    },
    Skipped(&'static str),
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sloppy => "sloppy",
            Self::Strict => "strict",
            Self::Module => "module",
        }
    }
}

impl Suite {
    /// Reads the tests whose path has one of the filters; all of them if there is none.
    pub(crate) fn read(folder: &Path, filters: &[String]) -> Result<Self, Failed> {
        if !folder.join("harness/assert.js").is_file() {
            return Err(format!("{} is no checkout of test262", folder.display()).into());
        }
        let mut suite = Self { folder: folder.to_owned(), tests: Vec::new(), fixtures: Vec::new() };
        let mut files = Vec::new();
        walk(folder, "test", &mut files)?;
        files.sort();
        for path in files {
            if !is_test(&path) {
                suite.fixtures.push(path);
                continue;
            }
            let test = Test::read(folder, path)?;
            if test.metadata.has_flag("module") {
                suite.fixtures.push(test.path.clone());
            }
            if filters.is_empty() || filters.iter().any(|filter| test.path.contains(filter)) {
                suite.tests.push(test);
            }
        }
        Ok(suite)
    }

    pub(crate) fn to_run(&self) -> usize {
        self.tests.iter().filter(|test| test.skipped.is_none()).count()
    }
}

impl Test {
    fn read(folder: &Path, path: String) -> Result<Self, Failed> {
        let source = fs::read(folder.join(&path))?;
        let text = String::from_utf8_lossy(&source);
        let metadata =
            Metadata::of(&text).ok_or_else(|| format!("{path} says nothing of itself"))?;
        let skipped = why_skipped(&path, &text, &metadata);
        Ok(Self { path, source, metadata, skipped })
    }

    /// How often, and how, the suite wants it run.
    pub(crate) fn modes(&self) -> &'static [Mode] {
        let has = |flag| self.metadata.has_flag(flag);
        if has("module") {
            &[Mode::Module]
        } else if has("raw") || has("noStrict") {
            &[Mode::Sloppy]
        } else if has("onlyStrict") {
            &[Mode::Strict]
        } else {
            &[Mode::Sloppy, Mode::Strict]
        }
    }
}

fn why_skipped(path: &str, text: &str, metadata: &Metadata) -> Option<&'static str> {
    let folder = FOLDERS_LEFT_OUT.iter().find(|(folder, _)| path.starts_with(folder));
    let feature = || FEATURES_LEFT_OUT.iter().find(|(feature, _)| metadata.has_feature(feature));
    let need = || NEEDS_LEFT_OUT.iter().find(|(need, _)| text.contains(need));
    folder.or_else(feature).or_else(need).map(|(_, reason)| *reason)
}

fn is_test(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "js")
        && !path.contains("_FIXTURE")
}

/// Adds every file beneath a folder of the suite.
fn walk(suite: &Path, folder: &str, files: &mut Vec<String>) -> Result<(), Failed> {
    for entry in fs::read_dir(suite.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a file's name is no UTF-8")?;
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            walk(suite, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
