//! Images of templates: the memory that a startup left, as a module that defines it.
//!
//! Invariant: an image is the heap of a session whose startup had come to its end and was committed,
//! its dead stack cleared, byte for byte.

use super::manifest::{ArtifactForm, Manifest, Recorded};
use super::{ArtifactSource, Key, Scripts, hex};
use crate::engine::{Guest, Linking, MAX_IMAGE_BYTES, encode_image};
use crate::error::HostError;
use crate::heap::{FIRST_PAGE, Heap, PAGE};
use crate::imports::Asked;
use std::sync::Arc;
use vm_storage::{Event, Execution};

/// Bytes of the events that a startup may leave to become an image: each session has them again.
const MAX_EVENT_BYTES: u64 = 128 << 10;

/// Pages copied before the worker is given back: a fraction of a millisecond.
const PAGES_PER_SLICE: usize = 256;

/// An image, ready for sessions.
pub(crate) struct Image {
    pub(crate) guest: Arc<Guest>,
    hash: String,
    manifest: Manifest,
}

/// What ran, of which an image is made.
pub(crate) struct Ran<'a> {
    pub(crate) scripts: &'a Scripts,
    /// What it was answered.
    pub(crate) asked: Vec<Asked>,
    /// The executions of its startup files, with their events.
    pub(crate) startup: &'a [(Execution, Vec<Event>)],
}

/// An image that is to be encoded.
pub(super) struct Draft {
    memory: Vec<u8>,
    manifest: Manifest,
}

impl Image {
    /// The image of a module that [`Draft::encode`] made.
    ///
    /// # Errors
    /// When it is none of this guest's.
    pub(super) fn of(
        linking: &Linking,
        guest: &Guest,
        module: &[u8],
        hash: String,
    ) -> Result<Self, HostError> {
        let manifest = Manifest::of(module)
            .filter(|manifest| manifest.form == ArtifactForm::Image)
            .filter(|manifest| manifest.guest == guest.binding.guest)
            .ok_or_else(|| HostError::Engine("an image says nothing of itself".to_owned()))?;
        let guest = Arc::new(guest.with_image(linking, module, hash.clone())?);
        Ok(Self { guest, hash, manifest })
    }

    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// What it has to be answered the same.
    pub(super) fn asked(&self) -> &[Asked] {
        &self.manifest.asked
    }

    /// The executions that a session which begins with it has had.
    pub(crate) fn startup(&self) -> &[Recorded] {
        &self.manifest.startup
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> u32 {
        // The bytes themselves, and the file that sessions map.
        u32::try_from(2 * self.guest.image.len()).unwrap_or(u32::MAX)
    }
}

impl Draft {
    /// What is to be an image of a heap; none if it is too large for one. The worker is given back now
    /// and then.
    pub(super) async fn of(key: &Key, heap: &Heap, guest: &Guest, ran: Ran<'_>) -> Option<Self> {
        let event_bytes: u64 = ran.startup.iter().map(|(run, _)| run.metrics.output_bytes).sum();
        if heap.memory_bytes() > MAX_IMAGE_BYTES || event_bytes > MAX_EVENT_BYTES {
            return None;
        }
        let mut memory = vec![0; heap.memory_bytes()];
        for (number, page) in memory.chunks_mut(PAGE).enumerate().skip(FIRST_PAGE) {
            page.copy_from_slice(&heap.page(number));
            if number % PAGES_PER_SLICE == 0 {
                tokio::task::yield_now().await;
            }
        }
        let sources: Vec<ArtifactSource> = ran.scripts.sources();
        let (form, guest) = (ArtifactForm::Image, guest.binding.guest.clone());
        let startup = ran.startup.iter().map(recorded).collect();
        Some(Self {
            memory,
            manifest: Manifest { form, key: hex(key), guest, sources, asked: ran.asked, startup },
        })
    }

    /// The module; none when too much is to be said of it.
    pub(super) fn encode(self) -> Option<Vec<u8>> {
        self.manifest.put_into(&encode_image(&self.memory))
    }
}

fn recorded((execution, events): &(Execution, Vec<Event>)) -> Recorded {
    Recorded {
        path: execution.path.clone().unwrap_or_default(),
        events: events.iter().map(|event| event.payload.clone()).collect(),
        fuel_used: execution.metrics.fuel_used,
        peak_memory_bytes: execution.metrics.peak_memory_bytes,
        output_bytes: execution.metrics.output_bytes,
    }
}
