//! A session's heap, as it is kept: pages of a memory whose other pages are those of the image that
//! the session came from.
//!
//! ```text
//! state = image
//!       + base      whole pages, one row each, compressed; zero pages have no bytes
//!       + patches   what each later execution changed, in the row of that execution
//! ```
//!
//! A small change is a patch beside the execution that made it, so that committing it writes no
//! page of the file more than the execution does. A large one, or one that follows many patches, is
//! written as whole pages: it moves the base up to itself, and the patches before it go.
//!
//! Invariant: patches name the one they follow, the first of them the base, so that one that is
//! missing is noticed; every row carries a checksum. What the bytes of a page mean is the host's
//! to know. How rows are encoded is in `heap/codec.rs`.

pub(crate) mod codec;

/// Bytes of a page.
pub const HEAP_PAGE_BYTES: usize = 4096;

/// The bytes of one page.
pub type HeapPage = [u8; HEAP_PAGE_BYTES];

/// What a commit does to its session's heap.
#[derive(Clone, Debug, PartialEq)]
pub struct HeapCommit {
    /// The ordinal of the commit that last changed it; 0 when none did.
    pub follows: u64,
    /// The memory after it.
    pub memory: HeapMemory,
    /// Its pages.
    pub change: HeapChange,
}

/// What is kept of a memory beside its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapMemory {
    /// Its size, in bytes.
    pub bytes: u64,
    /// What the session's monotonic clock showed, in milliseconds.
    pub clock_ms: u64,
}

/// The pages that a commit changes.
#[derive(Clone, Debug, PartialEq)]
pub enum HeapChange {
    /// Bytes within pages; those before stay.
    Patch(HeapPatch),
    /// Whole pages, which stand for themselves and all patches before: every page that differs from
    /// the base is among them.
    Pages(Vec<(u32, PageWrite)>),
}

/// What becomes of one page of the base.
#[derive(Clone, Debug, PartialEq)]
pub enum PageWrite {
    /// It has these bytes, encoded by [`PageWrite::of`].
    Encoded(Vec<u8>),
    /// It is as the image has it.
    Image,
}

impl PageWrite {
    /// A page with these bytes, compressed if that saves anything.
    pub fn of(page: &HeapPage) -> Self {
        Self::Encoded(codec::encode_page(page))
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Encoded(row) => row.len(),
            Self::Image => 0,
        }
    }
}

/// Changed bytes of some pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeapPatch {
    pages: Vec<PagePatch>,
    bytes: usize,
}

/// Changed bytes of one page.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PagePatch {
    /// Its number.
    pub page: u32,
    /// Where bytes changed, in order, and what they are now.
    pub runs: Vec<PatchRun>,
}

/// Bytes in a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PatchRun {
    /// The place of the first, in the page.
    pub at: u16,
    /// What they are.
    #[serde(with = "codec::bytes")]
    pub bytes: Vec<u8>,
}

/// Bytes compared at one time.
const WORD: usize = 8;

impl HeapPatch {
    /// Adds what distinguishes `after` from `before`.
    #[expect(clippy::missing_panics_doc, reason = "the expectation cannot fail, as it says")]
    pub fn add(&mut self, page: u32, before: &[u8], after: &HeapPage) {
        let words = before.chunks(WORD).zip(after.chunks(WORD)).enumerate();
        let mut runs: Vec<PatchRun> = Vec::new();
        let mut end = usize::MAX;
        for (index, (_, now)) in words.filter(|(_, (before, now))| before != now) {
            let at = index * WORD;
            match runs.last_mut() {
                // A gap of one word costs less than another run.
                Some(run) if at <= end + WORD => {
                    run.bytes.extend_from_slice(&after[end..at + now.len()]);
                }
                Some(_) | None => runs.push(PatchRun {
                    at: u16::try_from(at).expect("checked by the type: a page has 4,096 bytes"),
                    bytes: now.to_vec(),
                }),
            }
            end = at + now.len();
        }
        if !runs.is_empty() {
            self.bytes += runs.iter().map(|run| run.bytes.len() + 4).sum::<usize>() + 4;
            self.pages.push(PagePatch { page, runs });
        }
    }

    /// The pages it changes.
    pub fn pages(&self) -> &[PagePatch] {
        &self.pages
    }

    /// About the bytes that it takes, before they are compressed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl From<Vec<PagePatch>> for HeapPatch {
    fn from(pages: Vec<PagePatch>) -> Self {
        let runs = pages.iter().flat_map(|page| &page.runs);
        let bytes = runs.map(|run| run.bytes.len() + 4).sum::<usize>() + 4 * pages.len();
        Self { pages, bytes }
    }
}

impl PagePatch {
    /// Writes the changed bytes into the page they are of.
    pub fn apply(&self, page: &mut HeapPage) {
        for run in &self.runs {
            let at = usize::from(run.at);
            page[at..at + run.bytes.len()].copy_from_slice(&run.bytes);
        }
    }
}

/// A heap as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredHeap {
    /// The ordinal of the commit that last changed it.
    pub at: u64,
    /// Its memory.
    pub memory: HeapMemory,
    /// The pages of the base, by number.
    pub base: Vec<(u32, Box<HeapPage>)>,
    /// The patches since, in order.
    pub patches: Vec<HeapPatch>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(before: &HeapPage, after: &HeapPage) -> (usize, HeapPage) {
        let mut patch = HeapPatch::default();
        patch.add(7, before, after);
        let mut page = *before;
        patch.pages().iter().for_each(|patch| patch.apply(&mut page));
        (patch.pages().first().map_or(0, |page| page.runs.len()), page)
    }

    #[test]
    fn a_patch_makes_the_new_page_of_the_old_one() {
        let before: HeapPage = std::array::from_fn(|at| u8::try_from(at % 251).unwrap());
        let mut after = before;
        assert_eq!(patched(&before, &after), (0, after));
        after[0] = 255;
        after[17] = 255; // Within a word of the last change: one run.
        after[100] = 255;
        after[HEAP_PAGE_BYTES - 1] = 255;
        assert_eq!(patched(&before, &after), (3, after));
        assert_eq!(patched(&before, &[0; HEAP_PAGE_BYTES]), (1, [0; HEAP_PAGE_BYTES]));
        assert_eq!(patched(&[0; HEAP_PAGE_BYTES], &before).1, before);
    }
}
