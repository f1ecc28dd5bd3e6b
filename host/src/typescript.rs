//! TypeScript: a source without its types, in which every line and column is what it was.
//!
//! A parser recurses as deep as its source says, and no parser is without faults, so it runs where
//! scripts do: in an instance of WebAssembly that imports nothing, one for each source, with a memory, a
//! stack and fuel of its own. What that costs is bounded by the source's size; few run at a time.
//!
//! ```text
//!   source ──kept? by hash──▶ stripped, or why not
//!      └──▶ a turn ──▶ a blocking thread ──▶ an instance ──┬─ an answer ─────▶ kept
//!                                                          └─ a trap: why not ─▶ kept
//! ```
//!
//! Invariant: the same source gives the same text or the same refusal, whoever asks; and what a source
//! does to its parser is a refusal of that source and nothing else.

mod machine;

use crate::error::HostError;
use crate::startup::blocking;
use machine::Machine;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use vm_storage::EventPayload;

/// Bytes of a source. The largest that people write, bundles apart, have some three million; the parser
/// takes 40 times its source.
const MAX_SOURCE_BYTES: usize = 4 << 20;
/// Bytes of texts that are kept.
const MAX_KEPT_BYTES: u64 = 64 << 20;
/// Extensions of files that are TypeScript.
const EXTENSIONS: [&str; 3] = ["ts", "mts", "cts"];

/// What strips types. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TypeScript(Arc<Inner>);

struct Inner {
    kept: Cache<[u8; 32], Stripped>,
    /// Sources that are parsed at a time.
    turns: Arc<Semaphore>,
    cache_dir: Option<PathBuf>,
    /// Made when the first source needs it.
    machine: OnceLock<Result<Machine, String>>,
}

/// A source without its types, or why there is none.
pub(crate) type Stripped = Result<Arc<[u8]>, NotTypeScript>;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file's.
    File,
    /// A line of a REPL: what is an object literal alone is one.
    Line,
}

/// A source that is not stripped, as scripts are told of it: a `SyntaxError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotTypeScript {
    message: String,
    /// Line and column, from 1, where there is one.
    position: Option<(u32, u32)>,
}

/// Whether a file is TypeScript, by its name.
pub(crate) fn is_typescript(path: &str) -> bool {
    let extension = Path::new(path).extension();
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

impl TypeScript {
    /// Compiled code is kept in `cache_dir`, if there is one.
    pub(crate) fn new(cache_dir: Option<PathBuf>) -> Self {
        let weigher = |_: &[u8; 32], stripped: &Stripped| {
            let bytes = stripped.as_ref().map_or_else(|no| no.message.len(), |text| text.len());
            u32::try_from(bytes + 128).unwrap_or(u32::MAX)
        };
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            kept: Cache::builder().max_capacity(MAX_KEPT_BYTES).weigher(weigher).build(),
            turns: Arc::new(Semaphore::new(turns)),
            cache_dir,
            machine: OnceLock::new(),
        }))
    }

    /// A source without its types. Who waits for it may stop waiting.
    ///
    /// # Errors
    /// [`HostError::Engine`] when this machine cannot strip any.
    pub(crate) async fn strip(&self, source: Vec<u8>, kind: Kind) -> Result<Stripped, HostError> {
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("TypeScript of more than {} MiB", MAX_SOURCE_BYTES >> 20);
            return Ok(Err(NotTypeScript { message, position: None }));
        }
        let source = match String::from_utf8(source) {
            Ok(source) => source,
            Err(error) => return Ok(Err(NotTypeScript::not_utf8(&error))),
        };
        let mut key = Sha256::new_with_prefix([kind as u8]);
        key.update(&source);
        let strip = async {
            let turn = Arc::clone(&self.0.turns).acquire_owned().await;
            let turn = turn.expect("the semaphore is never closed");
            let inner = Arc::clone(&self.0);
            // It ends soon by itself, and holds its turn until it has.
            blocking(move || {
                let stripped = inner.strip(&source, kind);
                drop(turn);
                stripped
            })
            .await?
        };
        let stripped = self.0.kept.try_get_with(key.finalize().into(), strip).await;
        stripped.map_err(|error: Arc<HostError>| HostError::Engine(error.to_string()))
    }
}

impl std::fmt::Debug for TypeScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypeScript").finish_non_exhaustive()
    }
}

impl Inner {
    fn strip(&self, source: &str, kind: Kind) -> Result<Stripped, HostError> {
        let made = self.machine.get_or_init(|| {
            Machine::new(self.cache_dir.clone()).map_err(|error| error.to_string())
        });
        let machine = made.as_ref().map_err(|error| HostError::Engine(error.clone()))?;
        machine.strip(source, kind)
    }
}

impl NotTypeScript {
    fn not_utf8(error: &std::string::FromUtf8Error) -> Self {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let lines = valid.split(|byte| *byte == b'\n');
        let last = lines.clone().next_back().unwrap_or_default();
        let column = String::from_utf8_lossy(last).encode_utf16().count() + 1;
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let position = Some((number(lines.count()), number(column)));
        Self { message: "the source is not UTF-8".to_owned(), position }
    }

    /// The frame that names it in a stack, of a file of this name.
    fn frame(&self, name: &str) -> String {
        match self.position {
            Some((line, column)) => format!("    at {name}:{line}:{column}"),
            None => format!("    at {name}"),
        }
    }

    /// The event of a script of this name that could not begin.
    pub(crate) fn exception(&self, name: &str) -> EventPayload {
        let message = format!("SyntaxError: {self}");
        let stack = Some(format!("{message}\n{}", self.frame(name)));
        EventPayload::Exception { message, stack }
    }

    /// What the guest is answered that asked for a source of this name: a code, a sentence, and the
    /// first frame of a stack, a line each.
    pub(crate) fn answer(&self, name: &str) -> String {
        format!("{}\n{self}\n{}", vm_guest::abi::SYNTAX_ERROR, self.frame(name))
    }
}
