//! Finds the pages that an execution changed.
//!
//! With the kernel's help ([`PageWatch`]) an execution costs what it writes: every page is
//! write-protected but those that execution after execution writes, and an execution in which the
//! thread had no page fault can only have written those. Without it, all of the memory is compared
//! with what was committed. Either way a page is part of the change only if its bytes differ.
//!
//! Invariant, with the kernel's help: between two executions every page whose bytes could be
//! changed without a fault is in [`Watched::writable`].

use super::kernel::PageWatch;
use super::{Delta, FIRST_PAGE, Heap, PAGE, copied};
use std::ops::Range;
use std::sync::Arc;

/// Pages compared and copied before the worker is given back: a fraction of a millisecond.
const PAGES_PER_SLICE: usize = 256;
/// Pages that are left writable: those that every small execution writes are some ten.
const MAX_WRITABLE: usize = 64;
/// Executions in a row that leave a writable page as it was before it is protected again. Many
/// pages are written and hold the same bytes afterwards, and comparing one is cheap.
const MAX_IDLE: u8 = 200;
/// Pages in a row from which it pays to ask which of them have bytes of their own.
const MANY_PAGES: usize = 16;
/// Runs of pages that are protected one by one; more of them are left to one call over all.
const MAX_RUNS: usize = 64;

/// How changed pages are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageTracking {
    /// By the kernel, which notes the pages that are written.
    Kernel,
    /// By comparing all of a session's memory, at some 0.1 milliseconds a MiB.
    Comparison,
}

/// Finds the changed pages of one memory.
pub(crate) enum Tracker {
    Kernel(Watched),
    Comparison,
}

/// A memory that the kernel watches.
pub(crate) struct Watched {
    watch: Arc<PageWatch>,
    /// Address of the memory's first byte.
    base: usize,
    /// Pages left writable, in order, each with the executions that left it as it was.
    writable: Vec<(usize, u8)>,
    /// Pages that were written before the last look at them, in order, if they were few.
    last: Vec<usize>,
    /// Whether pages beyond `writable` may have been written.
    faulted: bool,
}

impl Tracker {
    /// Begins to track a fresh memory that may grow to `max_bytes`.
    pub(crate) fn new(watch: Option<&Arc<PageWatch>>, base: *const u8, max_bytes: usize) -> Self {
        let Some(watch) = watch else { return Self::Comparison };
        let base = base as usize;
        let range = base + FIRST_PAGE * PAGE..base + max_bytes.next_multiple_of(PAGE);
        match watch.register(range) {
            Ok(()) => Self::Kernel(Watched {
                watch: Arc::clone(watch),
                base,
                writable: Vec::new(),
                last: Vec::new(),
                faulted: true,
            }),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not watch a session's memory");
                Self::Comparison
            }
        }
    }

    /// Says that an execution's thread had page faults.
    pub(crate) fn note_faults(&mut self) {
        match self {
            Self::Kernel(watched) => watched.faulted = true,
            Self::Comparison => {}
        }
    }

    /// Takes all of the memory for what is committed: it was just restored.
    pub(crate) fn settle(&mut self, memory_bytes: usize) {
        match self {
            Self::Kernel(watched) => watched.protect_all(memory_bytes),
            Self::Comparison => {}
        }
    }

    /// The pages that were written before the last look at them, in order; none if they were many.
    pub(crate) fn last(&self) -> &[usize] {
        match self {
            Self::Kernel(watched) => &watched.last,
            Self::Comparison => &[],
        }
    }

    /// Compares and copies what may have changed since the last call. The worker is given back
    /// now and then; the memory stands still all the while.
    pub(crate) async fn changes(&mut self, heap: &Heap, memory: &[u8]) -> Delta {
        let memory_bytes = memory.len();
        let written = match self {
            Self::Kernel(watched) => watched.written(memory_bytes),
            Self::Comparison => all_pages(memory_bytes),
        };
        let candidates = match self {
            Self::Kernel(watched) => watched.filled(&written),
            Self::Comparison => written.clone(),
        };
        let mut pages = Vec::new();
        let mut seen = 0;
        for number in candidates.iter().cloned().flatten() {
            let bytes = &memory[number * PAGE..(number + 1) * PAGE];
            if !heap.is_page(number, bytes) {
                pages.push((number, copied(bytes)));
            }
            seen += 1;
            if seen % PAGES_PER_SLICE == 0 {
                tokio::task::yield_now().await;
            }
        }
        if let Self::Kernel(watched) = self {
            watched.protect(&written, &candidates, &pages, memory_bytes);
        }
        Delta { memory_bytes, pages }
    }
}

/// Every page but the stack's, as one range.
fn all_pages(memory_bytes: usize) -> Vec<Range<usize>> {
    std::iter::once(FIRST_PAGE..memory_bytes / PAGE).collect()
}

impl Watched {
    fn range(&self, memory_bytes: usize) -> Range<usize> {
        self.base + FIRST_PAGE * PAGE..self.base + memory_bytes
    }

    /// The pages that may have changed, and those that were never touched.
    fn written(&self, memory_bytes: usize) -> Vec<Range<usize>> {
        if !self.faulted {
            return self.writable.iter().map(|(number, _)| *number..number + 1).collect();
        }
        match self.watch.written(self.range(memory_bytes)) {
            Ok(written) => written.iter().map(|range| self.numbers(range)).collect(),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not say what was written");
                all_pages(memory_bytes)
            }
        }
    }

    /// The pages among them that may differ from what was committed.
    fn filled(&self, written: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut filled = Vec::with_capacity(written.len());
        for range in written {
            if range.len() < MANY_PAGES {
                filled.push(range.clone());
                continue;
            }
            match self.watch.filled(self.addresses(range)) {
                Ok(found) => filled.extend(found.iter().map(|range| self.numbers(range))),
                Err(_) => filled.push(range.clone()),
            }
        }
        filled
    }

    fn addresses(&self, pages: &Range<usize>) -> Range<usize> {
        self.base + pages.start * PAGE..self.base + pages.end * PAGE
    }

    fn numbers(&self, range: &Range<usize>) -> Range<usize> {
        (range.start - self.base) / PAGE..(range.end - self.base) / PAGE
    }

    /// Chooses the pages that stay writable, and protects all others: those that are among the
    /// writable ones, and those written twice in a row.
    fn protect(
        &mut self,
        written: &[Range<usize>],
        candidates: &[Range<usize>],
        changed: &[(usize, Box<super::Page>)],
        memory_bytes: usize,
    ) {
        let is_changed = |number: usize| changed.binary_search_by_key(&number, |c| c.0).is_ok();
        let mut writable = Vec::with_capacity(self.writable.len());
        for (number, idle) in &self.writable {
            let idle = if is_changed(*number) { 0 } else { idle + 1 };
            if idle < MAX_IDLE {
                writable.push((*number, idle));
            }
        }
        if self.faulted {
            let few = candidates.iter().map(Range::len).sum::<usize>() <= MAX_WRITABLE;
            let now: Vec<_> =
                if few { candidates.iter().cloned().flatten().collect() } else { Vec::new() };
            let known = |number: &usize| self.writable.iter().any(|(known, _)| known == number);
            let again = now.iter().filter(|number| self.last.binary_search(number).is_ok());
            writable.extend(again.filter(|number| !known(number)).map(|number| (*number, 0)));
            writable.sort_unstable_by_key(|(_, idle)| *idle);
            writable.truncate(MAX_WRITABLE);
            writable.sort_unstable();
            self.last = now;
        }
        self.writable = writable;
        let runs = self.without_writable(written);
        let protected = if runs.len() > MAX_RUNS {
            self.writable.clear();
            self.watch.protect_written(self.range(memory_bytes))
        } else {
            runs.iter().try_for_each(|run| self.watch.protect(self.addresses(run)))
        };
        self.conclude(protected);
    }

    fn protect_all(&mut self, memory_bytes: usize) {
        self.writable.clear();
        self.last.clear();
        let protected = self.watch.protect_written(self.range(memory_bytes));
        self.conclude(protected);
    }

    fn conclude(&mut self, protected: std::io::Result<()>) {
        self.faulted = false;
        if let Err(error) = protected {
            // What stayed writable may change without a fault: the next execution looks everywhere.
            tracing::warn!(%error, "the kernel does not protect a session's memory");
            self.faulted = true;
        }
    }

    /// The candidates without the pages that stay writable, in runs.
    fn without_writable(&self, candidates: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut keep = self.writable.iter().map(|(number, _)| *number).peekable();
        for range in candidates {
            let mut start = range.start;
            while let Some(number) = keep.next_if(|number| *number < range.end) {
                if number < start {
                    continue;
                }
                if start < number {
                    runs.push(start..number);
                }
                start = number + 1;
            }
            if start < range.end {
                runs.push(start..range.end);
            }
        }
        runs
    }
}
