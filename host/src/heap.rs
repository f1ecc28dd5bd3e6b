//! The committed heap of a session: the pages of its memory that differ from the image it began
//! with, as they were when its last execution was committed.
//!
//! ```text
//!   instance's memory ──changes()──▶ Delta ──commit answered──▶ Heap::apply
//!          ▲                           │ refused, or never made
//!          └──── Runtime::restore ◀────┴──── Heap, as it was
//! ```
//!
//! Invariant: image and pages together are exactly the state of the last execution that was
//! committed, here and in the store. The dead stack is no part of it. Finding what an execution
//! changed is the [`tracker`]'s part; how the store is told, and what it says, are in `stored.rs`.

mod hot;
mod kept;
mod kernel;
mod stored;
mod tracker;

pub(crate) use hot::HotPages;
use kept::KeptPage;
pub(crate) use kernel::{PageWatch, thread_faults};
use stored::Stored;
pub(crate) use stored::Told;
pub use tracker::PageTracking;
pub(crate) use tracker::Tracker;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a page, as the kernel tracks them.
pub(crate) const PAGE: usize = vm_storage::HEAP_PAGE_BYTES;
/// Bytes of the guest's shadow stack, which lies at the bottom of its memory (`STACK_BYTES` in
/// guest/build.sh). Between two calls all of it is dead.
pub(crate) const STACK_BYTES: usize = 3 << 20;
/// The first page that is not the stack's.
pub(crate) const FIRST_PAGE: usize = STACK_BYTES / PAGE;

/// The bytes of one page.
pub(crate) type Page = [u8; PAGE];

static ZERO: Page = [0; PAGE];

/// What a session's memory holds beyond its image.
#[derive(Debug)]
pub(crate) struct Heap {
    image: Arc<[u8]>,
    /// By number.
    pages: BTreeMap<usize, KeptPage>,
    memory_bytes: usize,
    /// Whether an execution was ever committed.
    is_image: bool,
    /// What the store has of it.
    stored: Stored,
}

/// What an execution changed.
#[derive(Debug)]
pub(crate) struct Delta {
    /// The memory's size, which never shrinks.
    pub(crate) memory_bytes: usize,
    /// The pages it changed, in order.
    pub(crate) pages: Vec<(usize, Box<Page>)>,
}

impl Heap {
    /// The heap of a session in which nothing has run.
    pub(crate) fn new(image: Arc<[u8]>) -> Self {
        let memory_bytes = image.len();
        Self {
            image,
            pages: BTreeMap::new(),
            memory_bytes,
            is_image: true,
            stored: Stored::default(),
        }
    }

    /// Whether nothing was committed yet, so that a restored session is a new one.
    pub(crate) fn is_image(&self) -> bool {
        self.is_image
    }

    /// The size of the memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// One page, as it was committed.
    pub(crate) fn page(&self, number: usize) -> Cow<'_, [u8]> {
        let image = self.image_page(number);
        match self.pages.get(&number) {
            Some(page) => page.page(image),
            None => Cow::Borrowed(image),
        }
    }

    /// Whether a page is as it was committed.
    pub(crate) fn is_page(&self, number: usize, bytes: &[u8]) -> bool {
        let image = self.image_page(number);
        match self.pages.get(&number) {
            Some(page) => page.is(bytes, image),
            None => bytes == image,
        }
    }

    /// One page, as the image has it.
    fn image_page(&self, number: usize) -> &[u8] {
        self.image.get(number * PAGE..(number + 1) * PAGE).unwrap_or(&ZERO)
    }

    /// The pages that are not the image's, in order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (usize, Cow<'_, [u8]>)> {
        self.pages.iter().map(|(number, page)| (*number, page.page(self.image_page(*number))))
    }

    /// Makes an execution's changes part of the state. Once it is kept, they must be committed.
    pub(crate) fn apply(&mut self, delta: Delta) {
        self.is_image = false;
        self.memory_bytes = delta.memory_bytes;
        for (number, page) in delta.pages {
            let kept = KeptPage::of(page, self.image_page(number));
            self.pages.insert(number, kept);
        }
    }
}

impl Delta {
    /// The bytes of a page that it changed.
    fn page(&self, number: usize) -> Option<&Page> {
        let found = self.pages.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.pages[found].1)
    }
}

/// A page of memory, copied.
pub(crate) fn copied(page: &[u8]) -> Box<Page> {
    Box::<[u8]>::from(page).try_into().expect("checked by its caller: it is one page")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Box<Page> {
        copied(&[byte; PAGE])
    }

    #[test]
    fn a_page_is_the_last_one_committed_else_the_images_else_zero() {
        let mut heap = Heap::new([1; 2 * PAGE].into());
        assert!(heap.is_image());
        heap.apply(Delta { memory_bytes: 4 * PAGE, pages: vec![(1, page(7))] });
        heap.apply(Delta { memory_bytes: 4 * PAGE, pages: vec![(1, page(8)), (2, page(9))] });
        let bytes: Vec<_> = (0..5).map(|number| heap.page(number)[PAGE - 1]).collect();
        assert_eq!(bytes, [1, 8, 9, 0, 0]);
        let kept: Vec<_> = heap.pages().map(|(number, page)| (number, page[0])).collect();
        assert_eq!(kept, [(1, 8), (2, 9)]);
        assert_eq!((heap.memory_bytes(), heap.is_image()), (4 * PAGE, false));
    }
}
