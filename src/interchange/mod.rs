//! Runs in the formats of other programs.
//!
//! | function | writes or reads | read by |
//! |---|---|---|
//! | [`write_factors`] | `users.parquet`, `items.parquet` | whatever ranks by dot products |
//! | [`write_spark_als`](spark::write_spark_als), [`import`](spark::import) | a directory of Spark's `ALSModel` | Spark 3.5 to 4.2 |
//! | [`write_onnx`](onnx::write_onnx) | a graph of scores, or of the best items | ONNX runtimes, opset 17 |
//! | [`write_mlflow_model`](mlflow::write_mlflow_model) | a run that is a model of MLflow | `mlflow.pyfunc.load_model`, with the wheel |
//! | [`mlflow::Run`] | a run of an MLflow tracking server, by REST | MLflow 2 and 3 |
//! | [`write_hub`](hub::write_hub) | a run with a model card | the Hugging Face Hub |

mod alone;
mod factors;
pub mod hub;
#[cfg(feature = "mlflow")]
pub mod mlflow;
pub mod onnx;
pub mod spark;

pub use factors::{FactorTable, write_factors};
