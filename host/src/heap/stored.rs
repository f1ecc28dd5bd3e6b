//! The heap as the store has it: what a commit tells it, and what it is made of again.
//!
//! A small change is a patch. One that touches many pages, or comes after many patches, is told as
//! whole pages: all that were patched since the last time, and its own.
//!
//! Invariant: pages that are the image's are not stored, nor is the dead stack.

use super::{Delta, FIRST_PAGE, Heap, PAGE, copied};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use vm_storage::{HeapChange, HeapCommit, HeapMemory, HeapPage, HeapPatch, PageWrite, StoredHeap};

/// Pages of a patch at most.
const MAX_PATCHED_PAGES: usize = 64;
/// Bytes of a patch at most: above, compressed pages are no larger.
const MAX_PATCH_BYTES: usize = 32 << 10;
/// Patches before whole pages are written: what a restore reads, and rarer than one commit in a
/// hundred, which those that write pages take longer than.
const MAX_PATCHES: usize = 128;
/// Bytes of patches before whole pages are written.
const MAX_PATCHES_BYTES: usize = 256 << 10;
/// Pages compressed before the worker is given back: a fraction of a millisecond.
const PAGES_PER_SLICE: usize = 64;
/// Bytes by which a memory grows.
const WASM_PAGE: usize = 64 << 10;

/// What the store has of a heap.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The ordinal of the commit that last changed it.
    at: u64,
    patches: usize,
    patches_bytes: usize,
    /// Pages that were patched since whole ones were written.
    patched: BTreeSet<usize>,
}

/// How a change was told to the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Patch { bytes: usize },
    Pages,
}

/// Why a stored heap is none of the session's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAHeap {
    #[error("its memory has {0} bytes")]
    Memory(u64),
    #[error("it has a page {0}")]
    Page(u32),
}

impl Heap {
    /// What the store is to be told of a change; none when there is none.
    pub(crate) async fn commit(&self, delta: &Delta, clock_ms: u64) -> Option<(HeapCommit, Told)> {
        if delta.pages.is_empty() && delta.memory_bytes == self.memory_bytes {
            return None;
        }
        let memory = HeapMemory { bytes: delta.memory_bytes as u64, clock_ms };
        let follows = self.stored.at;
        if let Some(patch) = self.patch(delta) {
            let told = Told::Patch { bytes: patch.bytes() };
            return Some((HeapCommit { follows, memory, change: HeapChange::Patch(patch) }, told));
        }
        let change = HeapChange::Pages(self.whole_pages(delta).await);
        Some((HeapCommit { follows, memory, change }, Told::Pages))
    }

    /// All the pages that are not the image's, for a heap of which nothing is stored.
    pub(crate) async fn whole(&self) -> Vec<(u32, PageWrite)> {
        let nothing = Delta { memory_bytes: self.memory_bytes, pages: Vec::new() };
        let numbers = self.pages().map(|(number, _)| number).collect();
        self.writes(&nothing, numbers).await
    }

    /// Says that a change, which is part of the heap now, was committed.
    pub(crate) fn committed(&mut self, ordinal: u64, told: Told, pages: &[usize]) {
        let stored = &mut self.stored;
        stored.at = ordinal;
        match told {
            Told::Patch { bytes } => {
                stored.patches += 1;
                stored.patches_bytes += bytes;
                stored.patched.extend(pages);
            }
            Told::Pages => *stored = Stored { at: ordinal, ..Stored::default() },
        }
    }

    /// The heap that the store has, of a session whose memory may have so many bytes.
    pub(crate) fn load(
        image: &Arc<[u8]>,
        stored: StoredHeap,
        max_bytes: u64,
    ) -> Result<Self, NotAHeap> {
        let StoredHeap { at, memory, base, patches } = stored;
        let wrong = NotAHeap::Memory(memory.bytes);
        let Ok(memory_bytes) = usize::try_from(memory.bytes) else { return Err(wrong) };
        let is_whole = memory_bytes.is_multiple_of(WASM_PAGE) && memory_bytes >= image.len();
        if !is_whole || memory.bytes > max_bytes {
            return Err(wrong);
        }
        let number = |page: u32| match page as usize {
            number if (FIRST_PAGE..memory_bytes / PAGE).contains(&number) => Ok(number),
            _ => Err(NotAHeap::Page(page)),
        };
        let mut heap = Self::new(Arc::clone(image));
        let mut pages = Vec::with_capacity(base.len());
        for (page, bytes) in base {
            pages.push((number(page)?, bytes));
        }
        heap.apply(Delta { memory_bytes, pages });
        heap.stored.at = at;
        for patch in patches {
            heap.stored.patches += 1;
            heap.stored.patches_bytes += patch.bytes();
            for patched in patch.pages() {
                let number = number(patched.page)?;
                let mut page = copied(&heap.page(number));
                patched.apply(&mut page);
                heap.apply(Delta { memory_bytes, pages: vec![(number, page)] });
                heap.stored.patched.insert(number);
            }
        }
        Ok(heap)
    }

    /// The change as a patch, unless whole pages are better.
    fn patch(&self, delta: &Delta) -> Option<HeapPatch> {
        let few = delta.pages.len() <= MAX_PATCHED_PAGES && self.stored.patches < MAX_PATCHES;
        if !few {
            return None;
        }
        let mut patch = HeapPatch::default();
        for (number, page) in &delta.pages {
            let before = self.page(*number);
            let before: &HeapPage = (&*before).try_into().expect("checked by its source: a page");
            patch.add(number32(*number), before, page);
        }
        let bytes = patch.bytes();
        let small = bytes <= MAX_PATCH_BYTES;
        (small && self.stored.patches_bytes + bytes <= MAX_PATCHES_BYTES).then_some(patch)
    }

    async fn whole_pages(&self, delta: &Delta) -> Vec<(u32, PageWrite)> {
        let mut numbers = self.stored.patched.clone();
        numbers.extend(delta.pages.iter().map(|(number, _)| *number));
        self.writes(delta, numbers).await
    }

    async fn writes(&self, delta: &Delta, numbers: BTreeSet<usize>) -> Vec<(u32, PageWrite)> {
        let mut writes = Vec::with_capacity(numbers.len());
        for (written, number) in numbers.into_iter().enumerate() {
            let changed = delta.page(number).map(|page| Cow::Borrowed(&page[..]));
            let page = changed.unwrap_or_else(|| self.page(number));
            let write = if *page == *self.image_page(number) {
                PageWrite::Image
            } else {
                let page: &HeapPage = (&*page).try_into().expect("checked by its source: a page");
                PageWrite::of(page)
            };
            writes.push((number32(number), write));
            if written % PAGES_PER_SLICE == PAGES_PER_SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        writes
    }
}

fn number32(number: usize) -> u32 {
    u32::try_from(number).expect("checked by the engine: a memory has at most 4 GiB")
}
