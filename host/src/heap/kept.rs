//! A page of a committed heap, as it is kept in memory: where it differs from the image's page, if that
//! is little, and all of it otherwise. A small execution changes a few words in each of ten pages.
//!
//! Invariant: with the image's page that it was made with, a page that is kept is exactly the one that
//! was given.

use super::{PAGE, Page};
use std::borrow::Cow;

/// Bytes that are compared at a time.
const WORD: usize = 8;
/// Bytes of differences from which the page itself is kept.
const MAX_BYTES: usize = PAGE / 2;
/// Bytes in front of the words of a run: the first of them in the page, and how many.
const RUN_HEADER: usize = 4;

/// A page, in memory.
#[derive(Debug)]
pub(super) enum KeptPage {
    Whole(Box<Page>),
    /// Runs of words, each with [`RUN_HEADER`] in front.
    Differing(Box<[u8]>),
}

impl KeptPage {
    /// Keeps a page of which the image's is `image`.
    pub(super) fn of(page: Box<Page>, image: &[u8]) -> Self {
        let mut runs = Vec::new();
        let (words, _) = page.as_chunks::<WORD>();
        let (before, _) = image.as_chunks::<WORD>();
        // Where the run that is being written has its count.
        let mut count_at = None;
        for (number, (word, before)) in words.iter().zip(before).enumerate() {
            if word == before {
                count_at = None;
                continue;
            }
            let at = *count_at.get_or_insert_with(|| {
                runs.extend(number16(number));
                runs.extend([0; 2]);
                runs.len() - 2
            });
            runs.extend(word);
            let count = (runs.len() - at - 2) / WORD;
            runs[at..at + 2].copy_from_slice(&number16(count));
            if runs.len() > MAX_BYTES {
                return Self::Whole(page);
            }
        }
        Self::Differing(runs.into())
    }

    /// The page.
    pub(super) fn page(&self, image: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Whole(page) => Cow::Borrowed(&page[..]),
            Self::Differing(runs) => {
                let mut page = image.to_vec();
                for (at, words) in Runs(runs) {
                    page[at..at + words.len()].copy_from_slice(words);
                }
                Cow::Owned(page)
            }
        }
    }

    /// Whether it is this page.
    pub(super) fn is(&self, page: &[u8], image: &[u8]) -> bool {
        match self {
            Self::Whole(kept) => page == &kept[..],
            Self::Differing(runs) => {
                let mut same_until = 0;
                for (at, words) in Runs(runs) {
                    let end = at + words.len();
                    if page[at..end] != *words || page[same_until..at] != image[same_until..at] {
                        return false;
                    }
                    same_until = end;
                }
                page[same_until..] == image[same_until..]
            }
        }
    }
}

/// The runs of a page: where each begins, and its bytes.
struct Runs<'a>(&'a [u8]);

impl<'a> Iterator for Runs<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = self.0.split_first_chunk::<RUN_HEADER>()?;
        let at = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let count = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let (words, rest) = rest.split_at(count * WORD);
        self.0 = rest;
        Some((at * WORD, words))
    }
}

fn number16(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("checked by its source: a page has 512 words").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(changes: &[(usize, u8)]) {
        let image: Vec<u8> = (0..=250).cycle().take(PAGE).collect();
        let mut page = image.clone();
        for (at, byte) in changes {
            page[*at] = *byte;
        }
        let given: Box<Page> = page.clone().into_boxed_slice().try_into().unwrap();
        let kept = KeptPage::of(given, &image);
        assert!(*kept.page(&image) == page);
        assert!(kept.is(&page, &image));
        for at in [0, 7, 8, PAGE / 2, PAGE - 1].into_iter().chain(changes.iter().map(|c| c.0)) {
            let mut other = page.clone();
            other[at] ^= 0x55;
            assert!(!kept.is(&other, &image), "{at}");
        }
        if let KeptPage::Differing(runs) = &kept {
            assert!(runs.len() <= changes.len() * (RUN_HEADER + WORD));
        }
    }

    #[test]
    fn pages_are_kept_as_they_were_whatever_changed() {
        check(&[]);
        check(&[(0, 1), (PAGE - 1, 2)]);
        check(&(0..PAGE).map(|at| (at, 0)).collect::<Vec<_>>());
        proptest!(|(changes in proptest::collection::vec((0..PAGE, any::<u8>()), 0..600))| {
            check(&changes);
        });
    }

    #[test]
    fn a_few_words_take_a_few_bytes() {
        let image = vec![0; PAGE];
        let mut page = Box::new([0; PAGE]);
        page[16..24].fill(1);
        page[800..832].fill(2);
        match KeptPage::of(page, &image) {
            KeptPage::Differing(runs) => assert_eq!(runs.len(), 2 * RUN_HEADER + 5 * WORD),
            KeptPage::Whole(_) => panic!("all of it is kept"),
        }
    }
}
