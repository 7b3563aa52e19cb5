//! Tokens of an OpenID Connect provider.

use burnrec_serve::http::tokens::Role;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};

use crate::bench::{Bench, SCORE, START};
use crate::common::try_config;
use crate::issuer::{ISSUER, Key, Provider, base64, claims, jwks, now, signed};
use crate::job_server::Jobs;
use crate::running::request;

/// Returns the key of a listener for the tokens of the provider.
fn settings(listener: &str, jwks: &str) -> String {
    format!(
        "{listener}.oidc = {{ issuer = \"{ISSUER}\", audience = \"burnrec\", jwks = {jwks:?}, roles_claim = \"realm_access.roles\", \
         roles = {{ readers = [\"observe\"], operators = [\"operate\", \"score\"] }} }}\n"
    )
}

fn header(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Starts a service that knows named tokens and those of a provider.
fn started(jwks: &str) -> Bench {
    let mut bench = Bench::new();
    let tokens = format!("http.tokens = {:?}\n", bench.path("tokens.toml"));
    bench.start(START, &format!("{tokens}{}{}", settings("http", jwks), settings("control.http", jwks)));
    bench
}

fn score(bench: &Bench, token: &str) -> (u16, Value) {
    let (status, _, body) = bench.service().ask("POST", "/v1/score", &header(token), SCORE);
    (status, serde_json::from_str(&body).unwrap())
}

fn warning(bench: &Bench, of: &str) -> Option<String> {
    let token = header(bench.token(Role::Observe));
    let (status, _, body) = bench.service().ask("GET", "/health/ready", &token, "");
    assert_eq!(status, 200, "it works: {body}");
    let ready: Value = serde_json::from_str(&body).unwrap();
    ready["warnings"][of].as_str().map(str::to_owned)
}

#[test]
fn a_token_of_a_provider_lets_do_what_its_claim_says() {
    let keys = ["RS256", "PS256", "ES256", "EdDSA"].map(|algorithm| Key::new(algorithm, algorithm));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks(&keys.each_ref())).unwrap();
    let path = path.display().to_string();
    let bench = started(&path);
    for key in &keys {
        let token = key.token(&claims("anna", "operators"));
        for _ in 0..2 {
            assert_eq!(score(&bench, &token).0, 200, "{}", key.id);
        }
        assert_eq!(bench.call_by(&token, "POST", "/v1/pause", "", "").0, 200, "{}", key.id);
        assert_eq!(bench.call_by(&token, "POST", "/v1/resume", "", "").0, 200, "{}", key.id);
        assert_eq!(bench.call_by(&token, "GET", "/v1/audit", "", "").0, 403, "{}", key.id);
    }
    let reader = keys[0].token(&claims("bob", "readers"));
    let nobody = keys[0].token(&claims("eve", "admin"));
    assert_eq!((score(&bench, &reader).0, score(&bench, &nobody).0), (403, 403));
    assert_eq!(bench.call_by(&reader, "GET", "/v1/status", "", "").0, 200);
    assert_eq!(bench.call_by(&reader, "POST", "/v1/pause", "", "").0, 403);
    let (status, refused) = bench.call_by(&nobody, "GET", "/v1/status", "", "");
    assert!(status == 403 && refused.to_string().contains("oidc eve has the roles none"), "{refused}");
    // Named tokens stand beside them.
    assert_eq!(score(&bench, bench.token(Role::Score)).0, 200);
    assert_eq!(score(&bench, "burnrec_nonsense").1["error"]["reason"], "no-token");

    let (_, audit) = bench.call("GET", "/v1/audit?last=1000", "");
    let has = |by: &str, kind: &str, call: &str, status: u16| {
        let is = |line: &Value| {
            line["by"] == by && line["kind"] == kind && line["call"] == call && line["status"] == status
        };
        audit.as_array().unwrap().iter().any(is)
    };
    assert!(
        has("anna", "oidc", "POST /v1/pause", 200) && has("bob", "oidc", "POST /v1/pause", 403),
        "{audit}"
    );
    let metrics = bench.service().ask("GET", "/metrics", &header(&reader), "").2;
    let calls = "burnrec_http_calls_total{kind=\"oidc\",name=\"anna\"} ";
    assert!(metrics.lines().any(|line| line.starts_with(calls)), "{metrics}");
    // The job server knows them, too.
    let jobs = Jobs::start(&bench.path("jobs"), &settings("http", &path));
    let list = |token: &str| {
        let text = request("GET", "/batches", &header(token), "");
        let mut stream = std::net::TcpStream::connect(jobs.address).unwrap();
        std::io::Write::write_all(&mut stream, text.as_bytes()).unwrap();
        crate::running::parts(&std::io::read_to_string(stream).unwrap()).0
    };
    assert_eq!(
        (list(&keys[2].token(&claims("anna", "operators"))), list(&reader), list("x")),
        (200, 403, 401)
    );
}

#[test]
fn a_token_that_is_not_good_is_refused_without_a_word_of_it() {
    let (rsa, ec) = (Key::new("rsa", "RS256"), Key::new("ec", "ES256"));
    let stranger = Key { id: "rsa", ..Key::new("", "RS256") };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks(&[&rsa, &ec])).unwrap();
    let bench = started(&path.display().to_string());
    let good = claims("anna", "operators");
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value,
        }
        claims
    };
    let by_rsa = |header: Value| signed(&header, &good, |message| rsa.signature(message));
    let hs256 = |secret: &[u8]| {
        let key = PKey::hmac(secret).unwrap();
        signed(&json!({ "alg": "HS256", "kid": "rsa" }), &good, |message| {
            Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(message).unwrap()
        })
    };
    let whole = rsa.token(&good);
    let (head, rest) = whole.split_once('.').unwrap();
    let signature = rest.split_once('.').unwrap().1;
    let raised = base64(claims("root", "operators").to_string().as_bytes());
    let ec_der = signed(&json!({ "alg": "ES256", "kid": "ec" }), &good, |message| {
        Signer::new(MessageDigest::sha256(), &ec.key).unwrap().sign_oneshot_to_vec(message).unwrap()
    });
    for (token, why) in [
        (rsa.token(&with("exp", json!(now() - 300))), "it has expired"),
        (rsa.token(&with("nbf", json!(now() + 300))), "not valid yet"),
        (rsa.token(&with("iss", json!("https://login.example/other"))), "another issuer"),
        (rsa.token(&with("aud", json!("other"))), "another audience"),
        (rsa.token(&with("aud", json!([]))), "another audience"),
        (rsa.token(&with("exp", Value::Null)), "lacks one of the claims"),
        (rsa.token(&with("iss", Value::Null)), "lacks one of the claims"),
        (rsa.token(&with("aud", Value::Null)), "lacks one of the claims"),
        (rsa.token(&with("exp", json!("never"))), "claims"),
        (rsa.token(&with("nbf", json!("always"))), "another type"),
        (rsa.token(&with("sub", json!(7))), "found no name"),
        (rsa.token(&with("sub", json!("a\nb"))), "found no name"),
        (rsa.token(&with("sub", json!("x".repeat(300)))), "found no name"),
        (stranger.token(&good), "signature is wrong"),
        (format!("{head}.{raised}.{signature}"), "signature is wrong"),
        (format!("{head}.{}.", rest.split_once('.').unwrap().0), "signature is wrong"),
        (ec_der, "signature is wrong"),
        (by_rsa(json!({ "alg": "none" })), "found no JWT"),
        (signed(&json!({ "alg": "none", "kid": "rsa" }), &good, |_| Vec::new()), "found no JWT"),
        (signed(&json!({ "alg": "None" }), &good, |_| Vec::new()), "found no JWT"),
        (hs256(&rsa.key.public_key_to_pem().unwrap()), "found no JWT"),
        (hs256(&rsa.key.rsa().unwrap().n().to_vec()), "found no JWT"),
        (by_rsa(json!({ "alg": "RS512", "kid": "rsa" })), "found no JWT"),
        // Another algorithm, or another key, than the header's key is for.
        (by_rsa(json!({ "alg": "ES256", "kid": "rsa" })), "no key of the issuer"),
        (by_rsa(json!({ "alg": "RS256", "kid": "ec" })), "no key of the issuer"),
        (by_rsa(json!({ "alg": "EdDSA", "kid": "rsa" })), "no key of the issuer"),
        (by_rsa(json!({ "alg": "PS256", "kid": "rsa" })), "signature is wrong"),
        (by_rsa(json!({ "alg": "RS256", "kid": "unknown" })), "no key of the issuer"),
        (by_rsa(json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false })), "found no JWT"),
        ("a.b.c".to_owned(), "found no JWT"),
        ("x".repeat(20_000), "over the limit"),
    ] {
        let (status, answer) = score(&bench, &token);
        let text = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(
            status == 401 && answer["error"]["reason"] == "bad-token" && text.contains(why),
            "{why}: {answer}"
        );
        let parts = token.split('.').filter(|part| part.len() > 3);
        assert!(parts.into_iter().all(|part| !text.contains(part)) && !text.contains("anna"), "{text}");
        let head = bench.service().ask("GET", "/flow", &header(&token), "").1.to_lowercase();
        assert!(head.contains("www-authenticate: bearer error=\"invalid_token\""), "{head}");
        assert_eq!(bench.call_by(&token, "GET", "/v1/status", "", "").0, 401, "{why}");
    }
    // Clocks may differ by a minute; a token without the id of its key is of the only key for its algorithm.
    assert_eq!(score(&bench, &rsa.token(&with("exp", json!(now() - 30)))).0, 200);
    assert_eq!(score(&bench, &rsa.token(&with("nbf", json!(now() + 30)))).0, 200);
    assert_eq!(score(&bench, &by_rsa(json!({ "alg": "RS256" }))).0, 200);
    assert_eq!(score(&bench, &whole).0, 200);
    // A token that expires is refused although it was known to be good.
    let brief = rsa.token(&with("exp", json!(now() - 52)));
    assert_eq!(score(&bench, &brief).0, 200);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while score(&bench, &brief).0 != 401 {
        assert!(std::time::Instant::now() < end, "it is still let in");
    }
    // A file of keys is read again when it changes; keys that are gone count no more.
    let next = Key::new("next", "EdDSA");
    std::fs::write(&path, jwks(&[&next])).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while score(&bench, &whole).0 != 401 {
        assert!(std::time::Instant::now() < end, "its key is gone, and it is still let in");
    }
    let token = next.token(&good);
    assert_eq!(score(&bench, &token).0, 200);
    std::fs::write(&path, "nonsense").unwrap();
    while warning(&bench, "http.oidc").is_none() || warning(&bench, "control.http.oidc").is_none() {
        assert!(std::time::Instant::now() < end, "a file without keys is not said");
    }
    assert_eq!(score(&bench, &token).0, 200, "the keys before stay in use");
}

#[test]
fn keys_of_an_address_are_fetched_when_they_rotate() {
    let [first, second, third] = ["first", "second", "third"].map(|id| Key::new(id, "EdDSA"));
    let provider = Provider::start(jwks(&[&first]));
    let mut bench = Bench::new();
    let tokens = format!("http.tokens = {:?}\n", bench.path("tokens.toml"));
    bench.start(START, &format!("{tokens}{}", settings("http", &provider.address)));
    let good = claims("anna", "operators");
    let of_first = first.token(&good);
    // It waits for the keys of the start, if they are not there yet.
    assert_eq!(score(&bench, &of_first).0, 200);
    assert_eq!((provider.asked(), warning(&bench, "http.oidc")), (1, None));
    provider.publish(&[&second]);
    assert_eq!(score(&bench, &of_first).0, 200, "nothing tells that it is gone");
    assert_eq!(score(&bench, &second.token(&good)).0, 200);
    assert_eq!((provider.asked(), score(&bench, &of_first).0), (2, 401));
    // Whoever sends tokens of keys that are unknown has them looked for once in 30 s.
    provider.publish(&[&third]);
    for _ in 0..50 {
        assert_eq!(score(&bench, &third.token(&good)).0, 401);
    }
    assert_eq!((provider.asked(), score(&bench, &second.token(&good)).0), (2, 200));

    // An address that does not answer any more leaves the keys as they are, and this is said.
    bench.start(START, &format!("{tokens}{}", settings("http", &provider.address)));
    assert_eq!(score(&bench, &third.token(&good)).0, 200);
    provider.answer.lock().unwrap().clear();
    assert_eq!(score(&bench, &first.token(&good)).0, 401);
    let said = warning(&bench, "http.oidc").expect("a warning");
    assert!(said.contains("the keys before stay in use") && said.contains("503"), "{said}");
    assert_eq!(score(&bench, &third.token(&claims("bob", "operators"))).0, 200);

    // One that never answered keeps nobody else from working.
    bench.start(START, &format!("{tokens}{}", settings("http", &provider.address)));
    assert_eq!(score(&bench, &third.token(&good)).0, 401);
    let said = warning(&bench, "http.oidc").expect("a warning");
    assert!(said.contains("no key is known"), "{said}");
    assert_eq!(score(&bench, bench.token(Role::Score)).0, 200);
}

#[test]
fn a_provider_is_described_whole() {
    let bench = Bench::new();
    let sound = settings("http", "https://login.example/keys");
    for (from, to, field) in [
        ("jwks = \"https", "jwks = \"http", "http.oidc.jwks"),
        ("https://login.example/keys", "nowhere.json", "nowhere.json"),
        (
            "roles = { readers = [\"observe\"], operators = [\"operate\", \"score\"] }",
            "roles = {}",
            "http.oidc.roles",
        ),
        ("[\"observe\"]", "[\"king\"]", "king"),
        ("audience = \"burnrec\"", "audience = \"\"", "http.oidc.audience"),
        ("audience = \"burnrec\"", "audience = \"burnrec\", leeway_s = 9999", "http.oidc.leeway_s"),
        ("http.oidc", "http.token = \"t\"\nhttp.oidc", "http.oidc"),
    ] {
        let text = bench.text(START, &sound.replacen(from, to, 1)).replace("/control", "/another");
        let error = try_config(&text).and_then(|config| burnrec_serve::Service::open(config).map(drop));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
}
