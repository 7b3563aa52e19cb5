//! Which rows of a model learned: those of users and items with training rows. Wherever a model answers, the others count
//! as unknown.

use std::ops::Deref;
use std::sync::Arc;

use burnrec_data::{Csr, Holdout, ItemIx, UserIx};

use crate::drift::Drift;
use crate::popularity::Popularity;
use crate::scorer::{Allowed, FoldIn, Ranked, Scorer, check_histories};
use crate::{Error, Result};

/// What the training rows say of a model's rows.
pub struct TrainedRows {
    has_user: Vec<bool>,
    users: Vec<UserIx>,
    allowed: Allowed,
    items: Vec<ItemIx>,
    /// The items without training rows, ascending.
    cold_items: Vec<ItemIx>,
    popularity: Popularity,
    /// The least and the greatest value of a training row.
    values: Option<(f32, f32)>,
}

impl TrainedRows {
    /// Looks through the training matrix, `[n_users, n_items]`. One without any entry says nothing of a model, which cannot
    /// have learned from it: all rows of one that came without its histories count as learned.
    pub fn of(train: &Csr) -> Self {
        let unsaid = train.nnz() == 0;
        let has_user: Vec<bool> =
            (0..train.n_rows()).map(|user| unsaid || !train.row(user).0.is_empty()).collect();
        let popularity = Popularity::new(train);
        let items = (0..train.n_cols() as u32).map(ItemIx);
        let (items, cold_items): (Vec<ItemIx>, _) =
            items.partition(|&item| unsaid || popularity.count(item) > 0.0);
        Self {
            users: (0..).zip(&has_user).filter(|(_, has)| **has).map(|(user, _)| UserIx(user)).collect(),
            has_user,
            allowed: Allowed::all(train.n_cols()).only(&items),
            items,
            cold_items,
            popularity,
            values: train.value_range(),
        }
    }

    /// Returns whether a user has training rows.
    pub fn has_user(&self, user: UserIx) -> bool {
        self.has_user[user.at()]
    }

    /// Returns whether an item has training rows.
    pub fn has_item(&self, item: ItemIx) -> bool {
        self.allowed.contains(item)
    }

    /// Returns the users that have training rows.
    pub fn users(&self) -> &[UserIx] {
        &self.users
    }

    /// Returns the items that have training rows.
    pub fn items(&self) -> &[ItemIx] {
        &self.items
    }

    /// Returns the same items as those that may be recommended: no others may.
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Returns the popularity of the items in the training rows.
    pub fn popularity(&self) -> &Popularity {
        &self.popularity
    }

    /// Returns the least and the greatest value of the training rows, where there are any.
    pub fn values(&self) -> Option<(f32, f32)> {
        self.values
    }

    /// Returns a predicted rating clipped to the values of the training rows.
    pub fn clip(&self, rating: f32) -> f32 {
        clip(rating, self.values)
    }

    /// Refuses a value of a history that is not within the values of the training rows.
    ///
    /// # Errors
    /// When the value is no number, less than the least of training or greater than the greatest.
    pub fn check_value(&self, value: f32) -> Result<()> {
        let expected = match self.values {
            Some((least, most)) if (least..=most).contains(&value) => return Ok(()),
            None if value.is_finite() => return Ok(()),
            Some((least, most)) if least == most => format!("{least}, as all values of training are"),
            Some((least, most)) => format!("a value from {least} to {most}, as in training"),
            None => "a finite value".to_owned(),
        };
        Err(Error::FoldIn { found: format!("the value {value}"), expected })
    }
}

/// Returns a predicted rating clipped to a scale; one that is not finite stays.
pub fn clip(rating: f32, scale: Option<(f32, f32)>) -> f32 {
    match scale {
        Some((least, most)) if rating.is_finite() => rating.clamp(least, most),
        _ => rating,
    }
}

/// A scorer as it answers where rows never learned: users without training rows get the popularity of the items, and an item
/// without them never stands before another.
pub struct Answering<P> {
    scorer: P,
    /// `[n_users]`: whether the user has training rows, or is folded in from items that have.
    warm: Vec<bool>,
    trained: Arc<TrainedRows>,
}

impl<'a> Answering<&'a dyn Scorer> {
    /// Puts a scorer together with what its training rows say.
    pub fn new(scorer: &'a dyn Scorer, trained: &Arc<TrainedRows>) -> Self {
        Self { scorer, warm: trained.has_user.clone(), trained: Arc::clone(trained) }
    }
}

impl<'a, P: Deref<Target = dyn Scorer + 'a> + Send + Sync> Scorer for Answering<P> {
    fn n_users(&self) -> usize {
        self.scorer.n_users()
    }

    fn n_items(&self) -> usize {
        self.scorer.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        self.scorer.score_pairs(users, items, out);
        for ((out, &user), &item) in out.iter_mut().zip(users).zip(items) {
            if !self.trained.has_item(item) {
                *out = f32::NEG_INFINITY;
            } else if !self.warm[user.at()] {
                *out = self.trained.popularity.count(item);
            }
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        self.scorer.score_catalog(users, out);
        for (user, out) in users.iter().zip(out.chunks_exact_mut(self.n_items())) {
            if !self.warm[user.at()] {
                self.trained.popularity.score_catalog(&[*user], out);
            }
            self.trained.cold_items.iter().for_each(|item| out[item.at()] = f32::NEG_INFINITY);
        }
    }

    fn rank_on_device(
        &self,
        users: &[UserIx],
        holdout: &Holdout,
        rows: &[usize],
        k: usize,
        last: &[ItemIx],
    ) -> Option<Vec<Ranked>> {
        debug_assert!(last.is_empty(), "the items that stand last are those without training rows");
        let all_warm = users.iter().all(|user| self.warm[user.at()]);
        all_warm.then(|| self.scorer.rank_on_device(users, holdout, rows, k, &self.trained.cold_items))?
    }

    fn pairs_at_once(&self) -> usize {
        self.scorer.pairs_at_once()
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        self.scorer.as_fold_in().map(|_| self as &dyn FoldIn)
    }

    fn drift(&self) -> Option<Arc<Drift>> {
        self.scorer.drift()
    }
}

impl<'a, P: Deref<Target = dyn Scorer + 'a> + Send + Sync> FoldIn for Answering<P> {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        let fold_in = self.scorer.as_fold_in().ok_or_else(|| Error::FoldIn {
            found: "a model that cannot".to_owned(),
            expected: "one that folds users in".to_owned(),
        })?;
        let is_warm =
            |user: usize| histories.row(user).0.iter().any(|&item| self.trained.has_item(ItemIx(item)));
        Ok(Box::new(Answering {
            warm: (0..histories.n_rows()).map(is_warm).collect(),
            scorer: fold_in.fold_in(histories)?,
            trained: Arc::clone(&self.trained),
        }))
    }
}
