//! Attacks on all three listeners for a while: nothing gets through, nothing leaks, nothing grows, and who may ask is answered
//! meanwhile. `BURNREC_HOSTILE_MINUTES=60` goes on for an hour.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use burnrec_serve::http::tokens::{Role, grant, issue, revoke};
use openssl::sign::Signer;
use serde_json::{Value, json};

use crate::bench::{Bench, SCORE, START, filled};
use crate::issuer::{Key, claims, jwks, now, signed};
use crate::job_server::Jobs;
use crate::pki::{Ca, Identity, Says, ask};
use crate::running::{parts, request};

/// At least so many attacks are made; in an hour more than ten thousand.
const AT_LEAST: usize = 600;

/// How many scores there are beside attacks, and then beside requests that are answered, so that it is seen whether attacks cost more.
const TURN: usize = 5_000;

/// Whom an attack is on.
#[derive(Clone, Copy, Debug)]
enum On {
    Service,
    Control,
    Jobs,
}

struct Attack<'a> {
    what: &'static str,
    on: On,
    identity: Option<&'a Identity>,
    text: String,
    /// What may be answered; nothing where the handshake must fail.
    refusals: &'static [u16],
}

/// Returns attacks by tokens that are not good.
fn tokens<'a>(bench: &Bench, key: &Key) -> Vec<Attack<'a>> {
    let path = bench.path("tokens.toml");
    let expired = issue(&path, "expired", &[Role::Admin], Some(0)).unwrap();
    let revoked = issue(&path, "revoked", &[Role::Admin], None).unwrap();
    revoke(&path, "revoked").unwrap();
    let good = claims("eve", "operators");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.token(&claims)
    };
    let stranger = Key { id: key.id, ..Key::new("", "ES256") };
    let public = key.key.public_key_to_pem().unwrap();
    let by_public = |message: &[u8]| {
        let hmac = openssl::pkey::PKey::hmac(&public).unwrap();
        Signer::new(openssl::hash::MessageDigest::sha256(), &hmac)
            .unwrap()
            .sign_oneshot_to_vec(message)
            .unwrap()
    };
    let none = signed(&json!({ "alg": "none" }), &good, |_| Vec::new());
    let confused = signed(&json!({ "alg": "HS256", "kid": key.id }), &good, by_public);
    let (head, tail) = (key.token(&good), key.token(&claims("eve", "admin")));
    let spliced = format!("{}.{}", head.rsplit_once('.').unwrap().0, tail.rsplit_once('.').unwrap().1);
    let admin = bench.token(Role::Admin);
    let all = [
        ("no token", String::new()),
        ("a guess", "burnrec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        ("a part of a token", admin[..admin.len() - 1].to_owned()),
        ("an expired token", expired),
        ("a revoked token", revoked),
        ("an expired JWT", with("exp", json!(now() - 3600))),
        ("a JWT of later", with("nbf", json!(now() + 3600))),
        ("a JWT of another issuer", with("iss", json!("https://evil.example"))),
        ("a JWT for others", with("aud", json!("other"))),
        ("a JWT by another key", stranger.token(&good)),
        ("alg none", none),
        ("the public key as a secret", confused),
        ("a signature of another token", spliced),
    ];
    let calls = [
        (On::Service, "POST", "/v1/score", SCORE),
        (On::Service, "GET", "/metrics", ""),
        (On::Control, "POST", "/v1/pause", ""),
        (On::Control, "GET", "/v1/audit", ""),
        (On::Jobs, "POST", "/batches", r#"{"file":"train"}"#),
    ];
    let attack = |(what, token): &(&'static str, String)| {
        let header = format!("Authorization: Bearer {token}\r\n");
        calls.map(|(on, method, path, body)| Attack {
            what,
            on,
            identity: None,
            text: request(method, path, &header, body),
            refusals: &[401],
        })
    };
    all.iter().flat_map(attack).collect()
}

/// Returns attacks by those who have a role, and not the one that is needed, and by an administrator who asks for what is wrong.
fn calls<'a>(bench: &Bench) -> Vec<Attack<'a>> {
    let by = |what, role: Role, on, method: &str, path: &str, body: &str, refusals| {
        let header =
            format!("Authorization: Bearer {}\r\nContent-Type: application/toml\r\n", bench.token(role));
        Attack { what, on, identity: None, text: request(method, path, &header, &filled(body)), refusals }
    };
    let mut all = Vec::new();
    for (role, on, method, path) in [
        (Role::Score, On::Service, "GET", "/metrics"),
        (Role::Score, On::Control, "GET", "/v1/status"),
        (Role::Score, On::Control, "POST", "/v1/rollback"),
        (Role::Observe, On::Service, "POST", "/v1/score"),
        (Role::Observe, On::Service, "POST", "/-/reload"),
        (Role::Observe, On::Control, "POST", "/v1/drain"),
        (Role::Observe, On::Jobs, "POST", "/batches"),
        (Role::Operate, On::Control, "GET", "/v1/audit"),
    ] {
        all.push(by("a role out of place", role, on, method, path, "", &[403]));
    }
    let passwd = START.replace("RUN", "/etc/passwd");
    all.push(by(
        "a file by a role that names none",
        Role::Operate,
        On::Control,
        "PUT",
        "/v1/config",
        &passwd,
        &[403],
    ));
    let up = START.replace("RUN", "../../../../etc");
    let (long, number) = ("x".repeat(2 << 20), START.to_owned() + "[flow]\nbatch_events = -1\n");
    let bad: [(&'static str, &str, &str, &[u16]); 7] = [
        ("no config", "/v1/config", "{{{", &[422]),
        ("another file", "/v1/config", &passwd, &[422]),
        ("a path upwards", "/v1/config", &up, &[422]),
        ("another number", "/v1/config", &number, &[422]),
        ("what does not change", "/v1/config", "[http]\nlisten = '0.0.0.0:1'\n", &[422]),
        ("too long", "/v1/config", &long, &[413]),
        ("another query", "/v1/config?check=perhaps", START, &[400]),
    ];
    all.extend(
        bad.map(|(what, path, body, refusals)| {
            by(what, Role::Admin, On::Control, "PUT", path, body, refusals)
        }),
    );
    all.push(by("no such version", Role::Admin, On::Control, "POST", "/v1/rollback?to=99", "", &[404]));
    for job in [
        r#"{"file":"serve"}"#,
        r#"{"file":"../../bin/sh","args":["-c","id"]}"#,
        r#"{"file":"train","args":["../../../etc/passwd","--data","x","--out","y"]}"#,
        r#"{"file":"train","args":["/etc/passwd","--data","x","--out","y"]}"#,
        r#"{"file":"train","args":["a.toml","--data=/etc","--out","y"]}"#,
        r#"{"file":"drain","args":["a.toml","--set","kafka.librdkafka.plugin.library.paths=x"]}"#,
        r#"{"file":"drain","args":["a.toml","--out","x/../../y"]}"#,
    ] {
        all.push(by("a job out of place", Role::Admin, On::Jobs, "POST", "/batches", job, &[400]));
    }
    all
}

/// Returns attacks by certificates that are not good, on a service that asks for one.
fn certificates<'a>(identities: &'a [(&'static str, Identity, bool)]) -> impl Iterator<Item = Attack<'a>> {
    let calls = [(On::Service, "POST", "/v1/score", SCORE), (On::Control, "POST", "/v1/pause", "")];
    identities.iter().flat_map(move |(what, identity, is_of_ca)| {
        calls.map(|(on, method, path, body)| Attack {
            what,
            on,
            identity: Some(identity),
            text: request(method, path, "", body),
            refusals: if *is_of_ca { &[401] } else { &[] },
        })
    })
}

/// Ends who may ask, also where an attack gets through.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many scores there were, and in which time.
#[derive(Clone, Copy, Default)]
struct Pace {
    n: usize,
    time: Duration,
}

impl Pace {
    /// Makes requests of somebody else, each by a call, until enough scores were answered beside them.
    fn turn(&mut self, answered: &dyn Fn() -> usize, mut request: impl FnMut()) {
        let (begin, mut n) = (Instant::now(), 0);
        while n < TURN {
            request();
            n += answered();
        }
        self.n += n;
        self.time += begin.elapsed();
    }

    fn per_s(&self) -> f64 {
        self.n as f64 / self.time.as_secs_f64()
    }
}

/// How much memory this process holds, in MiB.
fn mib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

fn plain(at: SocketAddr, text: &str) -> Result<String, String> {
    let mut stream = std::net::TcpStream::connect(at).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // One who is refused early may not read the rest of a long body.
    let sent = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    match answer.is_empty() {
        true => Err(format!("{sent:?} {read:?}")),
        false => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

#[test]
fn attacks_get_nothing_and_hold_up_nobody() {
    let minutes = std::env::var("BURNREC_HOSTILE_MINUTES").ok().and_then(|text| text.parse::<u64>().ok());
    let key = Key::new("k", "ES256");
    let mut open = Bench::new();
    std::fs::write(open.path("jwks.json"), jwks(&[&key])).unwrap();
    let oidc = |listener: &str| {
        format!(
            "{listener}.oidc = {{ issuer = \"https://login.example/acme\", audience = \"burnrec\", jwks = {:?}, \
             roles_claim = \"realm_access.roles\", roles = {{ operators = [\"operate\", \"score\"] }} }}\n",
            open.path("jwks.json")
        )
    };
    let own = format!("http.tokens = {:?}\n", open.path("tokens.toml"));
    let settings = format!("{own}{}{}", oidc("http"), oidc("control.http"));
    let of_jobs = format!("root = {:?}\n{own}{}", open.path("root"), oidc("http"));
    std::fs::create_dir(open.path("root")).unwrap();
    open.start(START, &settings);
    let jobs = Jobs::start(&open.path("jobs"), &of_jobs);

    let (mut guarded, ca, other) = (Bench::new(), Ca::new("acme"), Ca::new("acme"));
    let folder = guarded.path("");
    other.sign(Says { is_for_clients: false, ..Says::cn("localhost") }).write(&folder, "server");
    std::fs::write(folder.join("clients.pem"), ca.certificate.to_pem().unwrap()).unwrap();
    ca.revoke(&folder, &[7], &folder.join("crl.pem"));
    grant(&guarded.path("tokens.toml"), "anna", "CN=anna", &[Role::Admin], None).unwrap();
    let tls = |listener: &str| {
        let at = |name: &str| folder.join(name);
        format!(
            "{listener}.tls_certificate = {:?}\n{listener}.tls_key = {:?}\n{listener}.client_ca = {:?}\n{listener}.client_crl = {:?}\n",
            at("server.pem"),
            at("server-key.pem"),
            at("clients.pem"),
            at("crl.pem")
        )
    };
    let own = format!("http.tokens = {:?}\n", guarded.path("tokens.toml"));
    guarded.start(START, &format!("{own}{}{}", tls("http"), tls("control.http")));
    let anna = Says::cn("anna");
    let (control, may) = (guarded.service().control.unwrap(), ca.sign(anna));
    let identities = [
        ("a certificate of another CA", other.sign(anna), false),
        ("an expired certificate", ca.sign(Says { hours: (-2, -1), ..anna }), false),
        ("a certificate of later", ca.sign(Says { hours: (1, 2), ..anna }), false),
        ("a certificate of a server", ca.sign(Says { is_for_clients: false, ..anna }), false),
        ("a revoked certificate", ca.sign(Says { serial: 7, ..anna }), false),
        ("a certificate without an entry", ca.sign(Says::cn("eve")), true),
    ];

    let attacks: Vec<Attack> =
        tokens(&open, &key).into_iter().chain(calls(&open)).chain(certificates(&identities)).collect();
    let secrets: Vec<String> = open
        .tokens
        .iter()
        .chain(&guarded.tokens)
        .map(|(_, token)| token.clone())
        .chain(["root:".to_owned(), "PRIVATE KEY".to_owned()])
        .collect();
    let is_over = AtomicBool::new(false);
    let (scored, scores) = channel();
    let (begin, mut n, mut first) = (Instant::now(), 0, None);
    let [mut attacked, mut beside_others] = [Pace::default(); 2];
    let (alive, status) = (request("GET", "/health/live", "", ""), request("GET", "/v1/status", "", ""));
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        // Who may ask, on a connection that stays.
        scope.spawn(|| {
            let scored = scored;
            let header =
                format!("Authorization: Bearer {}\r\nConnection: keep-alive\r\n", open.token(Role::Score));
            let text = request("POST", "/v1/score", &header, SCORE).replacen("Connection: close\r\n", "", 1);
            let mut stream = open.service().connect();
            let mut buffer = [0; 4096];
            while !is_over.load(Ordering::Relaxed) {
                stream.write_all(text.as_bytes()).unwrap();
                let read = stream.read(&mut buffer).unwrap();
                let reply = String::from_utf8_lossy(&buffer[..read]);
                assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
                scored.send(()).unwrap();
            }
        });
        let answered = || {
            std::iter::from_fn(|| match scores.try_recv() {
                Err(TryRecvError::Disconnected) => panic!("who may ask is answered no more"),
                score => score.ok(),
            })
            .count()
        };
        while n < AT_LEAST || minutes.is_some_and(|minutes| begin.elapsed().as_secs() < 60 * minutes) {
            let from = n;
            attacked.turn(&answered, || {
                let attack = &attacks[n % attacks.len()];
                let bench = if attack.identity.is_some() { &guarded } else { &open };
                let at = match attack.on {
                    On::Service => bench.service().address,
                    On::Control => bench.service().control.unwrap(),
                    On::Jobs => jobs.address,
                };
                let answer = match attack.identity {
                    Some(_) => ask(at, attack.identity, &attack.text),
                    None => plain(at, &attack.text),
                };
                let is_refused = match &answer {
                    Ok(answer) => attack.refusals.contains(&parts(answer).0),
                    Err(_) => attack.refusals.is_empty(),
                };
                assert!(is_refused, "{} on {:?}: {answer:?}", attack.what, attack.on);
                let answer = answer.unwrap_or_default();
                assert!(secrets.iter().all(|secret| !answer.contains(secret)), "{}: {answer}", attack.what);
                n += 1;
            });
            if n >= AT_LEAST / 2 {
                first = first.or(Some(mib()));
            }
            let mut at = from;
            beside_others.turn(&answered, || {
                let answer = match attacks[at % attacks.len()].identity {
                    Some(_) => ask(control, Some(&may), &status),
                    None => plain(open.service().address, &alive),
                };
                assert_eq!(parts(&answer.unwrap()).0, 200);
                at += 1;
            });
        }
    });
    let pace = attacked.per_s() / beside_others.per_s();
    let (first, last) = (first.unwrap(), mib());
    eprintln!(
        "{n} attacks refused in {:.0?}; scores at {pace:.2} of the pace beside ordinary requests; {first} to {last} MiB",
        begin.elapsed()
    );
    assert!(last < first + 50, "{first} to {last} MiB");
    // All stands as it stood.
    for bench in [&open, &guarded] {
        assert_eq!(bench.service().engine.models.live().settings.version, 1);
    }
    assert_eq!(
        (open.version(), open.call_by(open.token(Role::Score), "GET", "/v1/status", "", "").0),
        (1, 403)
    );
    let (status, list) = {
        let header = format!("Authorization: Bearer {}\r\n", open.token(Role::Admin));
        let (status, _, body) =
            parts(&plain(jobs.address, &request("GET", "/batches", &header, "")).unwrap());
        (status, body)
    };
    assert!(status == 200 && list.contains("\"total\":0"), "{list}");
    let (_, audit) = open.call("GET", "/v1/audit?last=1000", "");
    let mut of_strangers: BTreeMap<&str, usize> = BTreeMap::new();
    for line in audit.as_array().unwrap().iter().filter(|line| line["by"].is_null() && line["status"] == 401)
    {
        *of_strangers.entry(&line["at"].as_str().unwrap()[..16]).or_default() += 1;
    }
    assert!(of_strangers.values().all(|n| *n <= 60), "of a minute 60 are written: {of_strangers:?}");
}
