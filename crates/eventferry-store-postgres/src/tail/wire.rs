//! A replication connection.
//!
//! A small client of our own on the driver's protocol crate: the store's one configuration reaches it, frames are
//! looked at where they lie in the buffer, and the socket is read only when somebody wants more. A client that hands
//! each message over through a channel is bounded by their number, and a message may have 16 MiB.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use eventferry_core::{StoreFault, StoreFaultKind};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};

use crate::config::PostgresConfig;
use crate::fault;
use crate::tls::{self, Connector, secure};

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}
pub(crate) type Socket = Pin<Box<dyn Duplex>>;

/// How much is read from the socket at once.
const READ_BYTES: usize = 256 << 10;

/// No server sends more at once: its own buffers hold no more.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// A buffer that one large event made larger than this is given back.
const KEEP_BYTES: usize = 4 << 20;

/// How often the server hears of a relay that reads nothing: far below its `wal_sender_timeout`, 60 s by default.
const PULSE: Duration = Duration::from_secs(5);

/// What the server is to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    /// All before is settled; 0: nothing is known, and the server's own place stays.
    settled: u64,
    /// How often an answer was asked for.
    pings: u64,
}

/// A connection on which the server streams.
pub(super) struct Wire {
    reader: ReadHalf<Socket>,
    buffer: Vec<u8>,
    /// Where the next frame begins.
    head: usize,
    last_frame: usize,
    status: watch::Sender<Status>,
}

/// What the server says of itself: cluster, timeline, and which database is connected to.
pub(super) struct Identity {
    pub(super) system_identifier: u64,
    pub(super) timeline: i32,
    pub(super) database: Option<String>,
}

impl Wire {
    /// Connects, says who the server is, and lets it stream from `start` on.
    pub(super) async fn start(
        config: &PostgresConfig,
        slot: &str,
        start: u64,
    ) -> Result<(Self, Identity), StoreFault> {
        within(config, async {
            let (mut raw, identity) = Raw::identified(config).await?;
            let (high, low) = (start >> 32, start & 0xffff_ffff);
            let command = format!(
                "START_REPLICATION SLOT \"{slot}\" LOGICAL {high:X}/{low:X} (proto_version '1', \
                 publication_names 'eventferry', binary 'true', messages 'true')"
            );
            raw.query(&command).await?;
            Ok((raw.stream(), identity))
        })
        .await
    }

    /// Connects, says who the server is, and hangs up.
    pub(super) async fn identify(config: &PostgresConfig) -> Result<Identity, StoreFault> {
        within(config, async {
            let (mut raw, identity) = Raw::identified(config).await?;
            // A farewell: else its place among the senders is free only when the server has noticed.
            raw.say(|out| {
                frontend::terminate(out);
                Ok(())
            })
            .await?;
            Ok(identity)
        })
        .await
    }

    /// A connection on which nothing was said yet.
    #[cfg(test)]
    pub(super) fn over(socket: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Raw { socket: Box::pin(socket), buffer: Vec::new(), head: 0 }.stream()
    }

    /// The next whole frame, of which the buffer has all: its tag, and where it lies.
    pub(super) fn frame(&mut self) -> Result<Option<(u8, Range<usize>)>, StoreFault> {
        let Some((tag, range)) = whole_frame(&self.buffer, self.head)? else { return Ok(None) };
        self.last_frame = self.head;
        self.head = range.end;
        Ok(Some((tag, range)))
    }

    /// The last frame comes once more.
    pub(super) fn put_back(&mut self) {
        self.head = self.last_frame;
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Reads what has come, without waiting; whether there was something.
    pub(super) fn read_now(&mut self) -> Result<bool, StoreFault> {
        self.compact();
        let Self { reader, buffer, .. } = self;
        let mut read = std::pin::pin!(reader.read_buf(buffer));
        match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => ended(read).map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Waits for more.
    pub(super) async fn read(&mut self) -> Result<(), StoreFault> {
        self.compact();
        ended(self.reader.read_buf(&mut self.buffer).await)
    }

    fn compact(&mut self) {
        if self.head == self.buffer.len() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        let rest = self.buffer.len() - self.head;
        self.buffer.copy_within(self.head.., 0);
        self.buffer.truncate(rest);
        (self.head, self.last_frame) = (0, 0);
        self.buffer.reserve(READ_BYTES);
    }

    /// All before this place is settled: the server may forget it.
    pub(super) fn settled(&self, place: u64) {
        self.status.send_if_modified(|status| {
            let moved = place > status.settled;
            status.settled = status.settled.max(place);
            moved
        });
    }

    /// Answers a server that wants to know whether we live.
    pub(super) fn pong(&self) {
        self.status.send_modify(|_| {});
    }

    /// Asks how far the server has come.
    pub(super) fn ping(&self) {
        self.status.send_modify(|status| status.pings += 1);
    }
}

const WHAT: &str = "read the log's tail";

/// Waits for an answer, within the time a call may take.
async fn within<T>(
    config: &PostgresConfig,
    work: impl Future<Output = Result<T, StoreFault>>,
) -> Result<T, StoreFault> {
    let limit = config.call_timeout;
    let unanswered =
        |_| StoreFault::new(StoreFaultKind::Unavailable, format!("{WHAT}: no answer within {limit:?}"));
    tokio::time::timeout(limit, work).await.map_err(unanswered)?
}

fn ended(read: io::Result<usize>) -> Result<(), StoreFault> {
    match read {
        Ok(0) => Err(lost(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(error) => Err(lost(error)),
    }
}

fn lost(error: io::Error) -> StoreFault {
    StoreFault::new(StoreFaultKind::Unavailable, format!("{WHAT}: the connection was lost: {error}"))
        .caused_by(error)
}

/// The connection could not be made safe.
fn insecure(error: io::Error) -> StoreFault {
    let Some((kind, remedy)) = tls::remedy(&error.to_string()) else { return lost(error) };
    StoreFault::new(kind, format!("{WHAT}: {error}; {remedy}")).caused_by(error)
}

fn whole_frame(buffer: &[u8], head: usize) -> Result<Option<(u8, Range<usize>)>, StoreFault> {
    let Some([tag, length @ ..]) = buffer.get(head..).and_then(|rest| rest.first_chunk::<5>()) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        return Err(broken());
    }
    let end = head + 1 + length;
    Ok((end <= buffer.len()).then_some((*tag, head + 5..end)))
}

/// Tells the server, from time to time and when there is news, how far all is settled; ends with the wire.
async fn pulse(mut writer: WriteHalf<Socket>, mut status: watch::Receiver<Status>) {
    let mut pings = 0;
    loop {
        let now = *status.borrow_and_update();
        let mut message = Vec::with_capacity(39);
        message.push(b'd');
        message.extend_from_slice(&38u32.to_be_bytes());
        message.push(b'r');
        for _ in 0..3 {
            message.extend_from_slice(&now.settled.to_be_bytes());
        }
        message.extend_from_slice(&0u64.to_be_bytes());
        message.push(u8::from(now.pings > pings));
        pings = now.pings;
        if writer.write_all(&message).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        if let Ok(Err(_)) = tokio::time::timeout(PULSE, status.changed()).await {
            // A word of farewell, so that the slot is free at once.
            let _ = writer.shutdown().await;
            return;
        }
    }
}

/// Why we are not let in.
struct Refused {
    fault: StoreFault,
    /// By a rule of the server's, which may let us in with TLS, or without; or by TLS, without which we may go on.
    by_rule: bool,
}

impl From<StoreFault> for Refused {
    fn from(fault: StoreFault) -> Self {
        Self { fault, by_rule: false }
    }
}

/// A connection on which we ask and the server answers.
struct Raw {
    socket: Socket,
    buffer: Vec<u8>,
    head: usize,
}

impl Raw {
    async fn connect(config: &PostgresConfig) -> Result<Self, StoreFault> {
        let config = config.replication();
        let driver = config.driver().await?;
        let connector = config.way.tls.connector()?;
        if driver.get_channel_binding() == ChannelBinding::Require && !config.way.tls.is_verified() {
            let message = format!(
                "{WHAT}: channel_binding=require: replication cannot be bound, so the certificate must be verified: \
                 give sslmode=verify-ca or verify-full with sslrootcert"
            );
            return Err(StoreFault::new(StoreFaultKind::Misconfigured, message));
        }
        let mut last =
            StoreFault::new(StoreFaultKind::Misconfigured, format!("{WHAT}: the URL names no host"));
        let (mode, other) = config.way.tls.attempts();
        for place in 0..driver.get_hosts().len().max(driver.get_hostaddrs().len()) {
            for mode in [Some(mode), other].into_iter().flatten() {
                match Self::connect_to(&driver, place, mode, &connector).await {
                    Ok(mut raw) => match raw.is_wanted(&driver).await {
                        Ok(()) => return Ok(raw),
                        Err(fault) => {
                            last = fault;
                            break;
                        }
                    },
                    Err(Refused { fault, by_rule }) => {
                        last = fault;
                        if !by_rule {
                            break;
                        }
                    }
                }
            }
        }
        Err(last)
    }

    /// Connects to one of the hosts.
    async fn connect_to(
        driver: &tokio_postgres::Config,
        place: usize,
        mode: SslMode,
        connector: &Connector,
    ) -> Result<Self, Refused> {
        let ports = driver.get_ports();
        let port = ports.get(place).or_else(|| ports.first()).copied().unwrap_or(5432);
        let (address, host) = (driver.get_hostaddrs().get(place), driver.get_hosts().get(place));
        // The certificate is to name the host, whatever address leads to it.
        let named = match (host, address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            (_, address) => address.map(ToString::to_string).unwrap_or_default(),
        };
        let socket: io::Result<Socket> = match (address, host) {
            (Some(address), _) => tcp((*address, port)).await,
            (None, Some(Host::Tcp(name))) => tcp((name.as_str(), port)).await,
            #[cfg(unix)]
            (None, Some(Host::Unix(folder))) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                let socket = tokio::net::UnixStream::connect(path).await.map_err(lost)?;
                return Self::enter(Box::pin(socket), driver).await;
            }
            (None, None) => Err(io::ErrorKind::NotFound.into()),
        };
        let secured = Box::pin(secure(socket.map_err(lost)?, &named, mode, connector)).await;
        let socket =
            secured.map_err(|error| Refused { fault: insecure(error), by_rule: mode == SslMode::Prefer })?;
        Self::enter(socket, driver).await
    }

    /// Whether this is one of the servers that the URL means: the driver goes by the same option.
    async fn is_wanted(&mut self, driver: &tokio_postgres::Config) -> Result<(), StoreFault> {
        let wanted = match driver.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let row = self.query("SHOW transaction_read_only").await?;
        if row.first().is_some_and(|is| is == wanted) {
            return Ok(());
        }
        let message = format!("{WHAT}: no host of the URL is as its target_session_attrs wants it");
        Err(StoreFault::new(StoreFaultKind::Unavailable, message))
    }

    /// Connects, and asks the server who it is.
    async fn identified(config: &PostgresConfig) -> Result<(Self, Identity), StoreFault> {
        let mut raw = Box::pin(Self::connect(config)).await?;
        let row = raw.query("IDENTIFY_SYSTEM").await?;
        let text = |place: usize| row.get(place).cloned().unwrap_or_default();
        let identity = Identity {
            system_identifier: text(0).parse().unwrap_or(0),
            timeline: text(1).parse().unwrap_or(0),
            database: row.get(3).cloned(),
        };
        Ok((raw, identity))
    }

    /// Says who we are, and proves it.
    async fn enter(socket: Socket, driver: &tokio_postgres::Config) -> Result<Self, Refused> {
        let mut raw = Self { socket, buffer: Vec::new(), head: 0 };
        raw.introduce(driver).await?;
        Ok(raw)
    }

    async fn introduce(&mut self, driver: &tokio_postgres::Config) -> Result<(), Refused> {
        let user = driver.get_user().unwrap_or_default();
        let password = driver.get_password().unwrap_or_default();
        let options = driver.get_options().unwrap_or_default();
        let parameters = [
            ("user", user),
            ("database", driver.get_dbname().unwrap_or(user)),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", driver.get_application_name().unwrap_or("eventferry")),
            ("options", options),
        ];
        self.say(|out| frontend::startup_message(parameters, out)).await?;
        let mut scram = None;
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'E' => {
                    let fault = refusal("connect for replication", &body);
                    return Err(Refused { fault, by_rule: field(&body, b'C') == "28000" });
                }
                b'Z' => return Ok(()),
                b'R' => {}
                _ => continue,
            }
            let (code, data) = body.split_first_chunk::<4>().ok_or_else(broken)?;
            match i32::from_be_bytes(*code) {
                0 => {}
                3 | 5 if driver.get_channel_binding() == ChannelBinding::Require => {
                    let message = format!(
                        "{WHAT}: channel_binding=require, and the server asks for the password itself"
                    );
                    return Err(StoreFault::new(StoreFaultKind::Misconfigured, message).into());
                }
                3 => self.say(|out| frontend::password_message(password, out)).await?,
                5 => {
                    let salt = *data.first_chunk::<4>().ok_or_else(broken)?;
                    let hash = md5_hash(user.as_bytes(), password, salt);
                    self.say(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                10 => {
                    let ours = scram.insert(ScramSha256::new(password, sasl::ChannelBinding::unsupported()));
                    let first = ours.message().to_vec();
                    self.say(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out)).await?;
                }
                11 => {
                    let ours = scram.as_mut().ok_or_else(broken)?;
                    ours.update(data).map_err(wrong_password)?;
                    let next = ours.message().to_vec();
                    self.say(|out| frontend::sasl_response(&next, out)).await?;
                }
                12 => scram.as_mut().ok_or_else(broken)?.finish(data).map_err(wrong_password)?,
                _ => {
                    let message =
                        format!("{WHAT}: the server wants a proof of identity other than a password");
                    return Err(StoreFault::new(StoreFaultKind::Misconfigured, message).into());
                }
            }
        }
    }

    /// Asks, and returns the first row of the answer. A command that makes the server stream has none.
    async fn query(&mut self, query: &str) -> Result<Vec<String>, StoreFault> {
        self.say(|out| frontend::query(query, out)).await?;
        let (mut row, mut refused) = (Vec::new(), None);
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'E' => refused = Some(refusal(WHAT, &body)),
                b'D' if row.is_empty() => row = texts(&body).ok_or_else(broken)?,
                b'W' => return Ok(row),
                b'Z' => return refused.map_or(Ok(row), Err),
                _ => {}
            }
        }
    }

    async fn say(&mut self, message: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), StoreFault> {
        let mut out = BytesMut::new();
        message(&mut out).map_err(lost)?;
        self.socket.write_all(&out).await.map_err(insecure)?;
        self.socket.flush().await.map_err(insecure)
    }

    async fn frame(&mut self) -> Result<(u8, Vec<u8>), StoreFault> {
        loop {
            if let Some((tag, range)) = whole_frame(&self.buffer, self.head)? {
                self.head = range.end;
                return Ok((tag, self.buffer[range].to_vec()));
            }
            let read = self.socket.read_buf(&mut self.buffer).await;
            // TLS 1.3 tells us only now what becomes of our certificate.
            ended(Ok(read.map_err(insecure)?))?;
        }
    }

    fn stream(self) -> Wire {
        let (reader, writer) = tokio::io::split(self.socket);
        let (status, told) = watch::channel(Status::default());
        tokio::spawn(pulse(writer, told));
        Wire { reader, buffer: self.buffer, head: self.head, last_frame: self.head, status }
    }
}

async fn tcp(address: impl tokio::net::ToSocketAddrs) -> io::Result<Socket> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Box::pin(socket))
}

/// The columns of a row, as text; a null is empty.
fn texts(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut texts = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (text, after) = after.split_at_checked(length)?;
        texts.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    Some(texts)
}

/// What the server refused, by its code.
pub(super) fn refusal(what: &str, body: &[u8]) -> StoreFault {
    fault::of_code(what, &field(body, b'C'), &field(body, b'M'))
}

/// A field of a refusal.
fn field(body: &[u8], tag: u8) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let field = fields.find(|field| field.first() == Some(&tag));
    String::from_utf8_lossy(field.and_then(|field| field.get(1..)).unwrap_or_default()).into_owned()
}

fn wrong_password(error: io::Error) -> StoreFault {
    let message =
        format!("{WHAT}: check user and password in the URL, and the server's pg_hba.conf: {error}");
    StoreFault::new(StoreFaultKind::Misconfigured, message)
}

pub(super) fn broken() -> StoreFault {
    StoreFault::new(StoreFaultKind::Unavailable, format!("{WHAT}: the server's words cannot be understood"))
}
