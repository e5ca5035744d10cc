//! A moment as text.

use crate::tick::{InvalidMoment, TickId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A moment as text: RFC 3339 in UTC with milliseconds, `2026-11-20T09:20:31.075Z`.
///
/// It is text and not a [`TickId`], so that the moment of an entry is formatted once for all messages about the entry,
/// and parsed only by readers that need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timedate<'a>(Cow<'a, str>);

impl Timedate<'_> {
    /// Returns the moment.
    ///
    /// # Errors
    /// [`InvalidMoment`] if the text is not a moment.
    pub fn moment(&self) -> Result<TickId, InvalidMoment> {
        TickId::parse_moment("timedate", &self.0)
    }

    /// Returns the same moment, borrowed.
    pub fn borrowed(&self) -> Timedate<'_> {
        Timedate(Cow::Borrowed(&self.0))
    }
}

impl From<TickId> for Timedate<'static> {
    fn from(moment: TickId) -> Timedate<'static> {
        Timedate(Cow::Owned(moment.timedate()))
    }
}
