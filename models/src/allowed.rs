//! Which items may be recommended.

use burnrec_data::ItemIx;

/// The items that may be recommended to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(Vec<bool>);

impl Allowed {
    /// Allows all of a catalogue.
    pub fn all(n_items: usize) -> Self {
        Self(vec![true; n_items])
    }

    /// Keeps only these of what was allowed so far.
    pub fn only(mut self, items: &[ItemIx]) -> Self {
        let mut both = vec![false; self.0.len()];
        items.iter().for_each(|item| both[item.at()] = self.0[item.at()]);
        self.0 = both;
        self
    }

    /// Takes these out of what was allowed so far.
    pub fn without(mut self, items: &[ItemIx]) -> Self {
        items.iter().for_each(|item| self.0[item.at()] = false);
        self
    }

    /// Returns whether an item may be recommended.
    pub fn contains(&self, item: ItemIx) -> bool {
        self.0[item.at()]
    }
}
