//! The command line of `export`, `import` and `--mlflow`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Device, Settings};

#[derive(Args)]
pub struct Export {
    /// A run directory.
    pub run: PathBuf,
    /// What to write.
    #[arg(long, default_value = "factors")]
    pub format: ExportFormat,
    /// What an ONNX graph computes.
    #[arg(long, default_value = "score")]
    pub graph: Graph,
    /// Where to: a directory, or for `onnx` a file. For `mlflow` and `hub` it may be the run itself.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    #[command(flatten)]
    pub device: Device,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// `users.parquet` and `items.parquet`: factors with their ids.
    Factors,
    /// A directory that Spark's `ALSModel.load` opens.
    SparkAls,
    /// A graph of ONNX, opset 17.
    Onnx,
    /// A run that `mlflow.pyfunc.load_model` opens.
    Mlflow,
    /// A run with a model card, for the Hugging Face Hub.
    Hub,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Graph {
    /// Scores of pairs of a user and an item.
    Score,
    /// The best items of users, of a model with factors.
    Topk,
}

#[derive(Args)]
pub struct Import {
    /// A directory that Spark's `ALSModel.save` wrote, or a `PipelineModel` with one.
    pub dir: PathBuf,
    /// The run directory to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The ratings that it was trained on: what users have had is then not recommended again, and items have titles.
    #[arg(long, value_name = "PATH")]
    pub ratings: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
    /// Replace a run that is already there.
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Tracking {
    /// Log to an MLflow tracking server, such as http://127.0.0.1:5000. The token of MLFLOW_TRACKING_TOKEN is sent with it.
    #[arg(long, value_name = "URI")]
    pub mlflow: Option<String>,
    /// The experiment of MLflow, which is created where there is none.
    #[arg(long, value_name = "NAME", default_value = "burnrec", requires = "mlflow")]
    pub experiment: String,
}
