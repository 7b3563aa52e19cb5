//! Who is let in: by the token, or without one only clients that no page of another site speaks through.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::reply::error;
use crate::config::HttpConfig;

/// Returns the refusal of a request that is not let in.
///
/// With a token, a request must carry it. Without one, any page that the user's browser has open can send requests here
/// (CSRF), and read the answers once its own name resolves to this address (DNS rebinding). The browser tells both: by
/// the name in `Host`, and by the page's site in `Origin`.
pub(crate) fn refused(headers: &HeaderMap, http: &HttpConfig) -> Option<Response> {
    if let Some(token) = &http.token {
        let text = "no `Authorization: Bearer TOKEN`, or not with the token; expected http.token";
        let mut refusal = error(StatusCode::UNAUTHORIZED, "http", "no-token", text);
        let challenge = header::HeaderValue::from_static("Bearer");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return (!brings(headers, token.reveal())).then_some(refusal);
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

/// Returns whether a request carries the token; the comparison takes the same time for all tokens of one length.
fn brings(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|value| value.split_once(' '));
    bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).is_some_and(|(_, given)| {
        let differ = given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        given.len() == token.len() && differ == 0
    })
}
