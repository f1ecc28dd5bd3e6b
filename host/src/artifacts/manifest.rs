//! What a template module says of itself: a custom section, the first of the module, which the
//! engine does not look at.
//!
//! Invariant: a manifest tells what its module was made of, and nothing in it changes what the module
//! does. It is read from a file whose hash was checked, or to be shown.

use crate::imports::Asked;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use vm_storage::{
    Event, EventPayload, Execution, ExecutionId, ExecutionKind, ExecutionStatus, HostCalls,
    Metrics, Session, now,
};
use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Parser, Payload};

/// Name of the section.
const SECTION: &str = "vm-system";

/// Bytes of a module's header, before its first section.
const HEADER_BYTES: usize = 8;

/// Bytes of a manifest: what is read of a file to show it.
pub(super) const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The form of a template module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactForm {
    /// The heap that startup left.
    Image,
    /// Bytecode that runs in each session.
    Replayed,
}

impl ArtifactForm {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Replayed => "replayed",
        }
    }
}

/// A script that a template module was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactSource {
    /// What stacks call it: a path of the worktree, or a library's name and `.js`.
    pub name: String,
    /// Where it is from.
    pub kind: SourceKind,
    /// Bytes of its source.
    pub bytes: u64,
    /// The SHA-256 of its source, in hexadecimal.
    pub sha256: String,
}

/// Where a script of a template is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// The folder of libraries.
    Library,
    /// The session's worktree.
    StartupFile,
}

/// What a template module says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) form: ArtifactForm,
    /// What it is kept under, in hexadecimal, so that modules kept under two keys have two hashes.
    pub(super) key: String,
    /// The SHA-256 of the guest that it was made in.
    pub(super) guest: String,
    pub(super) sources: Vec<ArtifactSource>,
    #[serde(default)]
    pub(super) asked: Vec<Asked>,
    /// What the executions of startup files left; of an image alone.
    #[serde(default)]
    pub(super) startup: Vec<Recorded>,
}

/// An execution of a startup file, as another session that runs the file would have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    pub(crate) events: Vec<EventPayload>,
    pub(crate) fuel_used: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) output_bytes: u64,
}

impl Recorded {
    /// The execution as a session's own, with its events.
    pub(crate) fn replayed(&self, session: &Session) -> (Execution, Vec<Event>) {
        let (id, at) = (ExecutionId::new(), now());
        let numbered = (1..).zip(&self.events);
        let event = |(seq, payload): (u64, &EventPayload)| Event {
            execution_id: id,
            seq,
            ts: at,
            payload: payload.clone(),
        };
        let events: Vec<_> = numbered.map(event).collect();
        let execution = Execution {
            id,
            tenant_id: session.tenant_id,
            session_id: session.id,
            kind: ExecutionKind::Startup,
            input: None,
            path: Some(self.path.clone()),
            args: serde_json::Map::new(),
            env: BTreeMap::new(),
            status: ExecutionStatus::Ok,
            started_at: at,
            ended_at: Some(at),
            result: None,
            error: None,
            metrics: Metrics {
                // It took no time here; what it used is what it would use.
                wall_ms: 0,
                fuel_used: self.fuel_used,
                peak_memory_bytes: self.peak_memory_bytes,
                events: events.len() as u64,
                output_bytes: self.output_bytes,
                host: HostCalls::default(),
            },
        };
        (execution, events)
    }
}

impl Manifest {
    /// The module with the manifest in it; none when that would be too large.
    pub(super) fn put_into(&self, module: &[u8]) -> Option<Vec<u8>> {
        let json = serde_json::to_vec(self).ok()?;
        if json.len() + SECTION.len() > MAX_MANIFEST_BYTES / 2 {
            return None;
        }
        let section = CustomSection { name: SECTION.into(), data: Cow::Owned(json) };
        let (header, rest) = module.split_at_checked(HEADER_BYTES)?;
        let mut with = header.to_vec();
        with.push(section.id());
        section.encode(&mut with);
        with.extend_from_slice(rest);
        Some(with)
    }

    /// The manifest of a module of which the start may be enough.
    pub(super) fn of(module: &[u8]) -> Option<Self> {
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::Version { .. } => {}
                Payload::CustomSection(section) if section.name() == SECTION => {
                    return serde_json::from_slice(section.data()).ok();
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_found_in_the_module_it_was_put_into_and_in_its_start() {
        let manifest = Manifest {
            form: ArtifactForm::Image,
            key: "k".to_owned(),
            guest: "g".to_owned(),
            sources: vec![ArtifactSource {
                name: "a.js".to_owned(),
                kind: SourceKind::StartupFile,
                bytes: 3,
                sha256: "s".to_owned(),
            }],
            asked: Vec::new(),
            startup: Vec::new(),
        };
        let empty = b"\0asm\x01\0\0\0";
        assert_eq!(Manifest::of(empty), None);
        let module = manifest.put_into(&crate::engine::encode_image(&vec![0; 64 << 10])).unwrap();
        assert_eq!(Manifest::of(&module), Some(manifest.clone()));
        let alone = manifest.put_into(empty).unwrap().len();
        assert_eq!(Manifest::of(&module[..alone]), Some(manifest));
        for cut in 0..alone - 1 {
            assert_eq!(Manifest::of(&module[..cut]), None);
        }
    }
}
