//! A proxy of our own between relays and a server: it cuts, delays, goes silent, and spoils bytes.
//!
//! What can be promised of spoiled bytes: under TLS each is found, whatever it says, and the connection is torn; so any
//! byte of either side's is changed there. Without TLS nothing but TCP's checksum guards what a record says, and a byte
//! changed behind its back is carried as it is. What is found is broken *framing*: a message whose length or kind is
//! none, at which the client must tear the connection, and what was under way is uncertain. So that is what is spoilt
//! here, on the way from the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::{Attempt as _, Failure};

/// What the proxy does with what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storm) enum Weather {
    Fair,
    /// Everything comes later by this.
    Slow(Duration),
    /// Connections are cut, and none can be made.
    Cut,
    /// Connections are there and nothing passes. Those of such a time stay silent for ever, also when new ones can be
    /// made again: the other side has forgotten them.
    Silent,
    /// What the client says arrives, and what the server answers does not. Such connections stay so for ever, too.
    Deaf,
    /// Nothing passes now, and everything will: also what was said on connections that were given up meanwhile.
    Stalled,
    /// The next message from the server on each connection is no message.
    Spoilt,
}

/// How a protocol's messages from the server begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storm) enum Framing {
    /// A length of four bytes, which counts what follows it.
    Kafka,
    /// A letter, and a length of four bytes, which counts itself and what follows.
    Postgres,
    /// Nobody between the two can tell, and nobody needs to: a change anywhere is found.
    Tls,
}

/// A proxy. It ends, with all that passes through it, when this is dropped.
#[derive(Debug)]
pub(in crate::storm) struct Proxy {
    port: u16,
    way: Arc<Way>,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Way {
    target: AtomicU16,
    framing: Framing,
    spoilt: AtomicU64,
}

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

impl Proxy {
    /// Listens, and leads to this port.
    pub(in crate::storm) async fn to(target: u16, framing: Framing) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.attempt("listen for a proxy")?;
        let port = listener.local_addr().attempt("listen for a proxy")?.port();
        let way = Arc::new(Way { target: AtomicU16::new(target), framing, spoilt: AtomicU64::new(0) });
        let (weather, seen) = watch::channel(Weather::Fair);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&way), seen));
        Ok(Self { port, way, weather, accepting })
    }

    /// Where it listens.
    pub(in crate::storm) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, at once and for all connections.
    pub(in crate::storm) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// New connections lead to another port.
    pub(in crate::storm) fn lead_to(&self, target: u16) {
        self.way.target.store(target, Ordering::SeqCst);
    }

    /// How many messages were spoilt so far.
    pub(in crate::storm) fn spoilt(&self) -> u64 {
        self.way.spoilt.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.weather.send_replace(Weather::Cut);
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>, weather: watch::Receiver<Weather>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(client, Arc::clone(&way), weather.clone()));
    }
}

/// Carries one connection both ways until either side ends it, or the weather does.
async fn carry(client: TcpStream, way: Arc<Way>, mut weather: watch::Receiver<Weather>) {
    let now = *weather.borrow_and_update();
    match now {
        Weather::Cut => return,
        Weather::Silent => return hold_silently(client, weather).await,
        _ => {}
    }
    let target = ("127.0.0.1", way.target.load(Ordering::SeqCst));
    let Ok(server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = (way.framing == Framing::Tls).then(|| Frames::of(Arc::clone(&way)));
    let up = pump(from_client, to_server, weather.clone(), Direction::Up, up);
    let down = pump(from_server, to_client, weather, Direction::Down, Some(Frames::of(way)));
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Nothing is said and nothing is heard, until everything is cut.
async fn hold_silently<T>(held: T, mut weather: watch::Receiver<Weather>) {
    while *weather.borrow_and_update() != Weather::Cut {
        if weather.changed().await.is_err() {
            break;
        }
    }
    drop(held);
}

/// Which way it is from where something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    direction: Direction,
    mut frames: Option<Frames>,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Cut => return,
            Weather::Silent => return hold_silently((from, to), weather).await,
            Weather::Deaf if direction == Direction::Down => return hold_silently((from, to), weather).await,
            _ => {}
        }
        let length = tokio::select! {
            read = from.read(&mut chunk) => match read {
                Ok(length) if length > 0 => length,
                _ => return,
            },
            changed = weather.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        if let Some(frames) = &mut frames {
            frames.pass(&mut chunk[..length], now == Weather::Spoilt);
        }
        if let Weather::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        while *weather.borrow_and_update() == Weather::Stalled {
            if weather.changed().await.is_err() {
                return;
            }
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Where messages begin in what the server sends.
struct Frames {
    way: Arc<Way>,
    /// The head of the message under way, as far as it has come.
    head: Vec<u8>,
    /// How much of its body is still to come.
    body_left: usize,
    /// After one spoilt message nothing has a beginning any more.
    lost: bool,
}

impl Frames {
    fn of(way: Arc<Way>) -> Self {
        Self { way, head: Vec::new(), body_left: 0, lost: false }
    }

    /// Follows the messages, and spoils the head of the next one if it is to be.
    fn pass(&mut self, mut bytes: &mut [u8], spoil: bool) {
        let framing = self.way.framing;
        while !bytes.is_empty() && !self.lost {
            if self.body_left > 0 {
                let part = self.body_left.min(bytes.len());
                self.body_left -= part;
                bytes = &mut bytes[part..];
                continue;
            }
            if framing == Framing::Tls {
                if spoil {
                    bytes[bytes.len() / 2] ^= 1;
                    self.lost = true;
                    self.way.spoilt.fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
            if spoil && self.head.is_empty() {
                // No kind of message has this letter, and no answer this length.
                bytes[0] = 0xfe;
                self.lost = true;
                self.way.spoilt.fetch_add(1, Ordering::SeqCst);
                return;
            }
            self.head.push(bytes[0]);
            bytes = &mut bytes[1..];
            let body = match (framing, &self.head[..]) {
                (Framing::Kafka, [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
                (Framing::Postgres, [_, a, b, c, d]) => {
                    (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(4)
                }
                _ => continue,
            };
            self.head.clear();
            self.body_left = body;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framing: Framing) -> Frames {
        let way = Way { target: AtomicU16::new(0), framing, spoilt: AtomicU64::new(0) };
        Frames::of(Arc::new(way))
    }

    #[test]
    fn messages_are_followed_through_any_chunks_and_only_a_head_is_spoilt() {
        let messages =
            [&[0, 0, 0, 3, 7, 7, 7][..], &[0, 0, 0, 0], &[0, 0, 0, 2, 8, 8], &[0, 0, 0, 1, 9]].concat();
        for chunk in 1..messages.len() {
            let mut frames = frames(Framing::Kafka);
            let mut passed = messages[..13].to_vec();
            passed.chunks_mut(chunk).for_each(|chunk| frames.pass(chunk, false));
            assert_eq!((passed.as_slice(), frames.body_left), (&messages[..13], 0), "{chunk}");
            let mut rest = messages[13..].to_vec();
            rest.chunks_mut(chunk).for_each(|chunk| frames.pass(chunk, true));
            // The head under way is whole; the next one is not.
            assert_eq!(rest, [0, 2, 8, 8, 0xfe, 0, 0, 1, 9], "{chunk}");
        }
    }

    #[test]
    fn a_length_of_postgresql_counts_itself() {
        let mut frames = frames(Framing::Postgres);
        let mut bytes = *b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IZ";
        frames.pass(&mut bytes[..15], false);
        frames.pass(&mut bytes[15..], true);
        assert_eq!(&bytes, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I\xfe");
        assert_eq!(frames.way.spoilt.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_passes_is_cut_and_silenced_as_told() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().port(), Framing::Kafka).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        let mut byte = [0];
        let mut one = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        one.write_all(&[5]).await.unwrap();
        one.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [5]);
        proxy.set(Weather::Silent);
        one.write_all(&[6]).await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(50), one.read_exact(&mut byte)).await;
        assert!(silence.is_err());
        proxy.set(Weather::Fair);
        let silence = tokio::time::timeout(Duration::from_millis(50), one.read_exact(&mut byte)).await;
        assert!(silence.is_err(), "forgotten for good");
        let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        other.write_all(&[7]).await.unwrap();
        other.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [7]);
        proxy.set(Weather::Stalled);
        other.write_all(&[8]).await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(50), other.read_exact(&mut byte)).await;
        assert!(silence.is_err());
        proxy.set(Weather::Fair);
        other.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [8], "it was only late");
        proxy.set(Weather::Cut);
        assert!(other.read_exact(&mut byte).await.is_err());
    }
}
