//! MLflow: runs on a tracking server, by its REST API, and saved runs that `mlflow.pyfunc.load_model` opens.
//!
//! Of the API (`/api/2.0/mlflow/`, <https://mlflow.org/docs/latest/rest-api.html>) these are called: `experiments/get-by-name`,
//! `experiments/create`, `runs/create`, `runs/log-batch`, `runs/update`.

mod model;
mod names;
mod run;
mod server;

pub use model::write_mlflow_model;
pub use names::{metric_name, params};
pub use run::{Run, Status, Tracked};
pub use server::{Server, TOKEN};
