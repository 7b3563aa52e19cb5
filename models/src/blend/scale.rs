//! The scales that scores of different models are put on, user by user.

use burnrec_data::ItemIx;
use serde::{Deserialize, Serialize};

/// The scale that the scores of a part are put on, for one user, by the items that the user has not had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Standard deviations from the mean; 0 where all scores are equal.
    #[default]
    Zscore,
    /// The share of items with a lower score, those with an equal one counted half.
    Rank,
}

impl Scale {
    /// Puts one user's scores of all items on the scale; `seen` are the items that the user has had, ascending.
    pub fn apply(self, scores: &mut [f32], seen: &[ItemIx]) {
        match self {
            Self::Zscore => {
                let n = (scores.len() - seen.len()).max(1) as f64;
                let unseen = || unseen(scores, seen).map(|&score| f64::from(score));
                let mean = unseen().sum::<f64>() / n;
                let deviation = (unseen().map(|score| (score - mean).powi(2)).sum::<f64>() / n).sqrt();
                let factor = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
                scores.iter_mut().for_each(|score| *score = ((f64::from(*score) - mean) * factor) as f32);
            }
            Self::Rank => {
                let mut sorted: Vec<f32> = unseen(scores, seen).copied().collect();
                sorted.sort_unstable_by(f32::total_cmp);
                let n = 2.0 * sorted.len().max(1) as f32;
                let share = |score: f32| {
                    let below = sorted.partition_point(|other| *other < score);
                    let up_to = below + sorted[below..].partition_point(|other| *other <= score);
                    (below + up_to) as f32 / n
                };
                scores.iter_mut().for_each(|score| *score = share(*score));
            }
        }
    }
}

/// Returns the scores of the items that are not among `seen`, ascending ones.
fn unseen<'a>(scores: &'a [f32], seen: &'a [ItemIx]) -> impl Iterator<Item = &'a f32> {
    let starts = std::iter::once(0).chain(seen.iter().map(|item| item.at() + 1));
    let ends = seen.iter().map(|item| item.at()).chain([scores.len()]);
    starts.zip(ends).flat_map(move |(start, end)| &scores[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(scale: Scale, scores: &[f32], seen: &[u32]) -> Vec<f32> {
        let (mut scores, seen) = (scores.to_vec(), seen.iter().map(|&item| ItemIx(item)).collect::<Vec<_>>());
        scale.apply(&mut scores, &seen);
        scores
    }

    #[test]
    fn z_scores_are_those_of_the_unseen_items() {
        // Unseen are 1, 3, 5 and 7, with mean 4 and variance 5.
        let found = scaled(Scale::Zscore, &[1.0, 100.0, 3.0, 5.0, -4.0, 7.0], &[1, 4]);
        let expected = [1.0, 100.0, 3.0, 5.0, -4.0, 7.0].map(|score: f32| (score - 4.0) / 5f32.sqrt());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}, {expected:?}");
        assert_eq!(scaled(Scale::Zscore, &[2.0, 2.0, 9.0], &[2]), [0.0; 3], "no deviation");
        assert_eq!(scaled(Scale::Zscore, &[2.0, 3.0], &[0, 1]), [0.0; 2], "nothing unseen");
    }

    #[test]
    fn ranks_are_shares_of_the_unseen_items_and_equal_ones_count_half() {
        let found = scaled(Scale::Rank, &[1.0, 3.0, 3.0, 8.0, 9.0, 2.0], &[4, 5]);
        assert_eq!(found, [0.125, 0.5, 0.5, 0.875, 1.0, 0.25]);
        assert_eq!(scaled(Scale::Rank, &[2.0, 3.0], &[0, 1]), [0.0; 2], "nothing unseen");
    }
}
