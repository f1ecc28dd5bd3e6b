//! The time as records hold it: UTC, whole microseconds.
//!
//! Invariant: what [`now`] gives survives a round trip through a record and through JSON.

use jiff::Timestamp;

/// The present time, cut to microseconds: more digits than that differ between a record and what
/// clients' languages keep of it.
#[expect(clippy::missing_panics_doc, reason = "the expectation cannot fail, as it says")]
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond())
        .expect("checked by construction: the microseconds of a timestamp are in its range")
}
