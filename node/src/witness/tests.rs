//! What witnesses answer, right and wrong, and an exchange over a connection that is bounded whatever comes.

use std::time::Duration;

use quorate_core::{
    checkpoint::Checkpoint, hash::sha256, key::CosignerKey, note::SignedNote, position::TreeSize,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    exchange::Exchange,
    message::{Answer, Failure, Said, read, request},
    settings::WitnessSettings,
};

fn key(seed: u8) -> CosignerKey {
    CosignerKey::from_seed("witness.example/w", &[seed; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: "log.example/a".to_owned(), size: TreeSize::new(size), root: sha256(&[b"root"]) }
}

fn line(seed: u8, checkpoint: &Checkpoint) -> String {
    format!("{}\n", key(seed).cosign(checkpoint, 77).unwrap().to_line())
}

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer { status, content_type: content_type.to_owned(), body: body.as_bytes().to_vec() }
}

fn said(status: u16, content_type: &str, body: &str) -> Result<Said, Failure> {
    read(&answer(status, content_type, body), key(1).verifier(), &checkpoint(9))
}

#[test]
fn a_request_is_what_the_specification_says() {
    let mut note = SignedNote::new(checkpoint(9));
    note.add(key(2).cosign(&checkpoint(9), 5).unwrap().to_line());
    let body = request(TreeSize::new(3), &[sha256(&[b"a"]), sha256(&[b"b"])], &note.to_string());
    let (head, rest) = body.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.split('\n').collect();
    assert_eq!(lines[0], "old 3");
    assert_eq!(lines[1], "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=");
    assert_eq!((lines.len(), SignedNote::parse(rest).unwrap()), (3, note));
    assert!(request(TreeSize::ZERO, &[], "note").starts_with("old 0\n\nnote"));
}

#[test]
fn only_a_cosignature_of_what_was_sent_by_the_configured_key_counts() {
    let good = line(1, &checkpoint(9));
    let Ok(Said::Cosigned(signed)) = said(200, "text/plain", &good) else { panic!("a good line") };
    assert_eq!((signed.time, signed.root), (77, checkpoint(9).root));
    let stranger = line(3, &checkpoint(9));
    assert!(
        matches!(said(200, "", &format!("{stranger}{good}")), Ok(Said::Cosigned(_))),
        "after one of a stranger"
    );
    for (what, body) in [
        ("of another size", line(1, &checkpoint(10))),
        ("by another key of the same name", stranger),
        ("without an end", good.trim_end().to_owned()),
        ("nothing", String::new()),
        ("no line", "thanks\n".to_owned()),
        ("a line of another form", good.replace('\u{2014}', "-")),
    ] {
        assert!(matches!(said(200, "text/plain", &body), Err(Failure::BadAnswer(_))), "{what}");
    }
    let mut bent = good.into_bytes();
    let place = bent.len() - 9;
    bent[place] = if bent[place] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    assert!(matches!(said(200, "text/plain", &bent), Err(Failure::BadAnswer(_))));
}

#[test]
fn each_status_is_told_apart() {
    let has = said(409, "text/x.tlog.size", "12\n");
    assert_eq!(has, Ok(Said::Has(TreeSize::new(12))));
    assert_eq!(said(409, "Text/X.Tlog.Size; charset=utf-8", "0\n"), Ok(Said::Has(TreeSize::ZERO)));
    for body in ["12", "012\n", "-1\n", "12\n\n", "x\n", "", "99999999999999999999\n"] {
        assert!(matches!(said(409, "text/x.tlog.size", body), Err(Failure::BadAnswer(_))), "{body:?}");
    }
    let names: Vec<(&str, bool)> = [400, 403, 404, 409, 422, 429, 500, 302, 204]
        .into_iter()
        .map(|status| said(status, "text/plain", "no\n").unwrap_err())
        .map(|failure| (failure.name(), failure.is_passing()))
        .collect();
    let expected = [
        ("bad_request", false),
        ("not_signed", false),
        ("unknown_log", false),
        ("other_root", false),
        ("not_consistent", false),
        ("status", true),
        ("status", true),
        ("status", false),
        ("status", false),
    ];
    assert_eq!(names, expected);
    let words = said(404, "", &format!("a\u{1b}[31m{}", "x".repeat(1_000))).unwrap_err().to_string();
    assert!(!words.contains('\u{1b}') && words.len() < 400, "{words}");
}

/// A server that answers each connection with these bytes and then says nothing more.
async fn server(bytes: Vec<u8>) -> WitnessSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/w/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..n]).into_owned();
            assert!(line.starts_with("POST /w/add-checkpoint HTTP/1.1\r\n"), "{line}");
            stream.write_all(&bytes).await.ok();
            open.push(stream);
        }
    });
    WitnessSettings {
        name: "w".to_owned(),
        url,
        vkey: key(1).verifier().to_string(),
        min_interval_ms: 50,
        timeout_ms: 300,
        authority: None,
    }
}

async fn exchanged(bytes: &[u8]) -> Result<Answer, Failure> {
    let settings = server(bytes.to_vec()).await;
    let mut exchange = Exchange::new(settings.load().unwrap().place);
    tokio::time::timeout(Duration::from_secs(30), exchange.post("old 0\n\n".to_owned())).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_bounded_in_length_and_time() {
    let head = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n";
    let good = exchanged(format!("{head}Content-Length: 3\r\n\r\nno\n").as_bytes()).await;
    assert_eq!(good.unwrap(), answer(404, "text/plain", "no\n"));
    let long = format!("{head}Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    assert!(matches!(exchanged(long.as_bytes()).await, Err(Failure::BadAnswer(_))));
    assert_eq!(exchanged(format!("{head}Content-Length: 9\r\n\r\nno").as_bytes()).await, Err(Failure::Slow));
    assert_eq!(exchanged(b"").await, Err(Failure::Slow));
    let none = exchanged(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await;
    assert!(matches!(none, Err(Failure::Unreachable(_))), "{none:?}");
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(matches!(exchanged(large.as_bytes()).await, Err(Failure::Unreachable(_))));
}

#[tokio::test]
async fn a_witness_behind_tls_has_to_be_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("ca.pem");
    let settings = |authority| WitnessSettings {
        name: "w".to_owned(),
        url: "https://127.0.0.1:1/".to_owned(),
        vkey: key(1).verifier().to_string(),
        min_interval_ms: 50,
        timeout_ms: 300,
        authority: Some(authority),
    };
    let refused = settings(authority.clone()).load().unwrap_err().to_string();
    assert!(refused.contains("witness.authority of \"w\"") && refused.contains("ca.pem"), "{refused}");
    std::fs::write(&authority, "nothing").unwrap();
    let refused = settings(authority.clone()).load().unwrap_err().to_string();
    assert!(refused.contains("no certificate in it"), "{refused}");
    // A server with a certificate of that authority, and one of another.
    let (own, other) = (Tls::new(), Tls::new());
    for (vouched, server) in [(true, &own), (false, &other)] {
        std::fs::write(&authority, &own.authority).unwrap();
        let address = server.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let mut settings = settings(authority.clone());
        settings.url = format!("https://127.0.0.1:{}/", address.port());
        settings.timeout_ms = 20_000;
        let mut exchange = Exchange::new(settings.load().unwrap().place);
        let answered = exchange.post("old 0\n\n".to_owned()).await;
        match vouched {
            true => assert_eq!(answered.unwrap().body, b"ok"),
            false => assert!(matches!(answered, Err(Failure::Unreachable(_))), "{answered:?}"),
        }
    }
}

/// An authority, and a server with a certificate of it.
struct Tls {
    authority: String,
    config: std::sync::Arc<rustls::ServerConfig>,
}

impl Tls {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], der.into())
            .unwrap();
        Self { authority, config: std::sync::Arc::new(config) }
    }

    async fn answers(&self, bytes: &'static [u8]) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::clone(&self.config));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut request = [0; 4096];
                let asked = stream.read(&mut request).await.unwrap_or(0);
                assert!(request[..asked].starts_with(b"POST /add-checkpoint "));
                stream.write_all(bytes).await.ok();
                stream.flush().await.ok();
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        });
        address
    }
}
