//! Runs from which a user cannot be erased stay as they are, and the error says why.

use std::fs;
use std::path::Path;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{Csr, Id, ItemIx, UserIx, Vocab};
use burnrec_models::device::OpenDevice;
use burnrec_models::registry::{Kind, register};
use burnrec_models::saved::{erase_user, user_in};
use burnrec_models::settings::NoSettings;
use burnrec_models::{
    Family, FitInput, Learner, Model, ModelConfig, Output, Recommender, Result, Scorer, Shape, Trainable,
    UserArray,
};
use serde::{Deserialize, Serialize};

/// A family whose weights have a number of each user, of which it says `says`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mine {
    says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Says {
    Nothing,
    Another,
    NoRows,
    All,
}

impl Family for Mine {
    const KIND: &'static str = "mine";

    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        match self.says {
            Says::Nothing => None,
            Says::Another => Some(vec![UserArray::Rows("bias")]),
            Says::NoRows => Some(Vec::new()),
            Says::All => Some(vec![UserArray::Rows("biases")]),
        }
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        let biases = burnrec_models::weights::matrix(weights, "biases", &[shape.n_users])?;
        Ok(Box::new(Biases { config: self.clone(), n_items: shape.n_items, biases }))
    }
}

impl Trainable for Mine {
    type Training = NoSettings;

    fn takes_negative_values(&self) -> bool {
        true
    }

    fn learner<'a>(&self, _: &NoSettings, _: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Err(burnrec_models::Error::Unable { kind: Self::KIND, lacks: "learner" })
    }
}

struct Biases {
    config: Mine,
    n_items: usize,
    biases: Vec<f32>,
}

impl Scorer for Biases {
    fn n_users(&self) -> usize {
        self.biases.len()
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], _: &[ItemIx], out: &mut [f32]) {
        users.iter().zip(out).for_each(|(user, out)| *out = self.biases[user.at()]);
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let rows = users.iter().zip(out.chunks_exact_mut(self.n_items));
        rows.for_each(|(user, out)| out.fill(self.biases[user.at()]));
    }
}

impl Model for Biases {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        vec![("biases".to_owned(), Tensor::new(&[self.biases.len()], self.biases.iter().copied()))]
    }
}

/// Saves a run of users 1, 2 and so on, each of whom has had one item.
fn save(says: Says, n_users: usize, run: &Path) {
    let biases = (0..n_users).map(|user| user as f32).collect();
    let items = (0..n_users as u32).map(|user| ItemIx(user % 2)).collect::<Vec<ItemIx>>();
    let users: Vec<UserIx> = (0..n_users as u32).map(UserIx).collect();
    let seen = Csr::from_rows(n_users, 2, &users, &items, &vec![1.0; n_users]);
    let model = Box::new(Biases { config: Mine { says }, n_items: 2, biases });
    let ids = |n: usize| Vocab::from_ints((1..=n as i64).collect());
    Recommender::new(model, ids(n_users), ids(2), seen).save(run).expect("a saved run");
}

#[test]
fn what_cannot_be_erased_stays_and_is_named() {
    register(Kind::of::<Mine>()).expect("a new kind");
    let folder = tempfile::tempdir().expect("a folder");
    for (says, n_users, words) in [
        (Says::Nothing, 3, "mine has no list of what its weights have of each user"),
        (Says::Another, 3, "expected an array \"bias\""),
        // The weights would still have the user.
        (Says::NoRows, 3, "biases"),
        (Says::All, 1, "found its only user, expected another user"),
    ] {
        let run = folder.path().join(format!("{says:?}"));
        save(says, n_users, &run);
        let manifest = fs::read(run.join("manifest.json")).expect("a manifest");
        let error = erase_user(&run, Id::Int(1)).expect_err("refused").to_string();
        assert!(error.contains(words), "{says:?}: {error}");
        assert_eq!(fs::read(run.join("manifest.json")).expect("a manifest"), manifest);
        let opened = Recommender::open(&run).expect("the run as it was");
        assert!(opened.user(1).is_ok(), "{says:?}");
    }
    let run = folder.path().join("erased");
    save(Says::All, 3, &run);
    assert!(erase_user(&run, Id::Str("2")).expect("erased"));
    let opened = Recommender::open(&run).expect("the run without the user");
    assert_eq!(opened.score(&[(1, 1), (2, 1), (3, 1)]), [Some(0.0), None, Some(2.0)]);
    assert_eq!(user_in(&run, Id::Int(2)).expect("a run"), None);
    let saved = fs::read_dir(&run).expect("a run").count();
    assert_eq!(saved, 4, "weights, ids, histories and the manifest; nothing of the run before");
}
