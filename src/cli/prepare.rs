//! The options of `prepare`.

use std::path::PathBuf;

use burnrec::Duplicates;
use burnrec::data::read::{Format, OnBadRow, Quotes, Separator};
use burnrec::data::split::TimePoint;
use clap::{Args, ValueEnum};

#[derive(Args)]
pub struct Prepare {
    /// A ratings file or a directory with one; for `--format ncf` the common prefix of its files.
    pub ratings: PathBuf,
    /// Directory to save the split into.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub input: Input,
    #[command(flatten)]
    pub cut: FilterAndSplit,
}

#[derive(Args)]
pub struct Input {
    /// What kind of file it is.
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// What to call the data; the directory's name by default.
    #[arg(long)]
    pub name: Option<String>,
    /// Column of the user ids, by name or number from 0.
    #[arg(long, value_name = "COLUMN")]
    pub user_col: Option<String>,
    /// Column of the item ids.
    #[arg(long, value_name = "COLUMN")]
    pub item_col: Option<String>,
    /// Column of the ratings.
    #[arg(long, value_name = "COLUMN")]
    pub value_col: Option<String>,
    /// Column of the times: Unix seconds, milliseconds or finer, or ISO dates.
    #[arg(long, value_name = "COLUMN")]
    pub time_col: Option<String>,
    /// A file of titles; by default the one that the format has beside its ratings.
    #[arg(long, value_name = "FILE")]
    pub titles: Option<PathBuf>,
    /// Column of the titles, in the file of titles.
    #[arg(long, value_name = "COLUMN")]
    pub title_col: Option<String>,
    /// What separates the fields of a text file: ",", ";", "|", tab, blank or "::"; recognised by default.
    #[arg(long, value_name = "SEPARATOR")]
    pub separator: Option<Separator>,
    /// Whether fields may be quoted: auto (with commas and semicolons), on or off.
    #[arg(long, default_value = "auto")]
    pub quotes: Quotes,
    /// What to do with a row that cannot be read: fail, or skip and count it.
    #[arg(long, default_value = "fail")]
    pub on_bad_row: OnBadRow,
}

#[derive(Args)]
pub struct FilterAndSplit {
    /// Of several rows of a user and item keep the last or the first by time, or their sum, mean or max as one row.
    #[arg(long, default_value = "last")]
    pub duplicates: Duplicates,
    /// Rows from this value on are positives: keep them with the value 1, and drop the others.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub positive_from: Option<f32>,
    /// Drop users with fewer rows, again and again until none is left.
    #[arg(long, default_value_t = 1)]
    pub min_user: u32,
    /// Drop items with fewer rows, again and again until none is left.
    #[arg(long, default_value_t = 1)]
    pub min_item: u32,
    /// How to split; leave-one-out by default, or as the files say if they bring their own test.
    #[arg(long)]
    pub split: Option<SplitKind>,
    /// Items drawn to rank each held-out item against; all unseen ones when absent.
    #[arg(long)]
    pub candidates: Option<u32>,
    /// Share of the rows (random), or number of users (user-holdout), for valid.
    #[arg(long)]
    pub valid: Option<f64>,
    /// Share of the rows (random), or number of users (user-holdout), for test.
    #[arg(long)]
    pub test: Option<f64>,
    /// Number of folds (k-fold); 5 by default.
    #[arg(long)]
    pub folds: Option<u32>,
    /// The fold to test on, from 0 (k-fold); 0 by default.
    #[arg(long)]
    pub fold: Option<u32>,
    /// Where train ends (temporal): a share of the rows below 1, a day such as 2001-12-31, or Unix seconds.
    #[arg(long, value_name = "TIME")]
    pub valid_from: Option<TimePoint>,
    /// Where valid ends (temporal), likewise.
    #[arg(long, value_name = "TIME")]
    pub test_from: Option<TimePoint>,
    /// Another seed draws another split.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// How to split.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitKind {
    /// The last row of each user is test, the one before valid.
    LeaveOneOut,
    /// Rows at random.
    Random,
    /// One of several equal parts is test.
    KFold,
    /// By time.
    Temporal,
    /// Whole users: part of their rows is folded in, the rest predicted.
    UserHoldout,
}
