//! Weights of a user's rows by their age, for families that score a user from a history: one setting, and one way to weigh.

use burnrec_data::Csr;
use serde::{Deserialize, Serialize};

use crate::scorer::check_order;
use crate::{Error, Result};

/// How the weight of a user's rows falls with their age, in what the user is scored by: the row of age `a` has the weight
/// `e^(-a / tau)`, where the newest row has the age 0. Training does not read it: what is learned of the items is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recency {
    /// All rows weigh the same.
    #[default]
    None,
    /// Ages are counted in rows; the number is `tau`.
    Rows(f32),
    /// Ages are days before the newest row; the number is `tau`.
    Days(f32),
}

/// The seconds of a day.
const DAY: f64 = 86_400.0;

impl Recency {
    /// Refuses a `tau` that is none.
    ///
    /// # Errors
    /// When it is not a finite number over 0.
    pub fn validate(self) -> Result<()> {
        match self {
            Self::Rows(tau) | Self::Days(tau) if !(tau.is_finite() && tau > 0.0) => {
                Err(Error::config("recency", tau, "a finite number of rows or days over 0"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the weight of each entry of histories, `[nnz]`; `None` where all weigh the same.
    ///
    /// # Errors
    /// When the histories have no order, or for days no times.
    pub fn weights(self, histories: &Csr) -> Result<Option<Vec<f32>>> {
        self.check(histories)?;
        let weight = |age: f64, tau: f32| (-age / f64::from(tau)).exp() as f32;
        let order = histories.order();
        Ok(match self {
            Self::None => None,
            Self::Rows(tau) => {
                let ages = order.into_iter().flat_map(|order| &order.ages);
                Some(ages.map(|&age| weight(f64::from(age), tau)).collect())
            }
            Self::Days(tau) => {
                let times = order.and_then(|order| order.times.as_deref()).unwrap_or_default();
                let of_row = |ends: &[usize]| {
                    let times = times.get(ends[0]..ends[1]).unwrap_or_default();
                    let newest = times.iter().copied().max().unwrap_or_default();
                    let age = move |&time: &i64| newest.saturating_sub(time) as f64 / DAY;
                    times.iter().map(move |time| weight(age(time), tau)).collect::<Vec<f32>>()
                };
                Some(histories.offsets().windows(2).flat_map(of_row).collect())
            }
        })
    }

    /// Refuses histories whose ages are not known.
    ///
    /// # Errors
    /// As [`Recency::weights`].
    pub fn check(self, histories: &Csr) -> Result<()> {
        if self == Self::None || histories.nnz() == 0 {
            return Ok(());
        }
        check_order(histories)?;
        let has_times = histories.order().is_some_and(|order| order.times.is_some());
        if matches!(self, Self::Days(_)) && !has_times {
            let expected = "a time for each row, as recency is in days".to_owned();
            return Err(Error::FoldIn { found: "histories without times".to_owned(), expected });
        }
        Ok(())
    }
}
