//! The biases over time of a fit, and the values that are left without them.

use burnrec_data::Csr;
use burnrec_data::tensors::{Tensor, TensorFile};

use super::BpmfConfig;
use super::groups::{Biases, Groups, Spans};
use super::source::Source;
use crate::drift::Bins;
use crate::weights::matrix;
use crate::{Error, Family, Result};

/// Biases of items in bins of time and of users in spans of rows; at least one of them.
pub struct OverTime {
    /// `[nnz]`: the values less their mean.
    centred: Vec<f32>,
    items: Option<ItemBins>,
    users: Option<UserSpans>,
}

struct ItemBins {
    bins: Bins,
    groups: Groups,
    biases: Biases,
}

struct UserSpans {
    spans: Spans,
    biases: Biases,
}

const ITEMS: &str = "bpmf.items.bins";
const USERS: &str = "bpmf.users.spans";

impl OverTime {
    /// Starts from biases of 0, where the settings ask for any; `train` has the values less their mean.
    ///
    /// # Errors
    /// When times are not known, or there are too many bins.
    pub fn new(config: &BpmfConfig, train: &Csr) -> Result<Option<Self>> {
        let Some(key) = config.reads_order_by() else { return Ok(None) };
        let Some(times) = train.order().and_then(|order| order.times.as_ref()) else {
            let found = if key == "item_bins" { config.item_bins } else { config.user_span };
            return Err(Error::config(
                key,
                format!("{found} for rows without times"),
                "0, or a time for each row",
            ));
        };
        let most = u32::MAX as usize / train.n_cols().max(1);
        if config.item_bins > most {
            let expected = format!("at most {most} for {} items", train.n_cols());
            return Err(Error::config("item_bins", config.item_bins, expected));
        }
        let bins = (config.item_bins > 0).then(|| Bins::of(times, config.item_bins));
        let items = bins.and_then(|bins| {
            let groups = Groups::of_bins(train, bins)?;
            Some(ItemBins { bins, biases: Biases::zeros(&groups), groups })
        });
        let spans = (config.user_span > 0).then(|| Spans::of(train, config.user_span)).flatten();
        let users = spans.map(|spans| UserSpans { biases: Biases::zeros(&spans.groups), spans });
        Ok(Some(Self { centred: train.values().to_vec(), items, users }))
    }

    /// Returns the bins of time of the items' biases.
    pub fn bins(&self) -> Option<Bins> {
        self.items.as_ref().map(|items| items.bins)
    }

    /// Returns the items' biases, `[n_items, bins]`; empty where there are none.
    pub fn item_biases(&self) -> &[f32] {
        self.items.as_ref().map_or(&[], |items| &items.biases.values)
    }

    /// Returns the users' spans.
    pub fn spans(&self) -> Option<&Spans> {
        self.users.as_ref().map(|users| &users.spans)
    }

    /// Returns the precision of the biases of the users' spans.
    pub fn span_strength(&self) -> Option<f32> {
        self.users.as_ref().map(|users| users.biases.strength)
    }

    /// Draws the users' biases and then the items', given the residuals of the entries, `[nnz]`: their values less all but the
    /// users' biases.
    pub fn draw(&mut self, mut residuals: Vec<f32>, noise: f32, (seed, sweep): (u64, u32)) {
        let source = |purpose| Source { seed, purpose, sweep };
        if let Some(UserSpans { spans, biases }) = &mut self.users {
            biases.draw(&spans.groups, &residuals, noise, source(USERS));
            spans.groups.add(&biases.values, -1.0, &mut residuals);
        }
        if let Some(ItemBins { groups, biases, .. }) = &mut self.items {
            groups.add(&biases.values, 1.0, &mut residuals);
            biases.draw(groups, &residuals, noise, source(ITEMS));
        }
    }

    /// Returns `train` with its values less the items' biases, and less the users' as well; both without an order.
    pub fn left(&self, train: &Csr) -> [Csr; 2] {
        let with = |values: Vec<f32>| {
            Csr::new(train.n_cols(), train.offsets().to_vec(), train.cols().to_vec(), values)
        };
        let mut values = self.centred.clone();
        if let Some(ItemBins { groups, biases, .. }) = &self.items {
            groups.add(&biases.values, -1.0, &mut values);
        }
        let less_items = with(values.clone());
        if let Some(UserSpans { spans, biases }) = &self.users {
            spans.groups.add(&biases.values, -1.0, &mut values);
        }
        [less_items, with(values)]
    }

    /// Returns the state as arrays by name.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let biases = [
            ("item_bins", self.items.as_ref().map(|of| &of.biases)),
            ("user_spans", self.users.as_ref().map(|of| &of.biases)),
        ];
        let of = |(name, biases): (&str, Option<&Biases>)| {
            let Biases { values, strength } = biases?;
            let values = (format!("state_{name}"), Tensor::new(&[values.len()], values.iter().copied()));
            Some([values, (format!("strength_of_{name}"), Tensor::new(&[1], [*strength]))])
        };
        biases.into_iter().filter_map(of).flatten().collect()
    }

    /// Reads what [`OverTime::tensors`] returned.
    ///
    /// # Errors
    /// When it is not of the same data and settings.
    pub fn load(&mut self, file: &TensorFile) -> Result<()> {
        let biases = [
            ("item_bins", self.items.as_mut().map(|of| &mut of.biases)),
            ("user_spans", self.users.as_mut().map(|of| &mut of.biases)),
        ];
        for (name, biases) in biases {
            let Some(biases) = biases else { continue };
            biases.values = matrix(file, &format!("state_{name}"), &[biases.values.len()])?;
            biases.strength = matrix(file, &format!("strength_of_{name}"), &[1])?[0];
        }
        Ok(())
    }
}
