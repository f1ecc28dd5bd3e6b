//! Which answers are compressed, for who asks.
//!
//! Invariant: compressing one holds its worker for some milliseconds at most. So what comes in pieces,
//! as long lists of events, streams and modules do, comes as it is.

use http::Response;
use http_body::Body;
use std::ops::RangeInclusive;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

/// Bytes of the answers that are compressed: fewer gain nothing, more take a worker too long.
const BYTES: RangeInclusive<u64> = 1 << 10..=256 << 10;

/// Answers of one piece that is worth it.
#[derive(Clone, Copy)]
pub(super) struct OnePiece;

impl Predicate for OnePiece {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        response.body().size_hint().exact().is_some_and(|bytes| BYTES.contains(&bytes))
    }
}

pub(super) fn compression() -> CompressionLayer<OnePiece> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(OnePiece)
}
