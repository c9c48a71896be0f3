//! The caps as others are shown them. Only reads.

use openclaw_wire::{
    money::Usd,
    spend::{CapState, Span, Whose},
};

use super::{Book, SPANS};

/// Caps of chats, keys and skills that a status shows besides those over all: a page has no room for thousands.
const MOST_NEAR: usize = 20;

impl Book {
    /// A cap of the present day or month; `None` without a limit.
    pub fn state(&self, whose: &Whose, span: Span) -> Option<CapState> {
        Some(self.shown(whose, span, &self.sums(whose, span)?))
    }

    /// The caps over all, and those of whoever used something this month.
    pub fn states(&self) -> Vec<CapState> {
        let mut whose: Vec<&Whose> = self.others().collect();
        whose.sort();
        let both = |one: &Whose| SPANS.map(|span| self.state(one, span));
        std::iter::once(&Whose::All).chain(whose).flat_map(both).flatten().collect()
    }

    /// The caps over all, and of the others those of which four fifths are used, the dearest first.
    pub fn to_watch(&self) -> Vec<CapState> {
        let both = |one| SPANS.into_iter().filter_map(move |span| self.state(one, span));
        let near = |state: &CapState| state.spent > Usd::ZERO && state.is_near();
        let mut others: Vec<CapState> = self.others().flat_map(both).filter(near).collect();
        others.sort_by(|one, other| {
            let rank = |state: &CapState| (std::cmp::Reverse(state.spent), state.cap.whose.clone());
            rank(one).cmp(&rank(other))
        });
        others.truncate(MOST_NEAR);
        both(&Whose::All).chain(others).collect()
    }

    fn others(&self) -> impl Iterator<Item = &Whose> {
        self.tallies.keys().filter(|one| **one != Whose::All)
    }
}
