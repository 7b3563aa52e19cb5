//! `ctl`: changes a service while it runs, by its control API, and says who may: by tokens and certificates.

mod events;
mod keys;
mod tls;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use burnrec::serve::http::tokens;
use serde_json::Value;
use ureq::{Agent, Body, RequestBuilder, http};

use crate::agent::agent;
use crate::cli::{Ctl, CtlAct, Note, Wish};
use crate::layers::given;
use crate::show;
use keys::{set, without_nulls};

/// How long a call may take: a change may load models.
const WAIT: Duration = Duration::from_secs(120);

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(200);

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

/// The control API of a service.
struct Api {
    agent: Agent,
    address: String,
    /// The header by which it is shown who calls; none where a certificate does.
    authorization: Option<String>,
}

impl Api {
    fn new(args: &Ctl) -> Result<Self> {
        let is_address = ["http://", "https://"].iter().any(|start| args.at.starts_with(start));
        if !is_address || args.at.contains('@') {
            bail!("--at: found another text, expected an address such as http://127.0.0.1:8081");
        }
        let token = match &args.token_file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => std::env::var("BURNREC_TOKEN").unwrap_or_default(),
        };
        let token = token.trim();
        if token.is_empty() && args.certificate.is_none() {
            bail!(
                "no token: expected one in --token-file or BURNREC_TOKEN, which `burnrec ctl token` makes, or --certificate"
            );
        }
        let authorization = (!token.is_empty()).then(|| format!("Bearer {token}"));
        let address = args.at.trim_end_matches('/').to_owned();
        Ok(Self { agent: agent(WAIT, tls::read(args)?), address, authorization })
    }

    /// Adds who calls to a request.
    fn by<Any>(&self, request: RequestBuilder<Any>) -> RequestBuilder<Any> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn url(&self, call: &str) -> String {
        format!("{}/v1/{call}", self.address)
    }

    fn get(&self, call: &str, query: &[(&str, String)]) -> Result<Value> {
        Ok(self.get_tagged(call, query)?.1)
    }

    /// Returns the version and the value of an answer.
    fn get_tagged(&self, call: &str, query: &[(&str, String)]) -> Result<(Option<String>, Value)> {
        let request = self.by(self.agent.get(self.url(call)));
        let query = query.iter().map(|(key, value)| (*key, value.as_str()));
        self.answer(request.query_pairs(query).call())
    }

    fn post(&self, call: &str, mut query: Vec<(&str, String)>, note: &Note) -> Result<Value> {
        query.push(("note", note.note.clone()));
        let request = self.by(self.agent.post(self.url(call)));
        let query = query.iter().map(|(key, value)| (*key, value.as_str()));
        Ok(self.answer(request.query_pairs(query).send_empty())?.1)
    }

    fn put(&self, kind: &str, text: &str, base: Option<&str>, wish: &Wish) -> Result<Value> {
        let check = wish.check.to_string();
        let query = [("note", wish.note.note.as_str()), ("check", check.as_str())];
        let request = self.by(self.agent.put(self.url("config")));
        let request = request.header("Content-Type", kind).query_pairs(query);
        let request = match base {
            Some(base) => request.header("If-Match", base),
            None => request,
        };
        Ok(self.answer(request.send(text))?.1)
    }

    /// Changes keys of the newest version, if it is still the newest then.
    fn set(&self, keys: &[String], wish: &Wish) -> Result<Value> {
        let (version, config) = self.get_tagged("config", &[])?;
        let mut config = without_nulls(config);
        for setting in keys {
            let (key, text) = setting.split_once('=').with_context(|| {
                format!("{setting}: found no `=`, expected KEY=VALUE, for example flow.batch_events=256")
            })?;
            let path: Vec<&str> = key.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
            set(&mut config, &path, text).with_context(|| key.to_owned())?;
        }
        self.put("application/json", &config.to_string(), version.as_deref(), wish)
    }

    fn wait_for_drain(&self, most: Duration) -> Result<()> {
        let end = Instant::now() + most;
        loop {
            let status = self.get("status", &[])?;
            if status["drained"] == true || most.is_zero() {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!("not drained within {} s; it goes on draining", most.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn answer(&self, answer: Result<http::Response<Body>, ureq::Error>) -> Result<(Option<String>, Value)> {
        let mut answer = answer.with_context(|| format!("no answer from {}", self.address))?;
        let status = answer.status().as_u16();
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let text = answer.body_mut().read_to_string().context("half an answer")?;
        match (status, serde_json::from_str::<Value>(&text)) {
            (200..=299, Ok(value)) => Ok((tag, value)),
            (_, Ok(value)) if value["error"]["message"].is_string() => {
                bail!("{}", value["error"]["message"].as_str().unwrap_or_default())
            }
            _ => bail!("found status {status} at {}, expected the control API of a service", self.address),
        }
    }
}

fn print_config(config: &Value) -> Result<()> {
    Ok(show::say(toml::to_string(config)?.trim_end())?)
}

/// Returns a value as a line shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
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
