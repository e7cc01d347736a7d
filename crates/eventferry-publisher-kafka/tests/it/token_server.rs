//! A token endpoint of a test's own: it knows one client, and gives tokens that are not signed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// `base64("ferry:se%2Fsame")`: the client's id and secret, form-encoded.
const LOGIN: &str = "Basic ZmVycnk6c2UlMkZzYW1l";

/// A JWT without a signature, as Kafka's unsecured validator takes it, that ends in so many seconds.
pub(crate) fn jwt(subject: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let (issued, ends) = (now - 60, now + seconds);
    let claims = format!("{{\"sub\":\"{subject}\",\"iat\":{issued},\"exp\":{ends}}}");
    format!("{}.{}.", base64("{\"alg\":\"none\"}"), base64(&claims))
}

/// base64url without padding.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        (0..=chunk.len())
            .for_each(|at| encoded.push(char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])));
    }
    encoded
}

/// Answers until the test ends.
pub(crate) struct TokenServer {
    pub(crate) url: String,
    /// How often it gave a token.
    given: Arc<AtomicUsize>,
}

impl TokenServer {
    /// One whose tokens live for so many seconds.
    pub(crate) fn start(seconds: i64) -> Self {
        Self::open("http://127.0.0.1", seconds, |stream, answer| answer(&mut &stream))
    }

    /// The same behind TLS, as `localhost`, with a certificate and its key from these files.
    pub(crate) fn start_tls(seconds: i64, [key, certificate]: [String; 2]) -> Self {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::open("https://localhost", seconds, move |stream, answer| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            answer(&mut StreamOwned::new(connection, stream))
        })
    }

    fn open(
        place: &str,
        seconds: i64,
        carry: impl Fn(TcpStream, &dyn Fn(&mut dyn ReadWrite) -> std::io::Result<()>) -> std::io::Result<()>
        + Send
        + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{place}:{}/token", listener.local_addr().unwrap().port());
        let given = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&given);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that hangs up is its own test's affair.
                drop(carry(stream, &|stream| answer(stream, seconds, &counted)));
            }
        });
        Self { url, given }
    }

    pub(crate) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

/// A connection, with TLS or without.
trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn answer(stream: &mut dyn ReadWrite, seconds: i64, given: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    let is_known = head.lines().any(|line| {
        line.split_once(": ")
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("authorization") && value == LOGIN)
    });
    let (status, text) = match (is_known, body.as_str()) {
        (true, "grant_type=client_credentials&scope=kafka") => {
            given.fetch_add(1, Ordering::Relaxed);
            ("200 OK", format!("{{\"access_token\":\"{}\",\"expires_in\":{seconds}}}", jwt("ferry", seconds)))
        }
        (true, _) => ("400 Bad Request", "{\"error\":\"invalid_scope\"}".to_owned()),
        (false, _) => ("401 Unauthorized", "{\"error\":\"invalid_client\",\"secret\":\"sesame\"}".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    stream.flush()
}
