//! The scripts of a template, and the keys that their modules are kept under.
//!
//! Invariant: scripts, tenants, guests, realms or limits that differ have other keys.

use super::manifest::{ArtifactSource, SourceKind};
use super::replayed::Part;
use super::{Key, hex};
use crate::engine::Engine;
use sha2::{Digest, Sha256};
use vm_storage::{Limits, TenantId};

/// The scripts of a template, read, and what a realm is told of them.
#[derive(Clone, Debug)]
pub(crate) struct Scripts {
    /// Whose they are: what is made of them is never served to another.
    pub(crate) tenant: TenantId,
    /// Libraries, then startup files.
    pub(crate) parts: Vec<Part>,
    pub(crate) libraries: usize,
}

impl Scripts {
    /// What each part is, in order.
    pub(super) fn sources(&self) -> Vec<ArtifactSource> {
        let source = |(index, part): (usize, &Part)| ArtifactSource {
            name: part.name.clone(),
            kind: if index < self.libraries {
                SourceKind::Library
            } else {
                SourceKind::StartupFile
            },
            bytes: part.source.bytes,
            sha256: hex(&part.source.sha256),
        };
        self.parts.iter().enumerate().map(source).collect()
    }

    /// What the replayed module is kept under.
    pub(super) fn key(&self, guest: &str) -> Key {
        let mut hash = Sha256::new();
        hash.update(b"template module, replayed, 5\0");
        hash.update(self.tenant.as_uuid());
        hash.update(guest);
        hash.update((self.libraries as u64).to_le_bytes());
        for part in &self.parts {
            hash.update((part.name.len() as u64).to_le_bytes());
            hash.update(&part.name);
            hash.update(part.source.compiled_sha256);
            hash.update(part.flags.to_le_bytes());
        }
        hash.finalize().into()
    }

    /// What their image is kept under: it depends on the realm and on every limit besides, so that a
    /// startup which passes a limit of one template is not skipped in another.
    pub(crate) fn image_key(&self, engine: &Engine, realm_flags: u32, limits: &Limits) -> Key {
        let Limits { cpu_ms, wall_ms, mem_mb, max_events, max_output_kb } = limits;
        let mut hash = Sha256::new();
        hash.update(b"template module, image, 1\0");
        hash.update(self.key(&engine.guest.binding.guest));
        hash.update(&engine.guest.binding.image);
        hash.update(engine.guest.binding.imports.to_le_bytes());
        hash.update(vm_guest::METER_VERSION.to_le_bytes());
        hash.update(realm_flags.to_le_bytes());
        for limit in [cpu_ms, wall_ms, mem_mb, max_events, max_output_kb] {
            hash.update(limit.to_le_bytes());
        }
        hash.finalize().into()
    }
}
