//! How settings and metrics are named in MLflow.

use burnrec_train::metrics::Metric;
use serde_json::Value;

/// The most characters of a parameter's value that servers take.
const MOST_CHARS: usize = 6000;

/// Returns the name of a metric in MLflow, which takes no `@`: `ndcg_at_10`, as its own evaluators write it.
pub fn metric_name(metric: Metric) -> String {
    metric.to_string().replace('@', "_at_")
}

/// Returns settings as parameters, names and texts: those in a table by the path of their keys, `early_stopping.patience`.
pub fn params(settings: &Value) -> Vec<(String, String)> {
    let mut params = Vec::new();
    add("", settings, &mut params);
    params
}

fn add(path: &str, value: &Value, params: &mut Vec<(String, String)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add(&path, value, params);
            }
        }
        value if !path.is_empty() => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            params.push((path.to_owned(), text.chars().take(MOST_CHARS).collect()));
        }
        _ => {}
    }
}
