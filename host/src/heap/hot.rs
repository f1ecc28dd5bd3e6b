//! The pages that every first execution of an image writes. A fresh memory is mapped copy-on-write, and
//! each of these would be a fault: they are a third of what a new session and a line cost.
//!
//! Invariant: pages are only ever made present, never changed; what an execution writes beyond them it
//! faults in, and what it does not write is found to be unchanged.

use super::kernel::populate;
use super::{FIRST_PAGE, PAGE};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// First executions that are looked at. A script may write more than others, or next to nothing: what
/// counts is what all of them wrote.
const SAMPLES: u32 = 8;
/// Pages that are made present at most.
const MAX_HOT: usize = 64;

/// What is known of an image.
#[derive(Debug, Default)]
pub(crate) struct HotPages(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    samples: u32,
    /// In order.
    pages: Vec<usize>,
}

impl HotPages {
    /// Learns from the pages that the first execution in a fresh memory wrote, in order.
    pub(crate) fn learn(&self, written: &[usize]) {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.samples >= SAMPLES {
            return;
        }
        if learned.samples == 0 {
            learned.pages = written.iter().copied().take(MAX_HOT).collect();
        } else {
            learned.pages.retain(|page| written.binary_search(page).is_ok());
        }
        learned.samples += 1;
    }

    /// Makes them present in a fresh memory, once they are known.
    pub(crate) fn populate(&self, memory: &[u8]) {
        for run in self.runs() {
            let bytes = run.start * PAGE..run.end * PAGE;
            if let Some(pages) = memory.get(bytes)
                && let Err(error) = populate(pages)
            {
                tracing::debug!(%error, "pages were not made present");
                return;
            }
        }
    }

    fn runs(&self) -> Vec<Range<usize>> {
        let learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.samples < SAMPLES {
            return Vec::new();
        }
        // The stack begins at the end of its pages, which are not looked at.
        let stack = FIRST_PAGE - 1;
        let mut runs: Vec<Range<usize>> = Vec::new();
        for page in std::iter::once(stack).chain(learned.pages.iter().copied()) {
            match runs.last_mut() {
                Some(run) if run.end == page => run.end += 1,
                Some(_) | None => runs.push(page..page + 1),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_of_the_first_ones_wrote_is_made_present() {
        let hot = HotPages::default();
        let pages = [FIRST_PAGE, FIRST_PAGE + 1, FIRST_PAGE + 7, FIRST_PAGE + 9];
        for _ in 1..SAMPLES {
            hot.learn(&pages);
            assert!(hot.runs().is_empty());
        }
        hot.learn(&[FIRST_PAGE, FIRST_PAGE + 7, FIRST_PAGE + 8]);
        let [stack, first, eighth] = [FIRST_PAGE - 1, FIRST_PAGE, FIRST_PAGE + 7];
        assert_eq!(hot.runs(), [stack..first + 1, eighth..eighth + 1]);
        // Enough is known.
        hot.learn(&[]);
        assert_eq!(hot.runs().len(), 2);
    }
}
