//! Who is let in: by a named token, a token of an OpenID Connect provider or a client certificate and its roles, by the one
//! token, or without any only clients that no page of another site speaks through.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::Response;

use super::bearer::Bearer;
use super::certificate::Certificate;
use super::oidc::Oidc;
use super::reply::error;
use super::tokens::{PREFIX, Tokens};
use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::config::{HttpConfig, Role};

/// A request that is not let in.
pub(crate) struct NotAdmitted {
    /// What is answered.
    pub refusal: Response,
    /// Whose it is, if that is known.
    pub by: Option<Arc<Bearer>>,
}

impl From<Response> for Box<NotAdmitted> {
    fn from(refusal: Response) -> Self {
        Self::new(NotAdmitted { refusal, by: None })
    }
}

/// The door of a listener.
pub(crate) struct Access {
    http: HttpConfig,
    tokens: Option<Tokens>,
    oidc: Option<Oidc>,
}

impl Access {
    /// Reads the tokens and keys that a config names.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(http: &HttpConfig) -> Result<Self> {
        let tokens = http.tokens.as_deref().map(Tokens::open).transpose()?;
        let oidc = http.oidc.as_ref().map(Oidc::open).transpose()?;
        Ok(Self { http: http.clone(), tokens, oidc })
    }

    /// Returns what is not taken up as it stands, and why, by the keys of the config.
    pub fn troubles(&self) -> BTreeMap<&'static str, String> {
        let tokens = self.tokens.as_ref().and_then(Tokens::trouble).map(|text| ("http.tokens", text));
        let oidc = self.oidc.as_ref().and_then(Oidc::trouble).map(|text| ("http.oidc", text));
        tokens.into_iter().chain(oidc).collect()
    }

    /// Returns who sends a request, where callers have names; nobody is refused for a role that is not asked for by name.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        asked: Role,
    ) -> Result<Option<Arc<Bearer>>, Box<NotAdmitted>> {
        if !self.http.names_callers() {
            return match refused(headers, &self.http) {
                Some(refusal) => Err(refusal.into()),
                None => Ok(None),
            };
        }
        let certificate = extensions.get::<Arc<Certificate>>();
        let bearer = match (brought(headers), certificate) {
            (Some(token), _) => self.of_token(token).await,
            (None, Some(certificate)) => self.of_certificate(certificate, headers),
            (None, None) => Err(unauthorized("no-token", "no `Authorization: Bearer TOKEN`").into()),
        }?;
        if bearer.may(asked) {
            return Ok(Some(bearer));
        }
        let (kind, name, roles) = (bearer.kind.name(), &bearer.name, bearer.roles());
        let text = format!("{kind} {name} has the roles {roles}; expected {}", asked.name());
        let refusal = error(StatusCode::FORBIDDEN, "http", "no-role", &text);
        Err(Box::new(NotAdmitted { refusal, by: Some(bearer) }))
    }

    async fn of_token(&self, token: &str) -> Result<Arc<Bearer>, Box<NotAdmitted>> {
        if let Some(oidc) = self.oidc.as_ref().filter(|_| !token.starts_with(PREFIX)) {
            let found = oidc.bearer(token).await;
            let text = |why| format!("the token is refused: {why}");
            return found.map_err(|why| unauthorized("bad-token", &text(why)).into());
        }
        let found = self.tokens.as_ref().and_then(|tokens| tokens.bearer(token));
        found.ok_or_else(|| unauthorized("no-token", "a token that is not known or has expired").into())
    }

    fn of_certificate(
        &self,
        certificate: &Certificate,
        headers: &HeaderMap,
    ) -> Result<Arc<Bearer>, Box<NotAdmitted>> {
        // A browser shows its certificate whichever page sends the request, and for an image in it too.
        let sites = headers.get_all("sec-fetch-site").iter();
        if sites.into_iter().any(|site| [&b"cross-site"[..], b"same-site"].contains(&site.as_bytes())) {
            let text = "a request that the page of another site has sent; expected one of the service's own";
            return Err(error(StatusCode::FORBIDDEN, "http", "other-origin", text).into());
        }
        if let Some(refusal) = foreign(headers, &self.http) {
            return Err(refusal.into());
        }
        if SystemClock.unix_ms() / 1000 >= certificate.expires {
            return Err(unauthorized("no-token", "a client certificate that has expired").into());
        }
        let found = self.tokens.as_ref().and_then(|tokens| tokens.holder(&certificate.names));
        let text = "a client certificate without an entry in http.tokens";
        found.ok_or_else(|| unauthorized("no-token", text).into())
    }
}

/// Returns the refusal of a request that is not let in, where callers have no names.
fn refused(headers: &HeaderMap, http: &HttpConfig) -> Option<Response> {
    let Some(token) = &http.token else { return foreign(headers, http) };
    let text = "no `Authorization: Bearer TOKEN`, or not with the token; expected http.token";
    (!brings(headers, token.reveal())).then(|| unauthorized("no-token", text))
}

/// Returns the refusal of a request that a page of another site may have sent.
///
/// With a token, a request must carry it. Without one, any page that the user's browser has open can send requests here
/// (CSRF), and read the answers once its own name resolves to this address (DNS rebinding). The browser tells both: by
/// the name in `Host`, and by the page's site in `Origin`.
fn foreign(headers: &HeaderMap, http: &HttpConfig) -> Option<Response> {
    let forbidden = |reason, text: &str| Some(error(StatusCode::FORBIDDEN, "http", reason, text));
    let has_tls = http.tls_certificate.is_some();
    // A certificate keeps out names that are not its own, and listeners beside loopback have one; one for many names does not, so
    // that the names that are meant count where they are given.
    let is_known =
        |host: &str| (has_tls && http.hosts.is_empty()) || is_loopback(host) || is_named(host, http);
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    if !texts(header::HOST).all(|host| name_of(host).is_some_and(|name| is_known(&name))) {
        return forbidden(
            "other-host",
            "a Host that is not this one; expected a loopback name or one of http.hosts",
        );
    }
    let host = texts(header::HOST).next().unwrap_or_default();
    let is_own = |origin: &str| {
        let (scheme, of) = origin.split_once("://").unwrap_or_default();
        !of.is_empty()
            && (!has_tls || scheme == "https")
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

fn unauthorized(reason: &'static str, text: &str) -> Response {
    let mut refusal = error(StatusCode::UNAUTHORIZED, "http", reason, text);
    let challenge = match reason {
        "bad-token" => "Bearer error=\"invalid_token\"",
        _ => "Bearer",
    };
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
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
