//! What decodes a client's bytes, for the fuzz targets alone (feature `fuzzing`).

use crate::strict_json;
use crate::wire::{CreateSession, RunFile, UpdateTemplate};
use vm_host::limits::MAX;
use vm_storage::Settings;

/// Decodes any JSON object strictly.
pub fn object(text: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    strict_json::decode(text).ok()
}

/// Decodes bodies of three routes, and applies the one that changes settings.
///
/// # Panics
/// When settings that are refused are changed.
pub fn bodies(text: &[u8]) {
    drop(strict_json::decode::<RunFile>(text));
    drop(strict_json::decode::<CreateSession>(text));
    if let Ok(change) = strict_json::decode::<UpdateTemplate>(text) {
        let mut settings = Settings::default();
        let before = settings.clone();
        if change.settings.apply(&mut settings, &MAX).is_err() {
            assert_eq!(settings, before, "what is refused changes nothing");
        }
    }
}
