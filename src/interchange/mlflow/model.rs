//! A run directory that is a model of MLflow as well.

use std::path::Path;

use burnrec_data::Vocab;
use burnrec_data::write::write_file;
use burnrec_models::Recommender;

use super::super::alone::open_alone;
use crate::Result;

/// Makes a directory that is both a run and a model of MLflow: `mlflow.pyfunc.load_model` opens it with the package `burnrec`
/// installed, scores frames with a column `user` and one `item`, and recommends the parameter `k` best items to the users of a
/// frame without `item`. `dir` may be the run itself, which then gets the files beside its own.
///
/// # Errors
/// When the run cannot be opened, is made of other runs, `dir` holds another one, or a file cannot be written.
pub fn write_mlflow_model(run: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<()> {
    let dir = dir.as_ref();
    let recommender = open_alone(run.as_ref(), dir)?;
    write_file(&dir.join("requirements.txt"), b"burnrec\npandas\n")?;
    let environment = "python: \"3.10\"\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n";
    write_file(&dir.join("python_env.yaml"), environment.as_bytes())?;
    Ok(write_file(&dir.join("MLmodel"), ml_model(&recommender).as_bytes())?)
}

/// Returns the file that tells MLflow who opens the directory, and with which columns it is asked.
fn ml_model(run: &Recommender) -> String {
    let column = |name: &str, vocab: &Vocab, required: bool| {
        let of = if matches!(vocab, Vocab::Int(_)) { "long" } else { "string" };
        format!(r#"{{"name": "{name}", "type": "{of}", "required": {required}}}"#)
    };
    let user = column("user", run.users.vocab(), true);
    let item = column("item", run.items.vocab(), false);
    format!(
        "artifact_path: model\n\
         flavors:\n\
         \x20 python_function:\n\
         \x20   env:\n\
         \x20     virtualenv: python_env.yaml\n\
         \x20   loader_module: burnrec.mlflow\n\
         signature:\n\
         \x20 inputs: '[{user}, {item}]'\n\
         \x20 outputs: null\n\
         \x20 params: '[{{\"name\": \"k\", \"type\": \"long\", \"default\": 10, \"shape\": null}}]'\n"
    )
}
