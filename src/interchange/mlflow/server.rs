//! A tracking server, and one call of its API.

use std::time::Duration;

use serde_json::Value;
use ureq::{Agent, Body};

use crate::agent::{Certificates, agent};
use crate::{Error, Result};

/// The environment variable that holds the token of a server that asks for one.
pub const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";

/// How long a call may take.
const WAIT: Duration = Duration::from_secs(20);

/// What an error expects where something else answers.
const EXPECTED: &str = "an answer of an MLflow tracking server";

/// An MLflow tracking server.
#[derive(Clone)]
pub struct Server {
    agent: Agent,
    /// The address without a slash at its end.
    address: String,
    /// Never shown.
    token: Option<String>,
}

impl Server {
    /// Names the server at an address, such as `http://127.0.0.1:5000`; `token` is sent as `Authorization: Bearer`. Nothing is
    /// sent yet.
    ///
    /// # Errors
    /// When the address is none of http or https, or has a password in it.
    pub fn new(address: &str, token: Option<String>) -> Result<Self> {
        let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
        let bad = |found: &str, expected: &str| {
            Err(Error::Mlflow { address: "mlflow".into(), found: found.into(), expected: expected.into() })
        };
        match host {
            Some(host) if host.contains('@') => bad(
                "an address with a user's name or a password",
                "an address without; a token goes into MLFLOW_TRACKING_TOKEN",
            ),
            Some(host) if !host.is_empty() => {
                let address = address.trim_end_matches('/').to_owned();
                Ok(Self { agent: agent(WAIT, Certificates::default()), address, token })
            }
            _ => bad(&format!("the address {address:?}"), "one such as http://127.0.0.1:5000"),
        }
    }

    /// Names the server at an address, with the token of `MLFLOW_TRACKING_TOKEN` if that is set.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn from_env(address: &str) -> Result<Self> {
        Self::new(address, std::env::var(TOKEN).ok().filter(|token| !token.is_empty()))
    }

    /// Returns the address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks with GET; `query` is a key and its value.
    pub(super) fn get(&self, call: &str, query: (&str, &str)) -> Result<Value> {
        let request = self.agent.get(self.url(call)).query(query.0, query.1);
        let request = match self.bearer() {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        self.answer(request.call())
    }

    /// Sends an object with POST.
    pub(super) fn post(&self, call: &str, object: &Value) -> Result<Value> {
        let request = self.agent.post(self.url(call)).header("Content-Type", "application/json");
        let request = match self.bearer() {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        self.answer(request.send(object.to_string()))
    }

    fn url(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.address)
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    /// Returns the object of an answer.
    fn answer(&self, answer: Result<ureq::http::Response<Body>, ureq::Error>) -> Result<Value> {
        let mut answer = answer.map_err(|error| {
            let found = match error {
                ureq::Error::HostNotFound => "no host of this name".to_owned(),
                ureq::Error::Timeout(_) => format!("no answer within {} s", WAIT.as_secs()),
                error => format!("no answer: {error}"),
            };
            self.failed(found, EXPECTED)
        })?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| self.failed(format!("half an answer: {error}"), EXPECTED))?;
        let object = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        match (status, object) {
            (200..=299, Some(object)) => Ok(object),
            (401 | 403, _) => {
                let expected = format!("one that lets this run in: {TOKEN} holds the token that is sent");
                Err(self.failed(format!("status {status}"), &expected))
            }
            (_, Some(object)) if object["error_code"].is_string() => {
                let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
                let (code, message) = (text("error_code"), text("message"));
                Err(Error::MlflowRefused { address: self.address.clone(), status, code, message })
            }
            _ => Err(self.failed(format!("status {status} and no object of MLflow"), EXPECTED)),
        }
    }

    pub(super) fn failed(&self, found: impl Into<String>, expected: &str) -> Error {
        Error::Mlflow { address: self.address.clone(), found: found.into(), expected: expected.to_owned() }
    }
}
