//! A trained model with the ids, titles and histories around it: what answers questions in outside ids.
//!
//! Everything that is asked of a model from outside goes through here: the program, the service and users of the
//! library. Outside ids become rows on the way in and ids again on the way out.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use burnrec_data::{Csr, Entry, Id, Index, ItemIx, Titles, UserIx, Vocab};

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::model::Output;
use crate::scorer::{Allowed, Scorer};
use crate::topk::{select, top_k};
use crate::trained::TrainedRows;
use crate::{Error, Result};

/// A model that answers in outside ids.
///
/// A user or an item without training rows counts as unknown: its row never learned. An item has no score where the model's
/// is not a finite number. Ids are given as anything that displays as the id does in the ratings file: `7`, `"7"`, `"tt0110912"`.
pub struct Recommender {
    /// The model.
    pub model: Box<dyn Model>,
    /// The users' ids.
    pub users: Index,
    /// The items' ids.
    pub items: Index,
    /// The items' titles.
    pub titles: Option<Titles>,
    /// `[n_users, n_items]`: what the model was trained on, each user's history, in order where the model reads it.
    pub seen: Csr,
    /// What a score means.
    pub output: Output,
    /// What the model was trained on.
    pub data: DataFacts,
    /// How it was trained and what it scored, as its saved run has it.
    pub record: serde_json::Value,
    /// The model that was chosen on valid, before the refit on train and valid together, where other models may start
    /// from it. Saving writes its weights; opening a saved run leaves it `None`.
    pub chosen: Option<Box<dyn Model>>,
    trained: Arc<TrainedRows>,
    /// Whether ratings are clipped to the values of training.
    clips: bool,
}

/// What a model was trained on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The name of the dataset.
    pub name: String,
    /// Whether it was drawn by `synth`.
    pub synthetic: bool,
    /// The hash of the prepared split.
    pub hash: String,
    /// Where the prepared split was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// An item with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredItem {
    /// The item's id.
    pub id: String,
    /// For a recommendation what [`Recommender::output`] says, for a similar item its likeness
    /// ([`Scorer::likeness`]).
    pub score: f32,
    /// The item's title, where there is one.
    pub title: Option<String>,
}

/// What to recommend: how many items, and which are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// How many items.
    pub k: usize,
    /// Whether items of the user's own history may be recommended.
    pub include_seen: bool,
    /// The ids of the only items that may be recommended; `None` allows all.
    pub only: Option<Vec<String>>,
    /// The ids of items that are left out; an unknown one is left out anyway.
    pub without: Vec<String>,
}

impl Query {
    /// Asks for the `k` best items that the user has not seen.
    pub fn top(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// Allows items of the user's own history.
    pub fn include_seen(mut self) -> Self {
        self.include_seen = true;
        self
    }

    /// Allows only these items.
    pub fn only<I: Display>(mut self, items: impl IntoIterator<Item = I>) -> Self {
        self.only = Some(items.into_iter().map(|item| item.to_string()).collect());
        self
    }

    /// Leaves these items out.
    pub fn without<I: Display>(mut self, items: impl IntoIterator<Item = I>) -> Self {
        self.without.extend(items.into_iter().map(|item| item.to_string()));
        self
    }
}

impl From<usize> for Query {
    fn from(k: usize) -> Self {
        Self::top(k)
    }
}

impl Recommender {
    /// Puts a model together with the ids of its rows and the histories it was trained on, `[n_users, n_items]`.
    ///
    /// # Panics
    /// When model, ids and histories have different numbers of users or items.
    pub fn new(model: Box<dyn Model>, users: Vocab, items: Vocab, seen: Csr) -> Self {
        let sizes = (model.n_users(), model.n_items());
        assert_eq!((users.len(), items.len()), sizes, "ids of users and items");
        assert_eq!((seen.n_rows(), seen.n_cols()), sizes, "histories");
        Self {
            output: model.config().output(),
            clips: model.config().clips(),
            model,
            chosen: None,
            users: Index::new(users),
            items: Index::new(items),
            titles: None,
            trained: Arc::new(TrainedRows::of(&seen)),
            seen,
            data: DataFacts::default(),
            record: serde_json::Value::Null,
        }
    }

    /// Gives the items titles.
    pub fn with_titles(self, titles: Option<Titles>) -> Self {
        Self { titles, ..self }
    }

    /// Sets what the model was trained on, and how: `record` is kept in the saved run.
    pub fn with_record(self, data: DataFacts, record: serde_json::Value) -> Self {
        Self { data, record, ..self }
    }

    /// Keeps the model that was chosen on valid beside the final one, in the saved run.
    pub fn with_chosen(self, chosen: Option<Box<dyn Model>>) -> Self {
        Self { chosen, ..self }
    }

    /// Returns the value of the `model` key: `als`, `neumf`.
    pub fn kind(&self) -> &'static str {
        self.model.config().kind()
    }

    /// Returns the row of a user's id.
    ///
    /// # Errors
    /// When the model does not know the user.
    pub fn user(&self, id: impl Display) -> Result<UserIx> {
        let id = id.to_string();
        self.user_row(Id::Str(&id))
            .ok_or_else(|| unknown("user", id, &self.users, self.trained.users().len()))
    }

    /// Returns the row of an item's id.
    ///
    /// # Errors
    /// When the model does not know the item.
    pub fn item(&self, id: impl Display) -> Result<ItemIx> {
        let id = id.to_string();
        self.item_row(Id::Str(&id))
            .ok_or_else(|| unknown("item", id, &self.items, self.trained.items().len()))
    }

    /// Returns the row of a user that the model knows.
    pub fn user_row(&self, id: Id<'_>) -> Option<UserIx> {
        self.users.row(id).map(UserIx).filter(|&user| self.trained.has_user(user))
    }

    /// Returns the row of an item that the model knows.
    pub fn item_row(&self, id: Id<'_>) -> Option<ItemIx> {
        self.items.row(id).map(ItemIx).filter(|&item| self.trained.has_item(item))
    }

    /// Turns a score of the model into what users see: the probability, the rating, clipped where the settings say so, or the
    /// raw value.
    pub fn shown(&self, logit: f32) -> f32 {
        let score = self.output.score(logit);
        if self.clips { self.trained.clip(score) } else { score }
    }

    /// Returns which rows learned, and from what.
    pub fn trained(&self) -> &Arc<TrainedRows> {
        &self.trained
    }

    /// Returns the title of an item, where there is one.
    pub fn title(&self, item: ItemIx) -> Option<&str> {
        self.titles.as_ref()?.get(item)
    }

    /// Returns what to call an item in a text: its title, or else its id.
    pub fn name(&self, item: ItemIx) -> String {
        self.title(item).map_or_else(|| self.items.vocab().id(item.0).to_string(), str::to_owned)
    }

    /// Returns the best items for a user, best first: `recommend(7, 10)`, or with a [`Query`] that restricts the items.
    ///
    /// # Errors
    /// When the user or an item of the query is unknown.
    pub fn recommend(&self, user: impl Display, query: impl Into<Query>) -> Result<Vec<ScoredItem>> {
        Ok(self.recommend_many(&[user], query)?.pop().unwrap_or_default())
    }

    /// Returns the best items for each of some users, in their order.
    ///
    /// # Errors
    /// When a user or an item of the query is unknown.
    pub fn recommend_many<U: Display>(
        &self,
        users: &[U],
        query: impl Into<Query>,
    ) -> Result<Vec<Vec<ScoredItem>>> {
        let users = users.iter().map(|user| self.user(user)).collect::<Result<Vec<UserIx>>>()?;
        let lists = self.top_rows(&users, &query.into())?;
        Ok(lists.iter().map(|list| self.scored(list, |logit| self.shown(logit))).collect())
    }

    /// Returns the id of every user that the model knows, with the best items for the user.
    ///
    /// # Errors
    /// When an item of `only` is unknown.
    pub fn recommend_all(&self, query: impl Into<Query>) -> Result<Vec<(String, Vec<ScoredItem>)>> {
        let users = self.trained.users();
        let lists = self.top_rows(users, &query.into())?;
        let list = |(user, list): (&UserIx, &Vec<(ItemIx, f32)>)| {
            (self.users.vocab().id(user.0).to_string(), self.scored(list, |logit| self.shown(logit)))
        };
        Ok(users.iter().zip(&lists).map(list).collect())
    }

    /// Returns the best items for each of some users that the model knows, as rows with their logits, best first.
    ///
    /// # Errors
    /// When an item of `only` is unknown.
    pub fn top_rows(&self, users: &[UserIx], query: &Query) -> Result<Vec<Vec<(ItemIx, f32)>>> {
        let allowed = self.allowed(query)?;
        let seen = |at: usize| if query.include_seen { &[] } else { self.seen.row(users[at].at()).0 };
        let mut lists = top_k(&*self.model, users, query.k, seen, Some(&allowed));
        lists.iter_mut().for_each(|list| list.retain(|(_, logit)| logit.is_finite()));
        Ok(lists)
    }

    /// Returns the score of each pair of a user and an item; `None` where one of them is unknown or the score is not finite.
    pub fn score<U: Display, I: Display>(&self, pairs: &[(U, I)]) -> Vec<Option<f32>> {
        let row = |(user, item): &(U, I)| {
            let (user, item) = (user.to_string(), item.to_string());
            Some((self.user_row(Id::Str(&user))?, self.item_row(Id::Str(&item))?))
        };
        let rows: Vec<Option<(UserIx, ItemIx)>> = pairs.iter().map(row).collect();
        let (users, items): (Vec<UserIx>, Vec<ItemIx>) = rows.iter().flatten().copied().unzip();
        let mut logits = vec![0.0; users.len()];
        self.model.score_pairs(&users, &items, &mut logits);
        let mut logits = logits.into_iter();
        rows.iter()
            .map(|pair| pair.and_then(|_| logits.next()).and_then(|logit| self.finite(logit)))
            .collect()
    }

    /// Returns the `k` items that are most like an item, best first: those whose vectors have the highest cosine similarity
    /// to its own or, of a model that is an item-item matrix, those for which the item has the highest weights.
    ///
    /// # Errors
    /// When the item is unknown, or the model cannot compare items.
    pub fn similar(&self, item: impl Display, k: usize) -> Result<Vec<ScoredItem>> {
        let item = self.item(item)?;
        let likeness = self.model.likeness().ok_or_else(|| self.unable("item vectors to compare"))?;
        Ok(self.scored(&likeness.nearest(item, k, self.trained.allowed()), |likeness| likeness))
    }

    /// Folds a user in who has no row in the model: `history` lists the ids of the user's items, the oldest first, each with
    /// its value, such as a rating or 1.
    ///
    /// # Errors
    /// When an item is unknown, there is none, a value is not within those of training, or the model cannot fold users in.
    pub fn fold_in<I: Display>(&self, history: &[(I, f32)]) -> Result<FoldedUser<'_>> {
        let entry =
            |(item, value): &(I, f32)| Ok(Entry { col: self.item(item)?.0, value: *value, time: None });
        let history = history.iter().map(entry).collect::<Result<Vec<Entry>>>()?;
        let history = Csr::from_histories(self.items.vocab().len(), [history]);
        let scorer = self.fold_in_rows(&history)?;
        Ok(FoldedUser { recommender: self, scorer, history: history.cols().to_vec() })
    }

    /// Folds in a user from a history, `[1, n_items]`.
    ///
    /// # Errors
    /// When there is no entry, a value is not within those of training, or the model cannot fold users in.
    pub fn fold_in_rows(&self, history: &Csr) -> Result<Box<dyn Scorer>> {
        let fold_in = self.model.as_fold_in().ok_or_else(|| self.unable("way to fold users in"))?;
        if history.nnz() == 0 {
            let (found, expected) = ("an empty history".to_owned(), "at least one item".to_owned());
            return Err(Error::FoldIn { found, expected });
        }
        history.values().iter().try_for_each(|&value| self.trained.check_value(value))?;
        fold_in.fold_in(history)
    }

    /// Returns the items that the query allows.
    fn allowed(&self, query: &Query) -> Result<Allowed> {
        let rows = |ids: &[String]| ids.iter().map(|id| self.item(id)).collect::<Result<Vec<ItemIx>>>();
        let mut allowed = self.trained.allowed().clone();
        if let Some(only) = &query.only {
            allowed = allowed.only(&rows(only)?);
        }
        let known: Vec<ItemIx> = query.without.iter().filter_map(|id| self.item(id).ok()).collect();
        Ok(allowed.without(&known))
    }

    fn scored(&self, list: &[(ItemIx, f32)], score: impl Fn(f32) -> f32) -> Vec<ScoredItem> {
        let item = |&(item, value): &(ItemIx, f32)| ScoredItem {
            id: self.items.vocab().id(item.0).to_string(),
            score: score(value),
            title: self.title(item).map(str::to_owned),
        };
        list.iter().map(item).collect()
    }

    /// Returns the score of a logit, where that is finite.
    fn finite(&self, logit: f32) -> Option<f32> {
        logit.is_finite().then(|| self.shown(logit))
    }

    fn unable(&self, lacks: &'static str) -> Error {
        Error::Unable { kind: self.kind(), lacks }
    }
}

/// A user without a row in the model, folded in from a history.
pub struct FoldedUser<'a> {
    recommender: &'a Recommender,
    scorer: Box<dyn Scorer>,
    /// Item rows, ascending.
    history: Vec<u32>,
}

impl FoldedUser<'_> {
    /// Returns the best items for the user, best first.
    ///
    /// # Errors
    /// When an item of `only` is unknown.
    pub fn recommend(&self, query: impl Into<Query>) -> Result<Vec<ScoredItem>> {
        let (query, recommender) = (query.into(), self.recommender);
        let allowed = recommender.allowed(&query)?;
        let mut logits = vec![0.0; self.scorer.n_items()];
        self.scorer.score_catalog(&[UserIx(0)], &mut logits);
        let seen = if query.include_seen { &[][..] } else { &self.history };
        let mut list = select(&logits, query.k, seen, Some(&allowed));
        list.retain(|(_, logit)| logit.is_finite());
        Ok(recommender.scored(&list, |logit| recommender.shown(logit)))
    }

    /// Returns the score of each item; `None` where it is unknown or its score is not finite.
    pub fn score<I: Display>(&self, items: &[I]) -> Vec<Option<f32>> {
        let row = |item: &I| self.recommender.item_row(Id::Str(&item.to_string()));
        let rows: Vec<Option<ItemIx>> = items.iter().map(row).collect();
        let known: Vec<ItemIx> = rows.iter().flatten().copied().collect();
        let mut logits = vec![0.0; known.len()];
        self.scorer.score_pairs(&vec![UserIx(0); known.len()], &known, &mut logits);
        let mut logits = logits.into_iter();
        let score = |row: &Option<ItemIx>| {
            row.and_then(|_| logits.next()).and_then(|logit| self.recommender.finite(logit))
        };
        rows.iter().map(score).collect()
    }
}

fn unknown(what: &'static str, id: String, index: &Index, n_trained: usize) -> Error {
    let vocab = index.vocab();
    let n = vocab.len();
    if vocab.find(&id).is_some() {
        return Error::Untrained { what, id, n_trained };
    }
    let (first, last) = match n {
        0 => (String::new(), String::new()),
        _ => (vocab.id(0).to_string(), vocab.id(n as u32 - 1).to_string()),
    };
    Error::UnknownId { what, id, n, first, last }
}
