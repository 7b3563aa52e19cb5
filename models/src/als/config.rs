//! The settings of ALS; [`super`] has the equations that they appear in.

use serde::{Deserialize, Serialize};

use crate::{Error, Recency, Result};

/// Settings of alternating least squares.
///
/// In a file, a key that is left out takes the default of the `feedback` and `convention` chosen
/// ([`AlsConfig::explicit`], [`AlsConfig::implicit`]), so that each library's convention is one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given")]
pub struct AlsConfig {
    /// Whether values are ratings to predict, or say how strong the implicit feedback of a cell is.
    pub feedback: Feedback,
    /// For implicit feedback: what an observed cell weighs, and which cells count as unobserved.
    pub convention: Convention,
    /// Length of the factor vectors.
    pub dim: usize,
    /// Strength of the regulariser, before `reg_scaling`.
    pub reg: f32,
    /// How `reg` is scaled in each row.
    pub reg_scaling: RegScaling,
    /// The exponent of `reg_scaling = "frequency"`.
    pub nu: f32,
    /// How fast the confidence grows with the value, in the conventions where it does.
    pub alpha: f32,
    /// The weight of the squared score `s^2` of each cell that counts as unobserved.
    pub unobserved_weight: f32,
    /// How values are weighted before training.
    pub weighting: Weighting,
    /// For explicit feedback: whether scores have a mean and biases of users and items beside the dot product.
    pub biases: bool,
    /// For explicit feedback: whether predicted ratings are clipped to the values of training.
    pub clip: bool,
    /// Whether factors must not be negative; each row is then solved exactly, whatever `solver` says.
    pub nonnegative: bool,
    /// How each row is solved.
    pub solver: Solver,
    /// The most steps of `solver = "cg"` in each row; a row stops earlier at the relative residual tolerance.
    pub cg_steps: usize,
    /// Block length of `solver = "subspace"`.
    pub block_size: usize,
    /// Standard deviation of the initial factors, before a division by the square root of `dim`.
    pub init_std: f32,
    /// How the weight of a user's rows falls with their age, in the factors that the user is scored by. Training does not
    /// read it: the users are folded in once their items' factors are learned.
    pub recency: Recency,
}

/// What the values of the training matrix mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Feedback {
    /// Values are ratings; only observed cells count.
    Explicit,
    /// An observed cell is a 1 with a weight, every other a 0.
    Implicit,
}

/// What an observed cell of implicit feedback weighs, and which cells count as unobserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// `w = 1` whatever the value; all cells count as unobserved (Rendle et al. 2021, iALS).
    Rendle,
    /// `w = alpha * |value|`; the other cells count as unobserved (the `implicit` library).
    Implicit,
    /// `w = 1 + alpha * |value|`; the other cells count as unobserved (Spark; Hu, Koren and Volinsky 2008).
    Spark,
}

/// How `reg` is scaled in the row of a user with `n_u` entries (items alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegScaling {
    /// By 1, as the `implicit` library does.
    None,
    /// By `n_u`, as Spark does (ALS-WR, Zhou et al. 2008); of implicit feedback, only entries over 0 count.
    Count,
    /// By `(n_u + unobserved_weight * n_items)^nu` (Rendle et al. 2021, section 3.4).
    Frequency,
}

/// A weighting of the values before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// Values stay as they are.
    None,
    /// `ln(1 + value)`.
    Log,
    /// Okapi BM25, as the `implicit` library's `bm25_weight` with items as documents, K1 = 100 and B = 0.8.
    Bm25,
    /// Term frequency by inverse document frequency, as the `implicit` library's `tfidf_weight`.
    Tfidf,
}

/// The solver of each row's least-squares problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Exactly, by Cholesky factorisation.
    Cholesky,
    /// By preconditioned conjugate gradients (Takács et al. 2011), from the row's current factors down to a relative
    /// residual tolerance: the fastest.
    Cg,
    /// By exact solutions of blocks of the row, one after the other (iALS++, Rendle et al. 2021).
    Subspace,
}

impl AlsConfig {
    /// Returns the defaults for ratings: ALS-WR.
    pub fn explicit() -> Self {
        Self {
            feedback: Feedback::Explicit,
            reg: 0.05,
            reg_scaling: RegScaling::Count,
            // Vectors start with a length of about 1, as in Spark.
            init_std: 1.0,
            ..Self::implicit(Convention::Rendle)
        }
    }

    /// Returns the defaults for implicit feedback in a convention.
    pub fn implicit(convention: Convention) -> Self {
        let (reg, reg_scaling, unobserved_weight) = match convention {
            Convention::Rendle => (0.007, RegScaling::Frequency, 0.3),
            Convention::Implicit => (0.01, RegScaling::None, 1.0),
            Convention::Spark => (0.1, RegScaling::Count, 1.0),
        };
        Self {
            feedback: Feedback::Implicit,
            convention,
            dim: 64,
            reg,
            reg_scaling,
            nu: 1.0,
            alpha: 1.0,
            unobserved_weight,
            weighting: Weighting::None,
            biases: false,
            clip: true,
            nonnegative: false,
            solver: Solver::Cg,
            cg_steps: 10,
            block_size: 32,
            init_std: 0.1,
            recency: Recency::None,
        }
    }

    /// Refuses settings that are out of their range or do not go together.
    ///
    /// # Errors
    /// When there is one; the error names it.
    pub fn validate(&self) -> Result<()> {
        let at_least_1 = [("dim", self.dim), ("cg_steps", self.cg_steps), ("block_size", self.block_size)];
        if let Some((key, found)) = at_least_1.into_iter().find(|&(_, found)| found == 0) {
            return Err(Error::config(key, found, "at least 1"));
        }
        if self.dim > MAX_DIM {
            return Err(Error::config("dim", self.dim, format!("at most {MAX_DIM}")));
        }
        let not_negative = [
            ("reg", self.reg),
            ("nu", self.nu),
            ("alpha", self.alpha),
            ("unobserved_weight", self.unobserved_weight),
            ("init_std", self.init_std),
        ];
        if let Some((key, found)) = not_negative.into_iter().find(|(_, x)| !(x.is_finite() && *x >= 0.0)) {
            return Err(Error::config(key, found, "a finite number of at least 0"));
        }
        if self.biases && (self.feedback != Feedback::Explicit || self.nonnegative) {
            let expected = "false, or feedback = \"explicit\" without nonnegative";
            return Err(Error::config("biases", self.biases, expected));
        }
        let values_count = self.feedback == Feedback::Implicit && self.convention != Convention::Rendle;
        if self.weighting != Weighting::None && !values_count {
            let found = format!("{:?}", self.weighting).to_lowercase();
            let expected = "none, or implicit feedback with convention \"implicit\" or \"spark\": elsewhere values are no weights";
            return Err(Error::config("weighting", found, expected));
        }
        self.recency.validate()
    }

    /// Returns the length of a user's or an item's vector while it is learned: `dim`, and one more with `biases`.
    pub fn width(&self) -> usize {
        self.dim + usize::from(self.biases)
    }

    /// Returns `reg_u` of [`super`], which is `reg` with its scaling, for a row with `n` entries that count, out of
    /// `n_fixed` possible ones.
    pub fn row_reg(&self, n: usize, n_fixed: usize) -> f32 {
        match self.reg_scaling {
            RegScaling::None => self.reg,
            RegScaling::Count => self.reg * n as f32,
            RegScaling::Frequency => {
                let unobserved = match self.feedback {
                    Feedback::Explicit => 0.0,
                    Feedback::Implicit => self.unobserved_weight * n_fixed as f32,
                };
                self.reg * (n as f32 + unobserved).powf(self.nu)
            }
        }
    }
}

/// The largest `dim`: the work for a row grows with its square, and beyond this length f32 is not precise enough.
const MAX_DIM: usize = 4096;

impl Default for AlsConfig {
    fn default() -> Self {
        Self::implicit(Convention::Rendle)
    }
}

/// The settings as a file gives them: every key may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    feedback: Option<Feedback>,
    convention: Option<Convention>,
    dim: Option<usize>,
    reg: Option<f32>,
    reg_scaling: Option<RegScaling>,
    nu: Option<f32>,
    alpha: Option<f32>,
    unobserved_weight: Option<f32>,
    weighting: Option<Weighting>,
    biases: Option<bool>,
    clip: Option<bool>,
    nonnegative: Option<bool>,
    solver: Option<Solver>,
    cg_steps: Option<usize>,
    block_size: Option<usize>,
    init_std: Option<f32>,
    recency: Option<Recency>,
}

impl From<Given> for AlsConfig {
    fn from(given: Given) -> Self {
        let convention = given.convention.unwrap_or(Convention::Rendle);
        let default = match given.feedback.unwrap_or(Feedback::Implicit) {
            Feedback::Explicit => Self { convention, ..Self::explicit() },
            Feedback::Implicit => Self::implicit(convention),
        };
        Self {
            feedback: default.feedback,
            convention,
            dim: given.dim.unwrap_or(default.dim),
            reg: given.reg.unwrap_or(default.reg),
            reg_scaling: given.reg_scaling.unwrap_or(default.reg_scaling),
            nu: given.nu.unwrap_or(default.nu),
            alpha: given.alpha.unwrap_or(default.alpha),
            unobserved_weight: given.unobserved_weight.unwrap_or(default.unobserved_weight),
            weighting: given.weighting.unwrap_or(default.weighting),
            biases: given.biases.unwrap_or(default.biases),
            clip: given.clip.unwrap_or(default.clip),
            nonnegative: given.nonnegative.unwrap_or(default.nonnegative),
            solver: given.solver.unwrap_or(default.solver),
            cg_steps: given.cg_steps.unwrap_or(default.cg_steps),
            block_size: given.block_size.unwrap_or(default.block_size),
            init_std: given.init_std.unwrap_or(default.init_std),
            recency: given.recency.unwrap_or(default.recency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<AlsConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_convention_brings_its_defaults_and_given_keys_win() {
        assert_eq!(of("").unwrap(), AlsConfig::default());
        let implicit = of("convention = \"implicit\"\nreg = 0.5").unwrap();
        assert_eq!(implicit, AlsConfig { reg: 0.5, ..AlsConfig::implicit(Convention::Implicit) });
        assert_eq!((implicit.unobserved_weight, implicit.reg_scaling), (1.0, RegScaling::None));
        assert_eq!(of("feedback = \"explicit\"").unwrap(), AlsConfig::explicit());
        assert_eq!(of("recency = { rows = 6 }").unwrap().recency, Recency::Rows(6.0));
        assert_eq!(of("recency = \"none\"").unwrap(), AlsConfig::default());
        assert!(
            of("recency = { days = 0 }").unwrap().validate().unwrap_err().to_string().contains("found 0")
        );
        let written = toml::to_string(&implicit).unwrap();
        assert_eq!(of(&written).unwrap(), implicit, "the resolved settings say all");
        assert!(of("reg_scale = 1").unwrap_err().to_string().contains("reg_scale"));
    }

    #[test]
    fn regularisers_scale_by_the_book() {
        let with = |reg_scaling, nu| AlsConfig { reg: 0.5, reg_scaling, nu, ..AlsConfig::default() };
        assert_eq!(with(RegScaling::None, 1.0).row_reg(8, 100), 0.5);
        assert_eq!(with(RegScaling::Count, 1.0).row_reg(8, 100), 4.0);
        let expected = 0.5 * (8.0f32 + 0.3 * 100.0).sqrt();
        assert!((with(RegScaling::Frequency, 0.5).row_reg(8, 100) - expected).abs() < 1e-6);
    }
}
