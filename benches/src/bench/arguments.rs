//! The settings among the arguments of a peer's script, which a search reads and replaces.

use burnrec_data::Error as DataError;
use burnrec_train::Result;
use toml::Table;

/// Returns the values of the searched settings among a script's arguments: `reg` is the word after `--reg`.
///
/// # Errors
/// When an argument of the space is not there.
pub fn stands(args: &[String], space: &Table) -> Result<Table> {
    let value = |key: &String| {
        let at = args.iter().position(|word| *word == format!("--{key}"));
        let word = at.and_then(|at| args.get(at + 1)).ok_or_else(|| {
            let found = format!("no --{key} in {}", args.join(" "));
            DataError::setting(key, found, "an argument of the script, with its value")
        })?;
        let whole = word.parse().map(toml::Value::Integer).ok();
        let value = whole.or_else(|| word.parse().map(toml::Value::Float).ok());
        Ok((key.clone(), value.unwrap_or_else(|| toml::Value::String(word.clone()))))
    };
    space.keys().map(value).collect()
}

/// Returns a script's arguments with other values of some.
pub fn with(args: &[String], settings: &Table) -> Vec<String> {
    let mut args = args.to_vec();
    for (key, value) in settings {
        if let Some(at) = args.iter().position(|word| *word == format!("--{key}")) {
            args[at + 1] = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searched_arguments_are_the_words_after_their_names() {
        let args = ["--dim", "256", "--reg", "0.5", "--way", "a"].map(str::to_owned);
        let space: Table = toml::from_str("reg = [1.0]\nway = ['b']").expect("TOML");
        let found = stands(&args, &space).expect("they are there");
        assert_eq!(found, toml::from_str("reg = 0.5\nway = 'a'").expect("TOML"));
        assert_eq!(with(&args, &found), args);
        let other = toml::from_str("reg = 2\nway = 'b'").expect("TOML");
        assert_eq!(with(&args, &other), ["--dim", "256", "--reg", "2", "--way", "b"]);
        let error =
            stands(&args, &toml::from_str("alpha = [1]").expect("TOML")).expect_err("not there").to_string();
        assert!(error.contains("no --alpha in --dim 256"), "{error}");
    }
}
