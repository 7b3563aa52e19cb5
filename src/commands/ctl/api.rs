//! The calls of the control API.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::{Agent, Body, RequestBuilder, http};

use super::keys::{set, without_nulls};
use super::tls;
use crate::agent::agent;
use crate::cli::{Ctl, Note, Wish};

/// How long a call may take: a change may load models.
const WAIT: Duration = Duration::from_secs(120);

/// How often a drain is looked at.
pub const LOOK: Duration = Duration::from_millis(200);

/// The control API of a service.
pub struct Api {
    agent: Agent,
    address: String,
    /// The header by which it is shown who calls; none where a certificate does.
    authorization: Option<String>,
}

impl Api {
    pub fn new(args: &Ctl) -> Result<Self> {
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

    pub fn get(&self, call: &str, query: &[(&str, String)]) -> Result<Value> {
        Ok(self.get_tagged(call, query)?.1)
    }

    /// Returns the version and the value of an answer.
    fn get_tagged(&self, call: &str, query: &[(&str, String)]) -> Result<(Option<String>, Value)> {
        let request = self.by(self.agent.get(self.url(call)));
        let query = query.iter().map(|(key, value)| (*key, value.as_str()));
        self.answer(request.query_pairs(query).call())
    }

    pub fn post(&self, call: &str, mut query: Vec<(&str, String)>, note: &Note) -> Result<Value> {
        query.push(("note", note.note.clone()));
        let request = self.by(self.agent.post(self.url(call)));
        let query = query.iter().map(|(key, value)| (*key, value.as_str()));
        Ok(self.answer(request.query_pairs(query).send_empty())?.1)
    }

    pub fn put(&self, kind: &str, text: &str, base: Option<&str>, wish: &Wish) -> Result<Value> {
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
    pub fn set(&self, keys: &[String], wish: &Wish) -> Result<Value> {
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

    pub fn wait_for_drain(&self, most: Duration) -> Result<()> {
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
