//! `burnrec ctl` with client certificates, and with tokens of an OpenID Connect provider.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::kafka::Serving;
use common::{Folder, burnrec, free_address, trained};
use serde_json::Value;

/// Runs `openssl` in a folder.
fn openssl(folder: &Folder, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder.path("")).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    let ran = child.wait_with_output().expect("it ends");
    assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

fn base64(folder: &Folder, bytes: &[u8]) -> String {
    let text = String::from_utf8(openssl(folder, "base64 -A", bytes)).expect("ASCII");
    text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

/// Signs a certificate, or makes a CA.
fn certificate(folder: &Folder, name: &str, more: &str) {
    let of = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 1";
    let line = format!("{of} -keyout {name}-key.pem -out {name}.pem -subj /CN={name} {more}");
    openssl(folder, line.trim(), b"");
}

/// Returns a token of the provider whose key is `issuer.pem`.
fn jwt(folder: &Folder, role: &str) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = format!(
        r#"{{"iss":"https://login.example","aud":"burnrec","exp":{},"sub":"anna","roles":["{role}"]}}"#,
        now + 600
    );
    let head = base64(folder, br#"{"alg":"EdDSA","kid":"k"}"#);
    let message = format!("{head}.{}", base64(folder, claims.as_bytes()));
    folder.file("message", &message);
    let signature = openssl(folder, "pkeyutl -sign -rawin -inkey issuer.pem -in message", b"");
    format!("{message}.{}", base64(folder, &signature))
}

#[test]
fn ctl_shows_who_calls_by_a_certificate_or_a_token_of_a_provider() {
    let folder = Folder::new();
    let run = trained(&folder, "--users 50 --items 40 --rows 900", "popularity.toml", "");
    let tokens = folder.path("tokens.toml");
    burnrec("ctl certificate ops CN=ops --role operate --tokens {}", &[&tokens]).ok();
    burnrec("ctl certificate ops OU=ops --role operate --tokens {}", &[&tokens]).fails(&["CN="]);
    certificate(&folder, "ca", "");
    certificate(&folder, "localhost", "-addext subjectAltName=DNS:localhost,IP:127.0.0.1");
    for name in ["ops", "eve"] {
        certificate(&folder, name, "-CA ca.pem -CAkey ca-key.pem");
    }
    openssl(&folder, "genpkey -algorithm ed25519 -out issuer.pem", b"");
    let public = openssl(&folder, "pkey -in issuer.pem -pubout -outform DER", b"");
    let x = base64(&folder, &public[public.len() - 32..]);
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    let jwks = folder.file("jwks.json", jwks);
    let port = free_address().port();
    let at = |name: &str| folder.path(name);
    let config = format!(
        r#"
        models.main.run = {run:?}
        device = "cpu"
        [control]
        dir = {:?}
        [control.http]
        listen = "127.0.0.1:{port}"
        tokens = {tokens:?}
        tls_certificate = {:?}
        tls_key = {:?}
        client_ca = {:?}
        [control.http.oidc]
        issuer = "https://login.example"
        audience = "burnrec"
        jwks = {jwks:?}
        roles = {{ operators = ["operate"] }}
        "#,
        at("control"),
        at("localhost.pem"),
        at("localhost-key.pem"),
        at("ca.pem"),
    );
    let serving = Serving::start(&folder, "ctl", &folder.file("serve.toml", config), &[]);
    serving.ready();

    let ctl = |by: &str, files: &[&Path], act: &str| {
        let trusted = at("localhost.pem");
        let line = format!("{by} ctl --at https://localhost:{port} --ca {{}} {act}");
        // The files of `act` come after the CA.
        let paths: Vec<&Path> = [trusted.as_path()].into_iter().chain(files.iter().copied()).collect();
        burnrec(line.trim(), &paths)
    };
    let own = |name: &str| [at(&format!("{name}.pem")), at(&format!("{name}-key.pem"))];
    let by_certificate = |name: &str, act: &str| {
        let [certificate, key] = own(name);
        ctl("", &[&certificate, &key], &format!("--certificate {{}} --key {{}} {act}"))
    };
    assert_eq!(by_certificate("ops", "--json status").json()["version"], 1);
    by_certificate("ops", "pause").ok();
    by_certificate("ops", "audit").fails(&["certificate ops has the roles operate", "expected admin"]);
    by_certificate("eve", "status").fails(&["a client certificate without an entry"]);
    ctl("", &[], "status").fails(&["no token", "--certificate"]);
    let [certificate, _] = own("ops");
    ctl("", &[&certificate, &tokens], "--certificate {} --key {} status")
        .fails(&["tokens.toml", "BEGIN PRIVATE KEY"]);
    // A service that is signed by nobody who is trusted is told nothing.
    let [certificate, key] = own("ops");
    let line = format!("ctl --at https://localhost:{port} --certificate {{}} --key {{}} --ca {{}} status");
    burnrec(&line, &[&certificate, &key, &at("ca.pem")]).fails(&["no answer"]);

    let token = |role: &str| format!("BURNREC_TOKEN={}", jwt(&folder, role));
    ctl(&token("operators"), &[], "resume").ok();
    ctl(&token("others"), &[], "status").fails(&["oidc anna has the roles none"]);
    ctl("BURNREC_TOKEN=a.b.c", &[], "status").fails(&["the token is refused"]);
    let versions: Value = by_certificate("ops", "--json versions").json();
    let by: Vec<_> = versions.as_array().expect("a list").iter().map(|of| of["by"].as_str()).collect();
    assert_eq!(by, [Some("config file"), Some("ops"), Some("anna")]);
    assert_eq!(serving.stop(), Some(0));
}
