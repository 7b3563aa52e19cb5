//! `ctl`: changes a service while it runs, by its control API, and says who may: by tokens and certificates.

mod api;
mod events;
mod keys;
mod tls;
mod values;

use std::time::Duration;

use anyhow::Result;
use burnrec::serve::http::tokens;
use serde_json::Value;

use crate::cli::{Ctl, CtlAct, Note};
use crate::layers::given;
use crate::show;
use api::Api;
use keys::without_nulls;
use values::{list, shown};

pub fn run(args: Ctl) -> Result<()> {
    match &args.act {
        CtlAct::Token { name, grant } => {
            let token = tokens::issue(&grant.tokens, name, &grant.roles, grant.days)?;
            eprintln!("{name} is in {}; the token is shown this once", grant.tokens.display());
            return Ok(show::say(token)?);
        }
        CtlAct::Certificate { name, of, grant } => {
            tokens::grant(&grant.tokens, name, of, &grant.roles, grant.days)?;
            return Ok(show::say(format!("{name} is in {}", grant.tokens.display()))?);
        }
        CtlAct::Revoke { name, tokens } => {
            tokens::revoke(tokens, name)?;
            return Ok(show::say(format!("{name} is no more in {}", tokens.display()))?);
        }
        _ => {}
    }
    let api = Api::new(&args)?;
    let (answer, print): (Value, fn(&Value) -> Result<()>) = match &args.act {
        CtlAct::Status => (api.get("status", &[])?, print_status),
        CtlAct::Config { version } => {
            let query: Vec<_> = version.iter().map(|version| ("version", version.to_string())).collect();
            (without_nulls(api.get("config", &query)?), print_config)
        }
        CtlAct::Versions => (api.get("versions", &[])?, print_versions),
        CtlAct::Diff { from, to } => {
            let ends = [("from", from), ("to", to)].into_iter();
            let query: Vec<_> = ends.filter_map(|(key, of)| Some((key, (*of)?.to_string()))).collect();
            (api.get("diff", &query)?, print_changes)
        }
        CtlAct::Set { keys, wish } => (api.set(keys, wish)?, print_changes),
        CtlAct::Put { config, settings, wish } => {
            let text = toml::to_string(&given(&settings.set)?.table(config)?)?;
            (api.put("application/toml", &text, None, wish)?, print_changes)
        }
        CtlAct::Rollback { version, note } => {
            let to = version.iter().map(|to| ("to", to.to_string()));
            (api.post("rollback", to.collect(), note)?, print_changes)
        }
        CtlAct::Pause { note } => (api.post("pause", Vec::new(), note)?, print_changes),
        CtlAct::Resume { note } => (api.post("resume", Vec::new(), note)?, print_changes),
        CtlAct::Drain { note, wait } => {
            let answer = api.post("drain", Vec::new(), note)?;
            api.wait_for_drain(Duration::from_secs(*wait))?;
            (answer, print_changes)
        }
        CtlAct::Reload => (api.post("reload", Vec::new(), &Note { note: String::new() })?, print_taken),
        CtlAct::Events(wanted) => (api.get("events", &wanted.query())?, events::print_events),
        CtlAct::Event { source } => (api.get(&format!("events/{source}"), &[])?, print_whole),
        CtlAct::Replay(again) => (api.replay(again)?, events::print_replays),
        CtlAct::Replays => (api.get("replays", &[])?, events::print_replays),
        CtlAct::Audit { last } => (api.get("audit", &[("last", last.to_string())])?, print_audit),
        CtlAct::Token { .. } | CtlAct::Certificate { .. } | CtlAct::Revoke { .. } => {
            unreachable!("they call nothing, and are done above")
        }
    };
    if args.json { Ok(show::say(answer)?) } else { print(&answer) }
}

fn print_config(config: &Value) -> Result<()> {
    Ok(show::say(toml::to_string(config)?.trim_end())?)
}

fn print_changes(answer: &Value) -> Result<()> {
    let changes = list(&answer["changes"]);
    if let Some(version) = answer["version"].as_u64() {
        let none = if changes.is_empty() { ": nothing changes" } else { "" };
        show::say(format!("version {version}{none}"))?;
    }
    for change in changes {
        let (field, from, to) = (shown(&change["field"]), shown(&change["from"]), shown(&change["to"]));
        show::say(format!("{field}: {from} -> {to}"))?;
    }
    Ok(())
}

fn print_whole(answer: &Value) -> Result<()> {
    Ok(show::say(serde_json::to_string_pretty(answer)?)?)
}

fn print_taken(answer: &Value) -> Result<()> {
    let taken: Vec<String> = list(&answer["taken"]).iter().map(shown).collect();
    let which = if taken.is_empty() { "none".to_owned() } else { taken.join(", ") };
    Ok(show::say(format!("new models: {which}"))?)
}

fn print_versions(answer: &Value) -> Result<()> {
    let row = |of: &Value| {
        let changes: Vec<String> =
            list(&of["changes"]).iter().map(|change| shown(&change["field"])).collect();
        let mark = if of["answers"] == true { "answers" } else { "" };
        let cells = ["version", "at", "by", "act"].map(|key| shown(&of[key]));
        cells.into_iter().chain([mark.to_owned(), changes.join(" "), shown(&of["note"])]).collect()
    };
    let rows: Vec<Vec<String>> = list(answer).iter().map(row).collect();
    let head = ["version", "at", "by", "act", "", "changes", "note"];
    Ok(show::table(&mut std::io::stdout().lock(), &head, &rows)?)
}

fn print_audit(answer: &Value) -> Result<()> {
    let keys = ["at", "by", "kind", "status", "call", "text"];
    let row = |of: &Value| keys.map(|key| shown(&of[key])).to_vec();
    let rows: Vec<Vec<String>> = list(answer).iter().map(row).collect();
    Ok(show::table(&mut std::io::stdout().lock(), &["at", "by", "kind", "status", "call", "what"], &rows)?)
}

fn print_status(status: &Value) -> Result<()> {
    let (version, newest) = (&status["version"], &status["newest"]);
    let behind = if version == newest { String::new() } else { format!(", and {newest} is the newest") };
    let drained = if status["drained"] == true { ", drained" } else { "" };
    show::say(format!("version {version} answers{behind}; {}{drained}", shown(&status["run"])))?;
    if let Some(trouble) = status["trouble"].as_str() {
        show::say(trouble)?;
    }
    for (of, trouble) in status["access"].as_object().into_iter().flatten() {
        show::say(format!("{of}: {}", shown(trouble)))?;
    }
    for of in list(&status["models"]) {
        let [model, version, hash, replies] =
            ["model", "version", "hash", "replies"].map(|key| shown(&of[key]));
        show::say(format!("model {model}: {version}@{hash}, {replies} replies"))?;
    }
    for of in list(&status["routes"]) {
        let shares = of["models"].as_object().into_iter().flatten();
        let shares: Vec<String> = shares
            .map(|(name, share)| format!("{name} {:.1} %", 100.0 * share.as_f64().unwrap_or(0.0)))
            .collect();
        let shares = if shares.is_empty() { "refused".to_owned() } else { shares.join(", ") };
        show::say(format!("route {}: {shares}", shown(&of["route"])))?;
    }
    for of in list(&status["tenants"]) {
        let ended = of["ended"].as_object().into_iter().flatten();
        let ended: Vec<String> = ended.map(|(end, n)| format!("{n} {end}")).collect();
        show::say(format!(
            "tenant {}: {} events, {} throttled, {} wait; {}",
            shown(&of["tenant"]),
            of["events"],
            of["throttled"],
            of["waiting"],
            if ended.is_empty() { "none ended".to_owned() } else { ended.join(", ") }
        ))?;
    }
    for (name, of) in status["instances"].as_object().into_iter().flatten() {
        let trouble = of["trouble"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
        show::say(format!("instance {name}: version {}{trouble}", of["version"]))?;
    }
    Ok(())
}
