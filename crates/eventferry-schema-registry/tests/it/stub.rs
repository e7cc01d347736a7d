//! A registry of a test's own: it answers what the test has told it to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventferry_schema_registry::{Registry, RegistryConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::authority::Authority;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Such as `GET /subjects/t-value/versions/latest`.
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: String::new(), body: body.to_string() }
    }

    /// An answer that is no JSON.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: String::new(), body: body.to_owned() }
    }

    /// A registry's refusal.
    pub(crate) fn refusal(status: u16, code: u32) -> Self {
        Self::new(status, json!({ "error_code": code, "message": "sesame" }))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    asked: Vec<Asked>,
    /// Connections are closed without an answer.
    away: bool,
    /// Whoever logs in otherwise is answered with 401.
    login: Option<String>,
}

/// A server that answers until the test ends.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Stub {
    pub(crate) fn start() -> Self {
        Self::open("http://127.0.0.1", |stream, answer| answer(&mut &stream))
    }

    /// The same behind TLS, as `localhost`, for whoever has a certificate of this authority's.
    pub(crate) fn start_tls(authority: &Authority) -> Self {
        let [key, certificate] = authority.sign("localhost");
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::open("https://localhost", move |stream, answer| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(&mut StreamOwned::new(connection, stream))
        })
    }

    fn open(
        place: &str,
        carry: impl Fn(TcpStream, &dyn Fn(&mut dyn ReadWrite) -> std::io::Result<()>) -> std::io::Result<()>
        + Send
        + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{place}:{}", listener.local_addr().unwrap().port());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if !shared.lock().unwrap().away {
                    // A client that hangs up is its own test's affair.
                    drop(carry(stream, &|stream| answer(stream, &shared)));
                }
            }
        });
        Self { url, state }
    }

    /// Answers this line so from now on.
    pub(crate) fn reply(&self, line: &str, reply: Reply) -> &Self {
        self.state.lock().unwrap().replies.insert(line.to_owned(), reply);
        self
    }

    /// Has this schema as the latest version of a subject, with an id and a GUID that is made of it.
    pub(crate) fn latest(&self, subject: &str, id: u32, schema_type: &str, schema: &str) -> &Self {
        let body = json!({ "subject": subject, "id": id, "guid": guid(id), "version": 1, "schemaType": schema_type,
            "schema": schema });
        self.reply(&format!("GET /subjects/{subject}/versions/latest"), Reply::new(200, body.clone()));
        self.reply(&format!("GET /schemas/ids/{id}"), Reply::new(200, body.clone()));
        self.reply(&format!("GET /schemas/guids/{}", guid(id)), Reply::new(200, body))
    }

    /// Goes away, or comes back.
    pub(crate) fn away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    /// Answers only who logs in so.
    pub(crate) fn wants(&self, login: &str) {
        self.state.lock().unwrap().login = Some(login.to_owned());
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The lines that were asked.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    pub(crate) fn config(&self) -> RegistryConfig {
        RegistryConfig::new([&self.url]).unwrap().timeout(Duration::from_secs(20))
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(self.config())
    }
}

/// The GUID of this id.
pub(crate) fn guid(id: u32) -> String {
    format!("00112233-4455-6677-8899-aabb{id:08x}")
}

/// A connection, with TLS or without.
trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn answer(stream: &mut dyn ReadWrite, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let (mut head, mut length, mut authorization) = (String::new(), 0, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => authorization = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let line = head.split(" HTTP/").next().unwrap().to_owned();
    let body = String::from_utf8(body).unwrap();
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { line: line.clone(), authorization: authorization.clone(), body });
        match &state.login {
            Some(login) if Some(login) != authorization.as_ref() => Reply::refusal(401, 401),
            _ => state.replies.get(&line).cloned().unwrap_or(Reply::refusal(404, 40401)),
        }
    };
    let Reply { status, headers, body } = reply;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {headers}Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}
