//! Who is let in: by a named token and its roles, by the one token, or without any only clients that no page of another site
//! speaks through.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::reply::error;
use super::tokens::{Bearer, Role, Tokens};
use crate::Result;
use crate::config::HttpConfig;

/// A request that is not let in.
pub(crate) struct NotAdmitted {
    /// What is answered.
    pub refusal: Response,
    /// Whose it is, if that is known.
    pub by: Option<Arc<Bearer>>,
}

/// The door of a listener.
pub(crate) struct Access {
    http: HttpConfig,
    tokens: Option<Tokens>,
}

impl Access {
    /// Reads the tokens that a config names.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(http: &HttpConfig) -> Result<Self> {
        let tokens = http.tokens.as_deref().map(Tokens::open).transpose()?;
        Ok(Self { http: http.clone(), tokens })
    }

    /// Returns why the file of tokens is not taken up as it stands.
    pub fn trouble(&self) -> Option<String> {
        self.tokens.as_ref()?.trouble()
    }

    /// Returns who sends a request, where tokens have names; nobody is refused for a role that is not asked for by name.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn admit(&self, headers: &HeaderMap, asked: Role) -> Result<Option<Arc<Bearer>>, Box<NotAdmitted>> {
        let Some(tokens) = &self.tokens else {
            return match refused(headers, &self.http) {
                Some(refusal) => Err(Box::new(NotAdmitted { refusal, by: None })),
                None => Ok(None),
            };
        };
        let Some(bearer) = brought(headers).and_then(|token| tokens.bearer(token)) else {
            let text = "no `Authorization: Bearer TOKEN`, or with a token that is not known or has expired";
            return Err(Box::new(NotAdmitted { refusal: unauthorized(text), by: None }));
        };
        match bearer.may(asked) {
            true => Ok(Some(bearer)),
            false => {
                let text = format!(
                    "the token {} has the roles {}; expected {}",
                    bearer.name,
                    bearer.roles(),
                    asked.name()
                );
                let refusal = error(StatusCode::FORBIDDEN, "http", "no-role", &text);
                Err(Box::new(NotAdmitted { refusal, by: Some(bearer) }))
            }
        }
    }
}

/// Returns the refusal of a request that is not let in.
///
/// With a token, a request must carry it. Without one, any page that the user's browser has open can send requests here
/// (CSRF), and read the answers once its own name resolves to this address (DNS rebinding). The browser tells both: by
/// the name in `Host`, and by the page's site in `Origin`.
fn refused(headers: &HeaderMap, http: &HttpConfig) -> Option<Response> {
    if let Some(token) = &http.token {
        let text = "no `Authorization: Bearer TOKEN`, or not with the token; expected http.token";
        return (!brings(headers, token.reveal())).then(|| unauthorized(text));
    }
    let forbidden = |reason, text: &str| Some(error(StatusCode::FORBIDDEN, "http", reason, text));
    // A certificate keeps out names that are not its own, and listeners beside loopback have one.
    let is_known = |host: &str| http.tls_certificate.is_some() || is_loopback(host) || is_named(host, http);
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    if !texts(header::HOST).all(|host| name_of(host).is_some_and(|name| is_known(&name))) {
        return forbidden(
            "other-host",
            "a Host that is not this one; expected a loopback name or one of http.hosts",
        );
    }
    let host = texts(header::HOST).next().unwrap_or_default();
    let is_own = |origin: &str| {
        let of = origin.split_once("://").map_or("", |(_, of)| of);
        !of.is_empty()
            && (of.eq_ignore_ascii_case(host) || name_of(of).is_some_and(|name| is_named(&name, http)))
    };
    if !texts(header::ORIGIN).all(is_own) {
        return forbidden("other-origin", "the Origin of another site; expected the service's own, or none");
    }
    None
}

/// Returns the name in `name:port`.
fn name_of(host: &str) -> Option<String> {
    host.parse::<Authority>().ok().map(|host| host.host().to_ascii_lowercase())
}

fn is_loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn is_named(name: &str, http: &HttpConfig) -> bool {
    http.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn unauthorized(text: &str) -> Response {
    let mut refusal = error(StatusCode::UNAUTHORIZED, "http", "no-token", text);
    let challenge = header::HeaderValue::from_static("Bearer");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    refusal
}

/// Returns the token that a request carries.
fn brought(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Returns whether a request carries the token; the comparison takes the same time for all tokens of one length.
fn brings(headers: &HeaderMap, token: &str) -> bool {
    brought(headers).is_some_and(|given| {
        let differ = given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        given.len() == token.len() && differ == 0
    })
}
